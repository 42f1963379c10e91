"""Another main process: who may be one, and whose end is the run's from then on."""

from __future__ import annotations

import errno
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.keeper.harness import Daemon, close_all
from tests.keeper.test_trees import start, wait_pid

if TYPE_CHECKING:
    from pathlib import Path

    from jobd.keeper.link import Message
    from tests.keeper.harness import KeeperProcess

pytestmark = pytest.mark.slow
RUN, OTHER = b"\1" * 16, b"\2" * 16
# Leaves a process that ends with 7 when it is told to, and says its number; then waits for the second fifo.
REPLACE = b"""
cd "$0"; mkfifo old new
(read x < new; exit 7) & echo $! > pid.new; mv pid.new pid
read x < old; exit 3
"""


def set_main(daemon: Daemon, pid: int, run: bytes = RUN) -> Message:
    daemon.send("set-main", run=run, tag=5, pid=pid)
    message, fds = daemon.expect("main", run=run, tag=5)
    close_all(fds)
    return message


def write(path: Path) -> None:
    with path.open("w") as file:
        file.write("go\n")


def exit_code(message: Message) -> int:
    return os.waitstatus_to_exitcode(int(str(message["status"])))


def test_a_successor_is_the_main_process_when_the_first_has_left(keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = keeper.ready_daemon()
    start(daemon, RUN, b"sh", b"-c", REPLACE, os.fsencode(tmp_path))
    pid = wait_pid(tmp_path / "pid")
    message = set_main(daemon, pid)
    assert (message["errno"], message["pid"]) == (0, pid)
    assert set_main(daemon, pid)["errno"] == 0, "asked again by the next daemon"
    write(tmp_path / "old")  # it leaves, and its child is ours
    daemon.send("tree", run=RUN, tag=1)
    daemon.expect("tree", tag=1)
    entry, fds = daemon.list()[RUN]
    close_all(fds)
    assert (entry["pid"], entry["exit"], entry["empty"]) == (pid, None, False)
    write(tmp_path / "new")
    message = daemon.expect("exited", run=RUN)[0]
    assert exit_code(message) == 7
    daemon.send("watch", run=RUN)
    daemon.expect("empty", run=RUN)


def test_it_may_be_named_when_the_first_has_just_left(keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = keeper.ready_daemon()
    start(daemon, RUN, b"sh", b"-c", REPLACE, os.fsencode(tmp_path))
    pid = wait_pid(tmp_path / "pid")
    write(tmp_path / "old")
    message = daemon.expect("exited", run=RUN)[0]
    assert (exit_code(message), message["empty"]) == (3, False)
    assert set_main(daemon, pid)["errno"] == 0
    daemon.send("signal", run=RUN, o="term-1", sig=signal.SIGTERM, whom="main")
    assert daemon.expect("signaled", run=RUN)[0]["count"] == 1
    message = daemon.expect("exited", run=RUN)[0]
    assert (message["status"], message["empty"]) == (signal.SIGTERM, True)
    assert set_main(daemon, pid)["errno"] == errno.ESRCH


def test_it_may_be_the_child_of_one_that_stays(keeper: KeeperProcess, tmp_path: Path) -> None:
    """Its end is read from the kernel once its parent has reaped it, also by a keeper that was executed anew."""
    daemon = keeper.ready_daemon()
    script = b'cd "$0"; mkfifo go; sh -c "read x < go; exit 9" & echo $! > pid.new; mv pid.new pid; wait; sleep 300'
    start(daemon, RUN, b"sh", b"-c", script, os.fsencode(tmp_path))
    pid = wait_pid(tmp_path / "pid")
    assert set_main(daemon, pid)["errno"] == 0
    daemon.send("ask-reexec", keeper=True)
    close_all(daemon.expect("welcome")[1])
    write(tmp_path / "go")
    message = daemon.expect("exited", run=RUN)[0]
    assert message["empty"] is False
    assert message["status"] in (9 << 8, -1), "older kernels do not tell"
    daemon.send("watch", run=RUN)
    daemon.send("kill-tree", run=RUN, o="kill-1")
    daemon.expect("empty", run=RUN)


def test_who_cannot_be_one(keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = keeper.ready_daemon()
    first = start(daemon, RUN, b"sleep", b"300")
    other = start(daemon, OTHER, b"sleep", b"300")
    for pid, number in (
        (other, errno.EPERM), (os.getpid(), errno.EPERM), (keeper.processes[0].pid, errno.EPERM), (1, errno.EPERM),
        (2**22 + 5, errno.ESRCH), (0, errno.EINVAL), (-1, errno.EINVAL), (1 << 40, errno.EINVAL),
    ):  # fmt: skip
        assert set_main(daemon, pid)["errno"] == number, pid
    assert set_main(daemon, first, b"\3" * 16)["errno"] == errno.ESRCH
    assert set_main(daemon, first)["errno"] == 0
    script = b"echo $$ > $0.new; mv $0.new $0; exec sleep 300"
    argv = [b"sh", b"-c", script, os.fsencode(tmp_path / "pid")]
    daemon.send("helper", run=RUN, o="reload-1", argv=argv, env=[b"PATH=/bin:/usr/bin", daemon.mark], cwd=b"/")
    assert set_main(daemon, wait_pid(tmp_path / "pid"))["errno"] == errno.EINVAL
    entry, fds = daemon.list()[RUN]
    close_all(fds)
    assert entry["pid"] == first
