"""Stop means stopped: `stop` returns when no process of the job is left, whatever they did to get away.

Each test runs with the tracking that the machine offers (a cgroup where there is one) and with process tracking.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.system.program import Program, is_alive, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

# Each writes the pid of every process it leaves, a line each, to argv[1] (O_APPEND), then waits.
TREES = {
    "child": "spawn(lambda: None)",
    "own group": "spawn(lambda: os.setpgid(0, 0))",
    "own session": "spawn(os.setsid)",
    "double fork": """
pid = os.fork()
if pid == 0:
    os.setsid()
    spawn(lambda: None)
    os._exit(0)
os.waitpid(pid, 0)
""",
    "ignores TERM": "spawn(lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN))",
    "double fork that ignores TERM": """
pid = os.fork()
if pid == 0:
    os.setsid()
    spawn(lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN))
    os._exit(0)
os.waitpid(pid, 0)
""",
    "closed output": "spawn(lambda: os.closerange(0, 3))",
    "many": "[spawn(os.setsid) for _ in range(40)]",
}
PRELUDE = """
import os, signal, sys
def spawn(prepare):
    if os.fork() == 0:
        prepare()
        note()
        signal.alarm(300)
        while True:
            signal.pause()
def note():
    fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, b"%d\\n" % os.getpid())
    os.close(fd)
"""
WAIT = """
note()
signal.alarm(300)
while True:
    signal.pause()
"""


@pytest.fixture(scope="module", params=["found", "process"])
def tracked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    env = {"JOBD_TRACKING": "process"} if request.param == "process" else {}
    program = Program(tmp_path_factory.mktemp("tracked"), env=env)
    try:
        program.start()
        if request.param == "process":
            assert program.daemon_status().tracking == "process"
        yield program
    finally:
        program.close()


def start_tree(program: Program, name: str, tree: str, path: Path, *options: str) -> list[int]:
    """Run a job of this shape; the pids of all its processes, the main one last or not."""
    script = PRELUDE + TREES[tree] + WAIT
    expected = 41 if tree == "many" else 2
    command = (sys.executable, "-I", "-c", script, str(path))
    program.jobctl("run", "--name", name, *options, "--", *command, check=True)

    def pids() -> list[int]:
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    until(lambda: len(pids()) == expected, "the tree has grown")
    return pids()


@pytest.mark.parametrize("tree", TREES)
def test_stop_leaves_no_process(tracked: Program, name: str, tree: str, tmp_path: Path) -> None:
    pids = start_tree(tracked, name, tree, tmp_path / "pids", "-p", "stop.timeout=300ms")
    assert all(map(is_alive, pids))
    tracked.jobctl("stop", name, check=True)
    assert [pid for pid in pids if is_alive(pid)] == []
    assert tracked.jobctl("is-active", name).returncode == 3


def test_stop_that_had_to_kill_is_a_timeout(tracked: Program, name: str) -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 1; done"
    options = ("-p", "stop.timeout=200ms")
    tracked.jobctl("run", "--name", name, *options, "--", "/bin/sh", "-c", script, check=True)
    until(lambda: tracked.output(name) == b"ready\n", "the trap is set")
    tracked.jobctl("stop", name)
    row = tracked.history(name)[0]
    assert (row["result"], row["signal"]) == ("timeout", "SIGKILL")
    assert tracked.jobctl("is-failed", name).returncode == 0


def test_stopped_job_is_inactive_and_a_success(tracked: Program, name: str) -> None:
    tracked.jobctl("run", "--name", name, "--", "sleep", "600", check=True)
    tracked.jobctl("stop", name, check=True)
    assert tracked.show(name, "ActiveState") == "inactive"
    assert tracked.show(name, "Result") == "success"
    assert tracked.history(name)[0]["result"] == "stopped"
    assert tracked.jobctl("status", name).returncode == 3
    # Once more changes nothing.
    assert tracked.jobctl("stop", name).returncode == 0
    assert len(tracked.history(name)) == 1


def test_stop_sends_the_signal_asked_for(tracked: Program, name: str) -> None:
    script = "trap 'echo got INT; exit 0' INT; echo ready; while :; do sleep 0.01; done"
    options = ("-p", "stop.signal=SIGINT", "--name", name)
    tracked.jobctl("run", *options, "--", "/bin/sh", "-c", script, check=True)
    until(lambda: tracked.output(name) == b"ready\n", "the trap is set")
    tracked.jobctl("stop", name, check=True)
    assert tracked.output(name) == b"ready\ngot INT\n"


def test_stop_without_block_returns_at_once(tracked: Program, name: str, tmp_path: Path) -> None:
    pids = start_tree(tracked, name, "ignores TERM", tmp_path / "pids", "-p", "stop.timeout=500ms")
    tracked.jobctl("stop", "--no-block", name, check=True)
    until(lambda: not any(map(is_alive, pids)), "the tree is gone")


def test_start_runs_the_submission_again_and_restart_too(tracked: Program, name: str) -> None:
    tracked.jobctl("run", "--name", name, "--", "sleep", "600", check=True)
    first = tracked.show(name, "MainPID")
    tracked.jobctl("restart", name, check=True)
    second = tracked.show(name, "MainPID")
    assert first != second
    assert not is_alive(int(first))
    tracked.jobctl("stop", name, check=True)
    tracked.jobctl("start", name, check=True)
    assert is_alive(int(tracked.show(name, "MainPID")))
    tracked.jobctl("stop", name, check=True)
    assert len(tracked.history(name)) == 3


def test_kill_signals_the_main_process_alone_when_asked(tracked: Program, name: str) -> None:
    child = "trap 'echo child' USR1; echo c; while :; do sleep 0.01; done"
    script = f"trap 'echo main' USR1; ({child}) & echo m; while :; do wait; done"
    tracked.jobctl("run", "--name", name, "--", "/bin/bash", "-c", script, check=True)
    until(lambda: sorted(tracked.output(name).split()) == [b"c", b"m"], "both are ready")
    tracked.jobctl("kill", "-s", "USR1", "--kill-whom", "main", name, check=True)
    until(lambda: b"main" in tracked.output(name), "the signal has come")
    assert b"child" not in tracked.output(name)
    tracked.jobctl("kill", "-s", "SIGUSR1", name, check=True)
    until(lambda: b"child" in tracked.output(name), "the signal has come to all")
    assert tracked.jobctl("is-active", name).returncode == 0
    tracked.jobctl("kill", "-s", "9", name, check=True)
    until(lambda: tracked.jobctl("is-failed", name).returncode == 0, "the job has ended")
    assert tracked.history(name)[0]["signal"] == "SIGKILL"


def test_process_mode_stops_the_main_process_alone(tracked: Program, name: str, tmp_path: Path) -> None:
    options = ("-p", "stop.kill_mode=process")
    pids = start_tree(tracked, name, "own session", tmp_path / "pids", *options)
    main = int(tracked.show(name, "MainPID"))
    rest = [pid for pid in pids if pid != main]
    try:
        tracked.jobctl("stop", name, check=True)
        assert not is_alive(main)
        assert all(map(is_alive, rest))
    finally:
        for pid in rest:
            os.kill(pid, signal.SIGKILL)


def test_daemon_killed_while_it_stops_a_job_neither_forgets_nor_signals_twice(tracked: Program, name: str) -> None:
    script = "trap 'echo TERM' TERM; echo ready; while :; do sleep 0.01; done"
    options = ("-p", "stop.timeout=2s", "--name", name)
    tracked.jobctl("run", *options, "--", "/bin/sh", "-c", script, check=True)
    until(lambda: tracked.output(name) == b"ready\n", "the trap is set")
    stop = tracked.start_jobctl("stop", name)
    until(lambda: b"TERM" in tracked.output(name), "the stop has begun")
    for _ in range(3):
        tracked.replace_daemon()
    _, err = stop.communicate(timeout=60)
    assert b"Traceback" not in err
    until(lambda: tracked.jobctl("is-active", name).returncode == 3, "it is stopped all the same")
    assert tracked.output(name) == b"ready\nTERM\n"
    assert tracked.history(name)[0]["result"] == "timeout"
