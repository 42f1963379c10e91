"""Trees: signals, kills and emptiness, with a cgroup and without one."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from jobd.core.ids import ONCE_OPERATION, ONCE_REMEMBERED, USER_OPERATION
from jobd.keeper import tree
from jobd.keeper.table import Entry
from tests.keeper.harness import DEADLINE_SEC, Daemon, alive, close_all

if TYPE_CHECKING:
    from pathlib import Path

    from tests.keeper.harness import KeeperProcess

pytestmark = pytest.mark.slow
RUN, OTHER = b"\1" * 16, b"\2" * 16

# Writes the pid of a process that has left session, group and parent and ignores TERM; every wait is bounded.
ESCAPE = b"""
trap '' TERM
setsid sh -c 'trap "" TERM; (sleep 60; :) & echo $! > "$0.new"; mv "$0.new" "$0"' "$0"
"""


def wait_pid(path: Path) -> int:
    """The pid that a job writes."""
    deadline = time.monotonic() + DEADLINE_SEC
    while not path.exists() or not path.read_text().endswith("\n"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return int(path.read_text())


def start(daemon: Daemon, run: bytes, *argv: bytes) -> int:
    message, fds = daemon.start(run, *argv)
    close_all(fds)
    return int(str(message["pid"]))


def test_kill_tree_ends_everything_and_says_so(keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = keeper.ready_daemon()
    main = start(daemon, RUN, b"sh", b"-c", ESCAPE + b"sleep 60; :", os.fsencode(tmp_path / "pid"))
    escaped = wait_pid(tmp_path / "pid")
    daemon.send("watch", run=RUN)
    daemon.send("kill-tree", run=RUN, o="kill-1")
    assert daemon.expect("exited", run=RUN)[0]["status"] == signal.SIGKILL
    daemon.expect("empty", run=RUN)
    assert not alive(main)
    assert not alive(escaped)


def test_a_tree_that_outlives_its_main_process(keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = keeper.ready_daemon()
    start(daemon, RUN, b"sh", b"-c", ESCAPE + b"exit 5", os.fsencode(tmp_path / "pid"))
    exited = daemon.expect("exited", run=RUN)[0]
    assert exited["empty"] is False
    escaped = wait_pid(tmp_path / "pid")
    daemon.send("watch", run=RUN)
    daemon.send("tree", run=RUN, tag=7, holders=True)
    seen = daemon.expect("tree", tag=7)[0]
    pids = [process[0] for process in seen["processes"]]  # type: ignore[attr-defined]
    assert escaped in pids
    assert escaped in [holder[0] for holder in seen["holders"]]  # type: ignore[attr-defined]
    assert keeper.processes[0].pid not in [holder[0] for holder in seen["holders"]]  # type: ignore[attr-defined]
    daemon.send("kill-tree", run=RUN, o="kill-1")  # and not those pids: one of them may just fork
    daemon.expect("empty", run=RUN)
    daemon.send("tree", run=RUN, tag=8)
    assert daemon.expect("tree", tag=8)[0]["processes"] == []
    entry, fds = daemon.list()[RUN]
    close_all(fds)
    assert entry["empty"] is True


def test_the_end_of_a_late_tree_is_seen_without_a_clock(keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = keeper.ready_daemon()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    start(daemon, RUN, b"sh", b"-c", b'setsid sh -c "read x < $0" & exit 0', os.fsencode(fifo))
    assert daemon.expect("exited", run=RUN)[0]["empty"] is False
    daemon.send("watch", run=RUN)
    fifo.write_text("go\n")
    daemon.expect("empty", run=RUN)


def test_signal_to_all_reaches_the_whole_tree_once(keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = keeper.ready_daemon()
    script = b"""
    trap 'echo main >> "$0.got"; exit 0' TERM
    setsid sh -c 'trap "echo child >> $0.got; exit 0" TERM; echo 1 > "$0"; while :; do sleep 0.02; done' "$0" &
    while :; do sleep 0.02; done
    """
    start(daemon, RUN, b"sh", b"-c", script, os.fsencode(tmp_path / "up"))
    wait_pid(tmp_path / "up")
    daemon.send("watch", run=RUN)
    daemon.send("signal", run=RUN, o="term-1", sig=signal.SIGTERM, whom="all")
    first = daemon.expect("signaled", run=RUN)[0]
    assert first["repeated"] is False
    assert int(str(first["count"])) >= 2
    daemon.expect("empty", run=RUN)
    assert sorted((tmp_path / "up.got").read_text().split()) == ["child", "main"]


def test_a_persons_signals_are_not_remembered(keeper: KeeperProcess) -> None:
    daemon = keeper.ready_daemon()
    start(daemon, RUN, b"sleep", b"60")
    for i in range(3):
        daemon.send("signal", run=RUN, o=f"{USER_OPERATION}{i}", sig=signal.SIGCONT, whom="main")
        assert daemon.expect("signaled")[0]["count"] == 1
    entry, fds = daemon.list()[RUN]
    close_all(fds)
    assert entry["ops"] == []


def test_an_operation_is_never_repeated_not_even_by_the_next_daemon(keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = keeper.ready_daemon()
    script = b"""trap 'echo >> "$0"' USR1; echo 1 > "$0.up"; while [ ! -e "$0.end" ]; do sleep 0.02; done"""
    start(daemon, RUN, b"sh", b"-c", script, os.fsencode(tmp_path / "count"))
    wait_pid(tmp_path / "count.up")
    daemon.send("signal", run=RUN, o="usr1-1", sig=signal.SIGUSR1, whom="main")
    assert daemon.expect("signaled")[0] == {"op": "signaled", "run": RUN, "o": "usr1-1", "repeated": False, "count": 1}
    daemon.kill()
    successor = keeper.ready_daemon()
    successor.send("signal", run=RUN, o="usr1-1", sig=signal.SIGUSR1, whom="main")
    assert successor.expect("signaled")[0]["repeated"] is True
    entry, fds = successor.list()[RUN]
    close_all(fds)
    assert entry["ops"] == ["usr1-1"]
    (tmp_path / "count.end").touch()
    successor.expect("exited", run=RUN)
    assert (tmp_path / "count").read_text() == "\n"


def test_a_signal_with_a_name_of_its_own_is_sent_once(keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = keeper.ready_daemon()
    script = b"""trap 'echo >> "$0"' USR1; echo 1 > "$0.up"; while [ ! -e "$0.end" ]; do sleep 0.02; done"""
    start(daemon, RUN, b"sh", b"-c", script, os.fsencode(tmp_path / "count"))
    wait_pid(tmp_path / "count.up")
    name = f"{ONCE_OPERATION}a"
    send = {"run": RUN, "sig": signal.SIGUSR1, "whom": "main"}
    daemon.send("signal", o=name, **send)
    assert daemon.expect("signaled", o=name)[0]["repeated"] is False
    daemon.kill()
    successor = keeper.ready_daemon()
    successor.send("signal", o=name, **send)
    assert successor.expect("signaled", o=name)[0]["repeated"] is True
    successor.send("ask-reexec", keeper=True)
    close_all(successor.expect("welcome")[1])
    successor.send("signal", o=name, **send)
    assert successor.expect("signaled", o=name)[0]["repeated"] is True
    assert (tmp_path / "count").read_text() == "\n"
    for i in range(ONCE_REMEMBERED):  # the last few are known
        successor.send("signal", o=f"{ONCE_OPERATION}{i}", run=RUN, sig=signal.SIGCONT, whom="main")
        assert successor.expect("signaled")[0]["repeated"] is False
    entry, fds = successor.list()[RUN]
    close_all(fds)
    assert entry["once"] == [f"{ONCE_OPERATION}{i}" for i in range(ONCE_REMEMBERED)]
    assert entry["ops"] == []
    (tmp_path / "count.end").touch()
    successor.expect("exited", run=RUN)


def test_trees_of_two_runs_are_kept_apart(keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = keeper.ready_daemon()
    pids = {}
    for run, name in ((RUN, "a"), (OTHER, "b")):
        start(daemon, run, b"sh", b"-c", ESCAPE + b"exit 0", os.fsencode(tmp_path / name))
        pids[run] = wait_pid(tmp_path / name)
        daemon.expect("exited", run=run)
    daemon.send("watch", run=RUN)
    daemon.send("kill-tree", run=RUN, o="kill-1")
    daemon.expect("empty", run=RUN)
    assert not alive(pids[RUN])
    assert alive(pids[OTHER])
    daemon.send("kill-tree", run=OTHER, o="kill-1")
    daemon.send("watch", run=OTHER)
    daemon.expect("empty", run=OTHER)


def test_forking_against_the_kill_does_not_help(keeper: KeeperProcess) -> None:
    daemon = keeper.ready_daemon()
    # Each process starts its successor in a new session and leaves; bounded by a count.
    script = b'i=$1; [ "$i" -gt 2000 ] && exit; setsid sh -c "$0" "$0" $((i+1)) & sleep 0.001'
    start(daemon, RUN, b"sh", b"-c", script, script, b"0")
    daemon.expect("exited", run=RUN)
    daemon.send("kill-tree", run=RUN, o="kill-1")
    daemon.send("watch", run=RUN)
    daemon.expect("empty", run=RUN)
    daemon.send("tree", run=RUN, tag=1)
    assert daemon.expect("tree", tag=1)[0]["processes"] == []


def test_unknown_runs_have_empty_trees(plain_keeper: KeeperProcess) -> None:
    daemon = plain_keeper.ready_daemon()
    daemon.send("watch", run=RUN)
    daemon.expect("empty", run=RUN)
    daemon.send("tree", run=RUN, tag=1, holders=True)
    assert daemon.expect("tree", tag=1)[0]["processes"] == []
    daemon.send("signal", run=RUN, o="x", sig=15, whom="all")
    assert daemon.expect("signaled")[0]["count"] == 0
    daemon.send("kill-tree", run=RUN, o="x")
    daemon.send("ack", run=RUN)
    assert daemon.list() == {}


def test_an_acknowledged_run_leaves_its_late_tree_alone(keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = keeper.ready_daemon()
    start(daemon, RUN, b"sh", b"-c", ESCAPE + b"exit 0", os.fsencode(tmp_path / "pid"))
    daemon.expect("exited", run=RUN)
    daemon.send("ack", run=RUN)
    assert daemon.list() == {}
    assert alive(wait_pid(tmp_path / "pid"))


def test_a_running_run_cannot_be_acknowledged(plain_keeper: KeeperProcess) -> None:
    daemon = plain_keeper.ready_daemon()
    start(daemon, RUN, b"sleep", b"60")
    daemon.send("ack", run=RUN)
    entries = daemon.list()
    close_all(entries[RUN][1])
    plain_keeper.wait_log("which has not ended")


def test_processes_without_environment_keep_no_other_run_from_its_end(plain_keeper: KeeperProcess) -> None:
    """Each might be of any run: such a look is believed after a while, however many new ones there are."""
    daemon = plain_keeper.ready_daemon()
    start(daemon, OTHER, b"sh", b"-c", b"for i in $(seq 300); do (setsid env -i sleep 1 &); sleep 0.1; done")
    time.sleep(0.5)
    for run in (b"\5" * 16, b"\6" * 16):
        start(daemon, run, b"true")
        daemon.send("watch", run=run)
    for run in (b"\5" * 16, b"\6" * 16):
        begun = time.monotonic()
        daemon.expect("empty", run=run)
        assert time.monotonic() - begun < 15
    daemon.send("kill-tree", run=OTHER, o="kill-1")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users")
def test_whose_a_process_without_environment_may_be() -> None:
    entry = Entry(RUN)
    with subprocess.Popen(["sleep", "60"], env={}, user=61001, group=61001, extra_groups=[], cwd="/") as blank:
        for owner, may in ((61001, True), (0, True), (61002, False)):
            entry.label = {"owner": owner}
            assert tree.may_be_of(entry, blank.pid) is may
            assert tree.may_be_of(entry, os.getpid()), "a program may have become root"
        blank.kill()
