"""`rerun`: an earlier submission once more, whatever dies meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from jobd.core.ids import new_run_id
from jobd.wire import errors
from jobd.wire import messages as m
from tests.system.program import BIN, DEADLINE_SEC
from tests.system.raw import Raw, fault, started

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.program import Program

pytestmark = pytest.mark.slow
KILLS = 8  # one after the other, within the time that a request takes
WITHIN_SEC = 0.013


def test_the_same_command_environment_and_directory(shared: Program, name: str, tmp_path: Path) -> None:
    script = 'echo "$COLOUR $PWD"; exit 3'
    env = {"COLOUR": "red"}
    first = ("run", "--wait", "--name", name, "--", "/bin/sh", "-c", script)
    assert shared.jobctl(*first, env=env, cwd=tmp_path).returncode == 3
    again = shared.jobctl("rerun", "--wait", name, env={"COLOUR": "blue"}, cwd=tmp_path.parent)
    assert (again.returncode, again.stdout, again.stderr) == (3, f"{name}\n", "")
    assert shared.output(name) == f"red {tmp_path}\n".encode()
    assert [row["number"] for row in shared.history(name)] == [2, 1]


def test_all_that_was_submitted_is_as_it_was(shared: Program, name: str, tmp_path: Path) -> None:
    """Arguments and directory of any bytes, environment, umask, limits, priority, stdin and queue."""
    odd = tmp_path / os.fsdecode(b"odd \xff")
    odd.mkdir()
    tell = (
        "import os, resource, sys; m = os.umask(0); r = resource.getrlimit(resource.RLIMIT_NOFILE);"
        "print(os.getcwdb(), [os.fsencode(a) for a in sys.argv[1:]], m, r, os.getpriority(os.PRIO_PROCESS, 0),"
        " os.readlink('/proc/self/fd/0'), os.environ['JOBD_QUEUE'],"
        " sorted((k, v) for k, v in os.environb.items() if k not in (b'JOBD_RUN', b'INVOCATION_ID')))"
    )
    submit = 'umask 027; ulimit -n 123; exec "$0" "$@"'
    options = ("--queue", "batch", "--priority", "4", "-p", "limits.nice=3", "-p", "limits.core=5")
    command = (sys.executable, "-c", tell, "--odd", os.fsdecode(b"\xfe\n"), "")
    env = {**shared.env, "COLOUR": os.fsdecode(b"r\xffd")}
    jobctl = ["sh", "-c", submit, str(BIN / "jobctl"), "run", "--wait", "-u", name, *options, "--", *command]
    subprocess.run(jobctl, env=env, cwd=odd, check=True, timeout=DEADLINE_SEC, capture_output=True)
    shared.jobctl("rerun", "--wait", f"{name}#1", cwd=tmp_path, check=True)
    with Raw(shared.socket) as raw:
        rows = raw.ask(m.History(id=1, jobs=[name]))
    assert isinstance(rows, m.Reply)
    assert isinstance(rows.body, m.Runs)
    second, first = rows.body.runs
    assert (second.queue, second.priority, second.argv, second.cwd) == (
        first.queue, first.priority, first.argv, first.cwd
    )  # fmt: skip
    told = [shared.output(name, "stdout", "--run", run) for run in ("1", "2")]
    assert told[0] == told[1]
    assert b"odd \\xff" in told[0]
    assert b"[b'--odd', b'\\xfe\\n', b''] 23 (123, 123) 3 /dev/null batch [" in told[0]
    assert b"(b'COLOUR', b'r\\xffd')" in told[0]
    assert first.priority == 4


def test_one_run_of_several_is_picked_by_number_and_by_id(shared: Program, name: str) -> None:
    for word in ("one", "two"):
        shared.jobctl("run", "--wait", "--name", name, "--", "echo", word, check=True)
    followed = shared.jobctl("rerun", "-f", f"{name}#1", check=True)
    assert (followed.stdout, followed.stderr) == ("one\n", f"{name}\n")
    run = str(shared.history(name)[1]["run"])
    for word in (run, run.replace("-", "")[-12:]):
        assert shared.jobctl("rerun", "-f", word, check=True).stdout == "two\n"
    shared.jobctl("start", name, check=True)  # what ran last is what the job is
    shared.jobctl("wait", name, check=True)
    assert shared.output(name) == b"two\n"
    row = json.loads(shared.jobctl("rerun", "--wait", "-o", "json", name, check=True).stdout)
    assert (row["job"], row["number"]) == (name, 7)


def test_refused_while_the_job_runs(shared: Program, name: str) -> None:
    shared.jobctl("run", "--name", name, "--", "sleep", "600", check=True)
    refused = shared.jobctl("rerun", name)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "is running" in refused.stderr
    assert "stop it first" in refused.stderr
    assert shared.jobctl("rerun", "--wait", name).returncode == 125
    shared.jobctl("stop", name, check=True)
    assert len(shared.history(name)) == 1


def test_what_is_not_there(shared: Program, name: str) -> None:
    shared.jobctl("run", "--wait", "--name", name, "--", "true", check=True)
    wrong = shared.jobctl("rerun", name[:-1] + "_")
    assert wrong.returncode == 5
    assert f"did you mean '{name}'" in wrong.stderr
    assert shared.jobctl("rerun", "--wait", "no-such-job").returncode == 125
    assert shared.jobctl("rerun", f"{name}#7").returncode == 5
    assert shared.jobctl("rerun", "no-such-*").returncode == 0
    assert shared.jobctl("rerun", name, "other").returncode == 2
    with Raw(shared.socket) as raw:  # not any run whose id happens to end so
        assert fault(raw.ask(m.Rerun(id=1, new=new_run_id()))).code == errors.INVALID
        assert fault(raw.ask(m.Rerun(id=2, new=new_run_id(), run="7"))).code == errors.INVALID


def test_a_command_that_cannot_be_executed_any_more(shared: Program, name: str, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    shared.jobctl("run", "--wait", "--name", name, "--", str(program), check=True)
    program.unlink()
    assert shared.jobctl("rerun", name).returncode == 127


def test_killed_at_any_moment_it_runs_exactly_once(jobd: Program, tmp_path: Path) -> None:
    """The daemon is killed ever later after the request was sent: at accept, commit, spawn, go, exec, exit, ack."""
    ran = tmp_path / "ran"
    jobd.jobctl("run", "--wait", "--name", "job", "--", "/bin/sh", "-c", f'echo $JOBD_RUN >> "{ran}"', check=True)
    runs = [bytes.fromhex(ran.read_text())]
    for step in range(KILLS):
        new = new_run_id()
        runs.append(new)
        killer = threading.Timer(step * WITHIN_SEC / KILLS, os.kill, (jobd.daemon_pid(), signal.SIGKILL))
        answer = ask_until_answered(jobd, m.Rerun(id=1, new=new, job="job"), killer)
        killer.join()
        assert (answer.run, answer.number) == (new, step + 2)
        with Raw(jobd.socket) as raw:
            raw.wait(new)
    assert ran.read_text().split() == [run.hex() for run in runs]


def ask_until_answered(program: Program, request: m.Rerun, killer: threading.Timer) -> m.Started:
    """Send one request until there is an answer to it; starts `killer` right after the first sending."""
    end = time.monotonic() + DEADLINE_SEC
    while time.monotonic() < end:
        try:
            with Raw(program.socket) as raw:
                raw.send(request)
                if killer.ident is None:
                    killer.start()
                answer = raw.receive()
                assert isinstance(answer, m.Reply | m.Fault)
                return started(answer)
        except (EOFError, ConnectionError):
            continue
    raise AssertionError("no answer")
