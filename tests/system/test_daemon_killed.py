"""The daemon may die at any instant: jobs do not notice, clients wait, nothing is lost and nothing runs twice."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from jobd.core.ids import new_run_id
from tests.system.program import DEADLINE_SEC, Gate, Program, is_alive, open_fds, until
from tests.system.raw import Raw, started

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

# Kills, one after the other, within the time that a submission takes; `make fault` has many more.
KILLS = 14
WITHIN_SEC = 0.017


def test_running_job_is_untouched(jobd: Program, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    script = f"for i in 1 2 3 4 5 6; do echo $i; sleep 0.1; done; {gate.wait}; echo over; exit 5"
    jobd.jobctl("run", "--name", "counter", "--", "/bin/sh", "-c", script, check=True)
    main = jobd.show("counter", "MainPID")
    jobd.replace_daemon()
    jobd.replace_daemon()
    assert jobd.show("counter", "MainPID") == main
    gate.open()
    assert jobd.jobctl("wait", "counter").returncode == 5
    assert jobd.output("counter").split() == [b"1", b"2", b"3", b"4", b"5", b"6", b"over"]


def test_job_that_ends_while_the_daemon_is_away_keeps_its_exit(jobd: Program, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    script = f'{gate.wait}; echo "$line"; exit 7'
    jobd.jobctl("run", "--name", "late", "--", "/bin/sh", "-c", script, check=True)
    main = int(jobd.show("late", "MainPID"))
    daemon = jobd.daemon_pid()
    os.kill(daemon, signal.SIGSTOP)
    gate.open("while away")
    until(lambda: not is_alive(main), "the job has ended")
    os.kill(daemon, signal.SIGKILL)
    assert jobd.jobctl("wait", "late").returncode == 7
    assert jobd.output("late") == b"while away\n"


def test_clients_wait_and_see_no_error(jobd: Program) -> None:
    failed = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            result = jobd.jobctl("daemon-status")
            if result.returncode:
                failed.append(result)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        jobd.replace_daemon()
    done.set()
    for thread in threads:
        thread.join()
    assert failed == []


def test_wait_follow_and_run_reconnect(jobd: Program, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    script = f"echo one; {gate.wait}; echo two; exit 3"
    run = jobd.start_jobctl("run", "-f", "--name", "job", "--", "/bin/sh", "-c", script)
    assert run.stdout is not None
    assert run.stdout.readline() == b"one\n"
    wait = jobd.start_jobctl("wait", "job")
    logs = jobd.start_jobctl("logs", "-f", "-o", "cat", "job")
    assert logs.stdout is not None
    assert logs.stdout.readline() == b"one\n"
    for _ in range(2):
        jobd.replace_daemon()
    gate.open("x")
    assert run.communicate(timeout=DEADLINE_SEC)[0] == b"two\n"
    assert logs.communicate(timeout=DEADLINE_SEC)[0] == b"two\n"
    wait.communicate(timeout=DEADLINE_SEC)
    assert (run.returncode, wait.returncode, logs.returncode) == (3, 3, 0)


def test_daemon_that_stops_answering_is_replaced(impatient: Program) -> None:
    impatient.jobctl("run", "--name", "job", "--", "sleep", "600", check=True)
    main = impatient.show("job", "MainPID")
    stopped = impatient.kill_daemon(signal.SIGSTOP)
    # jobctl simply waits: the keeper finds out by its ping.
    assert impatient.daemon_pid() != stopped
    assert not is_alive(stopped)
    assert impatient.show("job", "MainPID") == main
    impatient.jobctl("stop", "job", check=True)


def test_kill_in_each_phase_of_a_submission_runs_it_exactly_once(jobd: Program, tmp_path: Path) -> None:
    """The daemon is killed ever later after a submission was sent: at accept, commit, spawn, go, exec, exit, ack."""
    ran = tmp_path / "ran"
    runs = []
    for step in range(KILLS):
        run = new_run_id()
        runs.append(run)
        daemon = jobd.daemon_pid()
        killer = threading.Timer(step * WITHIN_SEC / KILLS, os.kill, (daemon, signal.SIGKILL))
        submit_until_accepted(jobd, run, ["/bin/sh", "-c", f'echo {run.hex()} >> "{ran}"; echo out; exit 9'], killer)
        killer.join()
    with Raw(jobd.socket) as raw:
        ended = raw.wait(*runs)
    assert {(view.exit_code, view.out_bytes) for view in ended.values()} == {(9, 4)}
    assert sorted(ran.read_text().split()) == sorted(run.hex() for run in runs)


def submit_until_accepted(program: Program, run: bytes, argv: list[str], killer: threading.Timer) -> None:
    """Send one submission until there is an answer to it; starts `killer` right after the first sending."""
    end = time.monotonic() + DEADLINE_SEC
    while time.monotonic() < end:
        try:
            with Raw(program.socket) as raw:
                if not killer.is_alive() and not killer.finished.is_set():
                    killer.start()
                started(raw.run([word.encode() for word in argv], run=run))
                return
        except (EOFError, ConnectionError):
            continue
    raise AssertionError("no answer to the submission")


def test_kill_during_recovery(impatient: Program) -> None:
    for number in range(10):
        impatient.jobctl("run", "--name", f"job-{number}", "--", "sleep", "600", check=True)
    pids = {number: impatient.show(f"job-{number}", "MainPID") for number in range(10)}
    for step in range(8):
        # The next daemon is hit while it loads and recovers, ever later.
        pid = next_daemon(impatient)
        time.sleep(step * 0.05)
        os.kill(pid, signal.SIGKILL)
    assert {number: impatient.show(f"job-{number}", "MainPID") for number in range(10)} == pids
    impatient.jobctl("stop", *(f"job-{number}" for number in range(10)), check=True)


def children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(word) for word in f.read().split()]


def next_daemon(program: Program) -> int:
    """Kill the daemon; the pid of the next, which has only just been forked."""
    old = program.daemon_pid()
    before = children(program.keeper.pid)
    os.kill(old, signal.SIGKILL)

    def forked() -> list[int]:
        return [pid for pid in children(program.keeper.pid) if pid not in before and is_alive(pid)]

    return until(forked, "the keeper has forked the next daemon")[0]


def test_nothing_piles_up_in_keeper_and_daemon(jobd: Program) -> None:
    def run_some() -> None:
        with Raw(jobd.socket) as raw:
            runs = [started(raw.run([b"/bin/sh", b"-c", b"echo x; echo y >&2"])).run for _ in range(30)]
            raw.wait(*runs)

    def counts() -> tuple[int, int]:
        return len(open_fds(jobd.keeper.pid)), len(open_fds(jobd.daemon_pid()))

    run_some()
    jobd.replace_daemon()  # the first one has made the database, and had nothing of it to look at
    run_some()
    before = counts()
    run_some()
    jobd.replace_daemon()
    run_some()
    until(lambda: counts() <= before, f"descriptors are back at {before}, not {counts()}", 20)


def test_reexec_replaces_the_daemon_and_nothing_else(jobd: Program) -> None:
    jobd.jobctl("run", "--name", "job", "--", "sleep", "600", check=True)
    main, old = jobd.show("job", "MainPID"), jobd.daemon_pid()
    jobd.jobctl("daemon-reexec", check=True)
    until(lambda: jobd.daemon_pid() != old, "the daemon is replaced")
    assert jobd.show("job", "MainPID") == main
    jobd.jobctl("stop", "job", check=True)


def test_sighup_replaces_the_daemon(jobd: Program) -> None:
    old = jobd.daemon_pid()
    jobd.keeper.send_signal(signal.SIGHUP)
    until(lambda: jobd.daemon_pid() != old, "the daemon is replaced")


def test_reexec_of_the_keeper_keeps_pid_jobs_and_exits(jobd: Program, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    command = (sys.executable, "-I", "-c", f"print(open({str(gate.path)!r}).read(), end=''); raise SystemExit(8)")
    jobd.jobctl("run", "--name", "job", "--", *command, check=True)
    main = jobd.show("job", "MainPID")
    keeper = jobd.daemon_status().keeper_pid
    assert keeper == jobd.keeper.pid
    for _ in range(2):
        jobd.jobctl("daemon-reexec", "--keeper", check=True)
        assert jobd.daemon_status().keeper_pid == keeper
    assert jobd.show("job", "MainPID") == main
    gate.open("after")
    assert jobd.jobctl("wait", "job").returncode == 8
    assert jobd.output("job") == b"after\n"
