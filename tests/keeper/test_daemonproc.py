"""The daemon as the keeper sees it: forked, pinged, killed, replaced; one at a time."""

from __future__ import annotations

import os
import select
import signal
import time
from typing import TYPE_CHECKING

import pytest

from jobd.keeper import daemonproc
from jobd.keeper.daemonproc import BACKOFF_MAX_SEC, DaemonProcess
from jobd.keeper.welcome import LINK_VERSION
from tests.keeper.harness import KEEPER, KeeperProcess, alive, close_all

if TYPE_CHECKING:
    from pathlib import Path

RUN = b"\1" * 16
KILLED, FAILED = int(signal.SIGKILL), 1 << 8


class Deaths:
    """A DaemonProcess whose processes are never forked: only their deaths are told."""

    def __init__(self) -> None:
        self.daemon = DaemonProcess(["none"])

    def delay(self, status: int, lived: float, ready: bool) -> float:
        self.daemon.born, self.daemon.ready = 100.0, ready
        self.daemon.pidfd = os.open(os.devnull, os.O_RDONLY)
        self.daemon.reaped(status, 100.0 + lived)
        assert self.daemon.next_at is not None
        return round(self.daemon.next_at - 100.0 - lived, 3)


def test_a_daemon_that_never_comes_up_is_forked_more_and_more_slowly() -> None:
    deaths = Deaths()
    delays = [deaths.delay(FAILED, 0.1, ready=False) for _ in range(9)]
    assert delays == [0.0, 0.2, 0.4, 0.8, 1.6, 3.2, BACKOFF_MAX_SEC, BACKOFF_MAX_SEC, BACKOFF_MAX_SEC]


def test_a_daemon_that_lived_or_was_killed_comes_back_at_once() -> None:
    deaths = Deaths()
    assert [deaths.delay(KILLED, 0.5, ready=True) for _ in range(5)] == [0.0] * 5
    assert [deaths.delay(FAILED, 11.0, ready=True) for _ in range(5)] == [0.0] * 5
    assert [deaths.delay(FAILED, 1.0, ready=True) for _ in range(3)] == [0.0, 0.2, 0.4]
    assert deaths.delay(KILLED, 1.0, ready=True) == 0.0


@pytest.mark.slow
def test_welcome_says_who_and_where(keeper: KeeperProcess) -> None:
    daemon = keeper.daemon()
    welcome, fds = daemon.expect("welcome")
    assert welcome["version"] == LINK_VERSION
    assert welcome["keeper_pid"] == keeper.processes[0].pid
    assert welcome["incarnation"] == 1
    assert (welcome["mode"], welcome["tracking"]) == ("socket", keeper.tracking)
    assert (welcome["socket"], welcome["state_dir"]) == (str(keeper.socket), str(keeper.state_dir))
    assert sorted(fds) == ["handover", "listener", "lock", "relay_read", "relay_write"]
    assert os.path.samestat(os.fstat(fds["lock"]), os.stat(keeper.state_dir / "lock"))
    close_all(fds)


@pytest.mark.slow
def test_the_next_daemon_comes_after_the_last_is_gone(plain_keeper: KeeperProcess) -> None:
    first = plain_keeper.ready_daemon()
    first.kill()
    second = plain_keeper.daemon()
    assert not os.path.exists(f"/proc/{first.pid}")
    welcome, fds = second.expect("welcome")
    assert welcome["incarnation"] == 2
    close_all(fds)


@pytest.mark.slow
def test_a_daemon_that_can_never_be_ends_a_keeper_without_runs(plain_keeper: KeeperProcess) -> None:
    """As one whose state was made by a newer version. With a run there is something to keep."""
    process = plain_keeper.processes[0]
    daemon = plain_keeper.daemon()
    _, fds = daemon.start(RUN, b"/bin/sleep", b"600")
    close_all(fds)
    daemon.send("start-failed", why="newer", final=True)
    os.kill(daemon.pid, signal.SIGKILL)
    daemon = plain_keeper.daemon()
    close_all(daemon.expect("welcome")[1])
    daemon.send("signal", run=RUN, o="kill-1", sig=9, whom="all")
    daemon.expect("exited")
    daemon.send("ack", run=RUN)
    daemon.send("start-failed", why="newer", final=True)
    os.kill(daemon.pid, signal.SIGKILL)
    assert process.wait(30) == 2


@pytest.mark.slow
def test_hup_replaces_the_daemon(plain_keeper: KeeperProcess) -> None:
    first = plain_keeper.ready_daemon()
    _, fds = first.start(RUN, b"sleep", b"60")
    close_all(fds)
    plain_keeper.processes[0].send_signal(signal.SIGHUP)
    second = plain_keeper.ready_daemon()
    assert not alive(first.pid)
    entry, fds = second.list()[RUN]
    close_all(fds)
    assert entry["exit"] is None
    second.send("ask-reexec", keeper=False)
    plain_keeper.ready_daemon()
    assert not alive(second.pid)


@pytest.mark.slow
def test_a_stopped_daemon_is_killed_and_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = "from jobd.keeper import loop, daemonproc\nloop.PING_SEC, daemonproc.PONG_SEC = 0.2, 0.4\n"
    assert (daemonproc.PING_SEC, daemonproc.PONG_SEC) == (5.0, 10.0)
    monkeypatch.setattr("tests.keeper.harness.KEEPER", short + KEEPER)
    with KeeperProcess(tmp_path) as keeper:
        first = keeper.ready_daemon()
        os.kill(first.pid, signal.SIGSTOP)
        second = keeper.ready_daemon()  # the first answers nothing, as nobody reads its link meanwhile
        assert not os.path.exists(f"/proc/{first.pid}")
        until = time.monotonic() + 1.0  # longer than ping and pong take: who answers stays
        while time.monotonic() < until:
            select.select([second.link.sock], [], [], 0.1)
            second.take()
        assert alive(second.pid)


@pytest.mark.slow
def test_a_daemon_is_not_killed_for_an_answer_that_was_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was killed while the keeper stopped thousands of runs, or got no processor for ten seconds."""
    short = "from jobd.keeper import loop, daemonproc\nloop.PING_SEC, daemonproc.PONG_SEC = 0.2, 1.0\n"
    monkeypatch.setattr("tests.keeper.harness.KEEPER", short + KEEPER)
    with KeeperProcess(tmp_path) as keeper:
        daemon = keeper.ready_daemon()
        daemon.list()
        while not [message for message, _ in daemon.link.receive() if message["op"] == "ping"]:
            select.select([daemon.link.sock], [], [], 10)
        keeper.processes[0].send_signal(signal.SIGSTOP)
        daemon.send("pong")
        time.sleep(1.2)  # longer than PONG_SEC
        keeper.processes[0].send_signal(signal.SIGCONT)
        daemon.list()
        assert alive(daemon.pid)
        assert "does not answer" not in keeper.log


@pytest.mark.slow
def test_a_daemon_that_is_not_understood_is_replaced(plain_keeper: KeeperProcess) -> None:
    first = plain_keeper.ready_daemon()
    first.send("no such op")
    second = plain_keeper.ready_daemon()
    assert not alive(first.pid)
    second.send("spawn", run="not bytes")
    third = plain_keeper.ready_daemon()
    third.link.sock.send(b"\xc1garbage")
    plain_keeper.ready_daemon()
    assert plain_keeper.log.count("is not understood") == 3


@pytest.mark.slow
def test_strangers_are_reaped(plain_keeper: KeeperProcess) -> None:
    daemon = plain_keeper.ready_daemon()
    _, fds = daemon.start(RUN, b"sh", b"-c", b"for i in 1 2 3 4 5; do setsid sleep 0.05 & done; exit 0")
    close_all(fds)
    daemon.send("watch", run=RUN)
    daemon.expect("empty", run=RUN)
    children = f"/proc/{plain_keeper.processes[0].pid}/task/{plain_keeper.processes[0].pid}/children"
    with open(children, encoding="ascii") as file:
        assert file.read().split() == [str(daemon.pid)]
