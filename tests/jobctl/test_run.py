"""run: what is sent, what is said, and whose status it is."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from jobctl import client, surroundings, verb_run
from jobd.core import after
from jobd.wire import errors
from jobd.wire import messages as m
from tests.jobctl.fakes import (
    FakeDaemon,
    HangupError,
    jobctl,
    output_frame,
    run_view,
    table,
    view,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.jobctl.fakes import Answer, Script

    Make = Callable[[Script], FakeDaemon]

pytestmark = pytest.mark.slow


def accept(request: m.Request) -> m.Started:
    assert isinstance(request, m.Run)
    return m.Started(job=request.name or "cmd-1", owner=os.geteuid(), run=request.run, number=1, pid=5)


def ends(**fields: object) -> Callable[[m.Request], list[m.Ended]]:
    def wait(request: m.Request) -> list[m.Ended]:
        assert isinstance(request, m.Wait)
        return [m.Ended(run=run_view("web", **{"run": run, **fields})) for run in request.runs]

    return wait


def sent(daemon: Make, *args: str | bytes, **options: object) -> m.Run:
    """What a `run` with these arguments asks for."""
    fake = daemon(table(run=accept))
    result = jobctl(fake.path, "run", *args, **options)
    assert result.returncode == 0, result
    (request,) = fake.requests
    assert isinstance(request, m.Run)
    return request


def test_the_name_and_nothing_else_is_printed(daemon: Make) -> None:
    fake = daemon(table(run=accept, wait=ends()))
    for line in ("run true", "run --wait true"):
        result = jobctl(fake.path, *line.split())
        assert (result.returncode, result.stdout, result.stderr) == (0, b"cmd-1\n", b"")


def test_quiet_prints_no_name_and_still_the_json_that_was_asked_for(daemon: Make) -> None:
    fake = daemon(table(run=accept, wait=ends()))
    for line in ("run -q true", "run -q --wait true"):
        result = jobctl(fake.path, *line.split())
        assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    assert json.loads(jobctl(fake.path, "run", "-q", "-o", "json", "true").stdout)["job"] == "cmd-1"


def test_a_variable_that_is_not_set_is_mentioned(daemon: Make) -> None:
    fake = daemon(table(run=accept))
    result = jobctl(fake.path, "run", "-E", "NOT_\x1bTHERE", "-E", "A=b", "true", env={"PATH": os.environ["PATH"]})
    assert (result.returncode, result.stdout) == (0, b"cmd-1\n")
    assert result.stderr == b"jobctl: NOT_\\x1bTHERE is not set here, and so not for the job\n"


def test_json_has_job_and_run(daemon: Make) -> None:
    fake = daemon(table(run=accept))
    row = json.loads(jobctl(fake.path, "run", "-o", "json", "-u", "x", "true").stdout)
    (request,) = fake.requests
    assert isinstance(request, m.Run)
    assert (row["job"], row["run"].replace("-", ""), row["number"]) == ("x", request.run.hex(), 1)


def test_the_callers_surroundings_go_along(daemon: Make, tmp_path: Path) -> None:
    env = {b"A": b"\xff\n", b"BASH_FUNC_x%%": b"() { :; }", b"PATH": os.environb[b"PATH"]}

    def limit() -> None:
        os.umask(0o027)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 4096))

    request = sent(daemon, b"echo", b"\xff\xfe", "", env=env, cwd=tmp_path, preexec_fn=limit)
    assert request.argv == [b"echo", b"\xff\xfe", b""]
    assert {b"A=\xff\n", b"BASH_FUNC_x%%=() { :; }"} <= set(request.env)
    assert request.cwd == os.fsencode(tmp_path)
    assert (request.umask, request.rlimits["core"]) == (0o027, (0, 4096))
    assert request.nice == os.getpriority(os.PRIO_PROCESS, 0)
    assert request.exec_wait


def test_the_environment_can_be_chosen(daemon: Make) -> None:
    env = {"A": "1", "B": "2", "HOME": "/h", "PATH": f"/h/bin:{os.environ['PATH']}"}

    def given(*args: str) -> dict[str, str]:
        request = sent(daemon, *args, "true", env=env)
        return dict(os.fsdecode(entry).split("=", 1) for entry in request.env)

    assert given("-E", "C=3", "-E", "A") == {**env, "C": "3"}
    none = given("--env", "none")
    assert set(none) == {"HOME", "USER", "LOGNAME", "SHELL", "PATH"}
    assert none["HOME"] == "/h"
    assert none["PATH"] != env["PATH"]
    some = given("--env", "B,NOT_THERE", "-E", "A", "-E", "NOT_THERE")
    assert (some["A"], some["B"]) == ("1", "2")
    assert "NOT_THERE" not in some


def test_everything_after_the_first_operand_is_the_commands(daemon: Make) -> None:
    assert sent(daemon, "ls", "--wait", "-u", "x").argv == [b"ls", b"--wait", b"-u", b"x"]
    assert sent(daemon, "--", "-x", "--").argv == [b"-x", b"--"]


def test_options_of_run(daemon: Make) -> None:
    line = ["--name", "web", "--shell", "-C", "sub", "-p", "stop.timeout=1s", "-p", "a=b=c", "echo $HOME;", "exit"]
    request = sent(daemon, *line, cwd="/tmp")
    assert (request.name, request.shell, request.argv) == ("web", True, [b"echo $HOME; exit"])
    assert request.cwd == b"/tmp/sub"
    assert request.settings == {"stop.timeout": "1s", "a": "b=c"}


def test_an_array_is_checked_before_anybody_is_asked(daemon: Make) -> None:
    assert sent(daemon, "--array", "0-9%2", "--", "true").array == "0-9%2"
    fake = daemon(table())
    for line, why in (
        ("--array 9-0 true", b"9-0 ends before it begins"), ("--array= true", b"a number is missing"),
        ("--array 1 -f true", b"with -f, which is for one run"), ("--array 1 -P true", b"with -P"),
        ("--array 1 -u x --singleton true", b"as a singleton"),
    ):  # fmt: skip
        result = jobctl(fake.path, "run", *line.split())
        assert result.returncode in (2, 125)
        assert why in result.stderr
    assert not fake.requests


def test_when_a_run_is_to_begin(daemon: Make) -> None:
    assert sent(daemon, "--in", "10min", "--", "true").delay_usec == 600 * 10**6
    request = sent(daemon, "--at=@4102444800", "true")
    assert (request.not_before, request.delay_usec) == (4_102_444_800 * 10**9, None)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (("--at", "soon"), "cannot read time 'soon'"),
        (("--at", "2020-01-01"), "has passed"),
        (("--in", "a while"), "cannot read duration"),
        (("--at", "03:00", "--in", "1h"), "both --at a time and --in a while"),
    ],
)
def test_when_a_run_cannot_begin(daemon: Make, line: tuple[str, ...], why: str) -> None:
    done = jobctl(daemon(table(run=accept)).path, "run", *line, "true")
    assert done.returncode in (2, 125)
    assert why in done.stderr.decode()


def test_what_a_run_waits_for(daemon: Make) -> None:
    request = sent(daemon, "--after", "make-1", "--after=alice/web#2:any", "--name", "n", "--singleton", "--", "true")
    assert request.after == ["make-1", "alice/web#2:any"]
    assert request.singleton


def test_run_ids_are_uuids_of_version_7_and_differ(daemon: Make) -> None:
    runs = {sent(daemon, "true").run for _ in range(3)}
    assert len(runs) == 3
    assert all(run[6] >> 4 == 7 and run[8] >> 6 == 2 for run in runs)


def test_a_lost_reply_is_asked_for_under_the_same_id(daemon: Make) -> None:
    def script(request: m.Request) -> Answer:
        if len(fake.requests) < 4:
            raise HangupError
        yield from table(run=accept)(request)

    fake = daemon(script)
    assert jobctl(fake.path, "run", "true").stdout == b"cmd-1\n"
    assert len(fake.requests) == 4
    assert len({request.run for request in fake.requests if isinstance(request, m.Run)}) == 1


@pytest.mark.parametrize(
    ("step", "errno", "status"),
    [("exec", 2, 127), ("exec", 13, 126), ("exec", 8, 126), ("chdir", 2, 126), ("limits", 1, 125)],
)
@pytest.mark.parametrize("how", [[], ["--wait"], ["-f"]])
def test_what_cannot_be_executed(daemon: Make, how: list[str], step: str, errno: int, status: int) -> None:
    def fail(request: m.Request) -> m.Started:
        assert isinstance(request, m.Run)
        text = "cannot start x: no"
        return m.Started(job="x", owner=os.geteuid(), run=request.run, number=1, step=step, errno=errno, text=text)

    result = jobctl(daemon(table(run=fail)).path, "run", *how, "x")
    assert result.returncode == (1 if status == 125 and not how else status)
    assert b"jobctl: cannot start x: no\n" in result.stderr


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"exit_code": 0}, 0),
        ({"exit_code": 222, "result": "exit-code"}, 222),
        ({"exit_code": None, "signal": 15, "result": "stopped"}, 143),
        ({"exit_code": None, "signal": 9, "result": "oom-kill"}, 137),
        ({"exit_code": 0, "result": "stopped"}, 0),
        ({"exit_code": 0, "result": "protocol"}, 125),
        ({"exit_code": None, "result": "canceled"}, 125),
        ({"exit_code": None, "result": "lost", "reason": "the keeper died"}, 125),
        ({"exit_code": None, "result": "start-failed", "step": "exec", "errno": 2}, 127),
    ],
)
@pytest.mark.parametrize("line", ["run --wait true", "wait web"])
def test_the_status_is_the_jobs(daemon: Make, line: str, fields: dict[str, object], status: int) -> None:
    fake = daemon(table(run=accept, wait=ends(**fields), get=lambda _: m.Jobs(jobs=[view()])))
    result = jobctl(fake.path, *line.split())
    assert result.returncode == status
    assert bool(result.stderr) == (status in (125, 127) or fields.get("result") == "oom-kill")


def test_a_run_whose_time_was_over_is_told_from_one_that_was_stopped(daemon: Make) -> None:
    fake = daemon(table(run=accept, wait=ends(exit_code=None, signal=15, result="timeout")))
    result = jobctl(fake.path, "run", "--wait", "true")
    assert result.returncode == 143
    assert result.stderr == b"jobctl: web#1 was ended: its time was over (limits.runtime)\n"
    fake = daemon(
        table(run=accept, wait=ends(exit_code=None, signal=15, result="timeout", reason="it was never ready"))
    )
    assert jobctl(fake.path, "run", "--wait", "true").stderr == b"jobctl: web#1 was ended: it was never ready\n"


@pytest.mark.parametrize(
    ("code", "plain", "waiting"),
    [(errors.EXISTS, 1, 125), (errors.DENIED, 4, 125), (errors.INVALID, 2, 125), (errors.LIMIT, 1, 125)],
)
def test_refusals(daemon: Make, code: str, plain: int, waiting: int) -> None:
    fake = daemon(table(run=lambda _: m.Fault(code=code, message="cannot run it: no")))
    for line, status in (("run true", plain), ("run --wait true", waiting), ("run -f true", waiting)):
        result = jobctl(fake.path, *line.split())
        assert (result.returncode, result.stdout, result.stderr) == (status, b"", b"jobctl: cannot run it: no\n")


@pytest.mark.parametrize(
    "line",
    [
        "-u .x true", "-u a/b/c true", "-p nothing true", "-E =x true", "-o yaml true", "--socket= true",
        "--after make:no true", "--after :ok true", "--singleton true",
    ],
)  # fmt: skip
def test_mistakes_are_found_before_anything_is_asked(daemon: Make, line: str) -> None:
    fake = daemon(table())
    result = jobctl(fake.path, "run", *line.split())
    assert (result.returncode, result.stdout, fake.requests) == (2, b"", [])
    assert jobctl(fake.path, "run", "--wait", *line.split()).returncode == 125


def test_too_much_is_refused_with_the_figures(daemon: Make) -> None:
    fake = daemon(table(run=accept))
    argument = "x" * m.MAX_ARG_BYTES
    env = {"PATH": "/bin"}
    assert jobctl(fake.path, "run", argument, env=env).returncode == 0
    code = "import os,sys; sys.argv[1:] = {}; from jobctl.__main__ import main; main()"
    for words, text in ((["a", "x" * (128 << 10)], b"takes 131072 bytes"), (["a"] + ["x" * 100_000] * 8, b"786432")):
        line = ["--socket", fake.path, "run", *words]
        probe = code.format(repr(line[:3]) + "+" + repr([words[0]]) + f"+{words[1:2]!r}*{len(words) - 1}")
        result = subprocess.run([sys.executable, "-"], input=probe.encode(), capture_output=True, env=env, check=False)
        assert (result.returncode, result.stdout) == (1, b"")
        assert text in result.stderr


def test_a_directory_that_is_gone_is_left_to_the_start(daemon: Make, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    request = sent(daemon, "true", cwd=gone, env={**os.environ, "PWD": str(gone)}, preexec_fn=gone.rmdir)
    assert request.cwd == os.fsencode(gone)


def test_a_line_for_the_shell_is_told_how_to_get_there(daemon: Make) -> None:
    def missing(request: m.Request) -> m.Started:
        assert isinstance(request, m.Run)
        return m.Started(job="j", owner=os.geteuid(), run=request.run, number=1, step="exec", errno=2, text="no such")

    fake = daemon(table(run=missing))
    for words, hint in ((["a; b"], b"; a line for the shell takes --shell"), (["a", "b"], b""), ([" a"], b"")):
        result = jobctl(fake.path, "run", *words)
        assert (result.returncode, result.stderr) == (127, b"jobctl: no such" + hint + b"\n")
    assert jobctl(fake.path, "run", "--shell", "a; b").stderr == b"jobctl: no such\n"


def test_follow_writes_the_jobs_bytes_and_the_name_elsewhere(daemon: Make) -> None:
    def script(request: m.Request) -> Answer:
        if isinstance(request, m.Logs):
            run = bytes.fromhex(request.run)
            yield m.Item(id=request.id, body=m.LogRun(job="cmd-1", owner=os.geteuid(), run=run, number=1))
            yield output_frame(request.id, run, 1, 0, b"out\xff\n")
            yield output_frame(request.id, run, 2, 0, b"err")
            yield m.End(id=request.id)
        else:
            yield from table(run=accept, wait=ends(exit_code=3))(request)

    result = jobctl(daemon(script).path, "run", "-f", "true")
    assert (result.returncode, result.stdout, result.stderr) == (3, b"out\xff\nerr", b"cmd-1\n")
    result = jobctl(daemon(script).path, "run", "-qf", "true")
    assert (result.returncode, result.stdout, result.stderr) == (3, b"out\xff\nerr", b"")


def test_constants_are_those_of_the_contract() -> None:
    assert verb_run.CONDITIONS == after.CONDITIONS
    assert client.PROTOCOL_VERSION == m.PROTOCOL_VERSION
    assert (client.MALFORMED, client.VERSION) == (errors.MALFORMED, errors.VERSION)
    assert surroundings.MAX_ARGV_ENV_BYTES == m.MAX_ARGV_ENV_BYTES
    assert surroundings.MAX_ARG_BYTES == m.MAX_ARG_BYTES
