"""`freeze` and `thaw`, with a cgroup and without one, and whoever dies meanwhile."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from jobd.wire import messages as m
from tests.keeper.conftest import has_cgroups
from tests.system.program import DEADLINE_SEC, Program, is_alive, until
from tests.system.raw import Raw

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

KILLS = 6  # one after the other, within the time that a request takes
WITHIN_SEC = 0.0072

# A child that has left session and parent counts as well as the main process.
SCRIPT = """
trap 'echo bye; exit 7' TERM
setsid sh -c 'i=0; while :; do i=$((i+1)); echo child $i; sleep 0.02; done' &
while :; do echo main; sleep 0.02; done
"""


@pytest.fixture(params=["cgroup", "process"])
def frozen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Program]:
    """A jobd with a job called `job` that runs."""
    if request.param == "cgroup" and not has_cgroups():
        pytest.skip("no writable cgroup v2 hierarchy here")
    program = Program(tmp_path, env={"JOBD_TRACKING": request.param})
    try:
        program.start()
        program.jobctl("run", "--name", "job", "--", "/bin/sh", "-c", SCRIPT, check=True)
        goes_on(program)
        assert program.show("job", "Tracking") == request.param
        yield program
    finally:
        program.close()


def written(program: Program) -> int:
    """How much the job has written, once the daemon has taken all of it."""
    return len(program.output("job"))


def goes_on(program: Program) -> None:
    for word in (b"main", b"child"):
        before = program.output("job").count(word)
        until(lambda word=word, before=before: program.output("job").count(word) > before, f"{word!r} goes on")  # type: ignore[misc]


def stands_still(program: Program) -> bool:
    """Whether no process of the job gets anywhere: nothing is written in ten of its turns."""
    before = written(program)
    time.sleep(0.2)
    return written(program) == before


def test_frozen_and_thawed(frozen: Program) -> None:
    assert frozen.show("job", "FreezerState") == "running"
    for _ in range(2):
        for _ in range(2):  # it is the same to do it twice
            done = frozen.jobctl("freeze", "job", check=True)
            assert (done.stdout, done.stderr) == ("", "")
            assert frozen.show("job", "FreezerState") == "frozen"
        assert stands_still(frozen)
        assert frozen.jobctl("is-active", "job").stdout == "active\n"  # as systemctl has it
        for state in ("frozen", "running"):
            listed = frozen.jobctl("list", "--no-legend", "--plain", f"--state={state}", check=True).stdout
            assert listed.split()[:4] == ["job", "loaded", "active", "frozen"]
        for _ in range(2):
            frozen.jobctl("thaw", "j*", check=True)
            assert frozen.show("job", "FreezerState") == "running"
        assert not frozen.jobctl("list", "--no-legend", "--state=frozen", check=True).stdout
        goes_on(frozen)


def test_stop_of_what_is_frozen_is_a_clean_one(frozen: Program) -> None:
    frozen.jobctl("freeze", "job", check=True)
    frozen.jobctl("stop", "job", check=True)
    assert (frozen.show("job", "Result"), frozen.show("job", "FreezerState")) == ("success", "running")
    (row,) = frozen.history("job")
    assert (row["result"], row["exit_code"]) == ("stopped", 7)
    assert frozen.output("job").endswith(b"bye\n")
    refused = frozen.jobctl("freeze", "job")
    assert (refused.returncode, "is not running" in refused.stderr) == (3, True)
    assert frozen.jobctl("thaw", "job").returncode == 3
    assert frozen.jobctl("freeze", "no-such-job").returncode == 5
    assert frozen.jobctl("freeze", "no-such-*").returncode == 0


def test_restart_of_what_is_frozen(frozen: Program) -> None:
    frozen.jobctl("freeze", "job", check=True)
    frozen.jobctl("restart", "job", check=True)
    assert frozen.show("job", "FreezerState") == "running"
    goes_on(frozen)


def test_sigkill_ends_what_is_frozen(frozen: Program) -> None:
    frozen.jobctl("freeze", "job", check=True)
    frozen.jobctl("kill", "-s", "KILL", "job", check=True)
    assert frozen.jobctl("wait", "job").returncode == 128 + signal.SIGKILL


def test_limits_go_on_while_it_is_frozen(frozen: Program) -> None:
    frozen.jobctl("run", "--name", "short", "-p", "limits.runtime=1s", "--", "sleep", "600", check=True)
    frozen.jobctl("freeze", "short", check=True)
    assert frozen.jobctl("wait", "short").returncode == 128 + signal.SIGTERM
    assert frozen.show("short", "Result") == "timeout"


def test_it_stays_frozen_whoever_is_replaced(frozen: Program) -> None:
    frozen.jobctl("freeze", "job", check=True)
    main = frozen.show("job", "MainPID")
    frozen.replace_daemon()
    assert frozen.show("job", "FreezerState") == "frozen"
    frozen.jobctl("daemon-reexec", "--keeper", check=True)
    assert frozen.show("job", "FreezerState") == "frozen"
    frozen.kill_keeper()
    assert frozen.show("job", "FreezerState") == "frozen"
    assert stands_still(frozen)
    frozen.jobctl("thaw", "job", check=True)
    goes_on(frozen)
    assert frozen.show("job", "MainPID") == main
    frozen.jobctl("freeze", "job", check=True)
    frozen.replace_daemon()
    frozen.jobctl("stop", "job", check=True)
    assert frozen.history("job")[0]["exit_code"] == 7


def test_jobd_can_be_ended_with_frozen_jobs(frozen: Program) -> None:
    main = int(frozen.show("job", "MainPID"))
    frozen.jobctl("freeze", "job", check=True)
    frozen.keeper.terminate()
    assert frozen.keeper.wait(DEADLINE_SEC) == 0
    assert not is_alive(main)
    frozen.start()
    assert frozen.history("job")[0]["exit_code"] == 7


def test_killed_at_any_moment_it_is_frozen_in_the_end_and_recorded_once(frozen: Program) -> None:
    """The daemon is killed ever later after a request; asked again by the same process, as jobctl does."""
    for step in range(KILLS):
        for request in (m.Freeze(id=1, names=["job"]), m.Thaw(id=1, names=["job"])):
            killer = threading.Timer(step * WITHIN_SEC / KILLS, os.kill, (frozen.daemon_pid(), signal.SIGKILL))
            act(frozen, request, killer)
            killer.join()
            assert frozen.show("job", "FreezerState") == ("frozen" if isinstance(request, m.Freeze) else "running")
    goes_on(frozen)
    with closing(sqlite3.connect(f"file:{frozen.state_dir}/state.db?mode=ro", uri=True)) as database:
        kinds = database.execute("SELECT kind FROM events WHERE kind IN ('frozen', 'thawed') ORDER BY seq").fetchall()
    assert kinds == [("frozen",), ("thawed",)] * KILLS


def act(program: Program, request: m.Freeze | m.Thaw, killer: threading.Timer) -> None:
    """Send a request until there is an answer to it; starts `killer` right after the first sending."""
    end = time.monotonic() + DEADLINE_SEC
    while time.monotonic() < end:
        try:
            with Raw(program.socket) as raw:
                raw.send(request)
                if killer.ident is None:
                    killer.start()
                answer = raw.receive()
                assert isinstance(answer, m.Item), answer
                assert isinstance(answer.body, m.Done)
                assert answer.body.code == "", answer.body
                return
        except (EOFError, ConnectionError):
            continue
    raise AssertionError("no answer")
