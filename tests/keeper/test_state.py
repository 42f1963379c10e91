"""Re-executing the keeper: same process, same runs, same daemon, or nothing at all."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from jobd.keeper import state
from jobd.wire.plainpack import packb
from tests.keeper import harness
from tests.keeper.harness import DEADLINE_SEC, Daemon, KeeperProcess, close_all, read_all

if TYPE_CHECKING:
    from pathlib import Path

RUN, LATE, ENDED, FAILED = (bytes([i]) * 16 for i in range(1, 5))


def test_a_newer_blob_is_refused() -> None:
    with pytest.raises(ValueError, match="newer"):
        state.load(packb({"version": state.VERSION + 1, "entries": []}))


@pytest.mark.parametrize("data", [b"", b"\xc1", packb([1]), packb({"version": "x"})])
def test_a_blob_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="cannot"):
        state.load(data)


def held_by(keeper: KeeperProcess, daemon: Daemon) -> int:
    """How many descriptors the keeper has, after it has closed what it sent."""
    daemon.send("tree", run=RUN, tag=0)
    daemon.expect("tree", tag=0)
    return len(os.listdir(f"/proc/{keeper.processes[0].pid}/fd"))


@pytest.mark.slow
def test_everything_survives_a_re_exec(keeper: KeeperProcess, tmp_path: Path) -> None:
    daemon = keeper.ready_daemon()
    script = b'echo before; while [ ! -e "$0" ]; do sleep 0.02; done; echo after; exit 3'
    _, fds = daemon.start(RUN, b"sh", b"-c", script, os.fsencode(tmp_path / "end"))
    close_all(daemon.start(LATE, b"sh", b"-c", b"setsid sleep 60 & exit 0")[1])
    close_all(daemon.start(ENDED, b"false")[1])
    close_all(daemon.spawn(FAILED, b"no-such-program")[1])
    assert daemon.go(FAILED)["op"] == "exec-failed"
    for run in (LATE, ENDED):
        daemon.expect("exited", run=run)
    daemon.send("watch", run=FAILED)
    daemon.expect("empty", run=FAILED)
    daemon.send("signal", run=RUN, o="cont-1", sig=signal.SIGCONT, whom="main")
    daemon.expect("signaled")
    before = daemon.list()
    descriptors = held_by(keeper, daemon)
    for round_ in (1, 2):
        daemon.send("ask-reexec", keeper=True)
        welcome, held = daemon.expect("welcome")
        close_all(held)
        assert welcome["keeper_pid"] == keeper.processes[0].pid
        assert keeper.log.count("re-executed") == round_
    after = daemon.list()
    assert {run: entry for run, (entry, _) in after.items()} == {run: entry for run, (entry, _) in before.items()}
    for run, (_, held) in after.items():
        for name, fd in held.items():
            assert os.path.samestat(os.fstat(fd), os.fstat(before[run][1][name]))
        close_all(held)
        close_all(before[run][1])
    assert held_by(keeper, daemon) == descriptors

    (tmp_path / "end").touch()
    exited = daemon.expect("exited", run=RUN)[0]
    assert os.waitstatus_to_exitcode(exited["status"]) == 3  # type: ignore[arg-type]
    assert read_all(fds["out"]) == b"before\nafter\n"
    close_all(fds)
    daemon.send("watch", run=LATE)
    daemon.send("kill-tree", run=LATE, o="kill-1")
    daemon.expect("empty", run=LATE)
    for run in (RUN, LATE, ENDED, FAILED):
        daemon.send("ack", run=run)
    assert daemon.list() == {}
    _, fds = daemon.start(b"\5" * 16, b"sh", b"-c", b"ls /proc/self/fd | wc -l")
    assert read_all(fds["out"]) == b"4\n"  # no descriptor of the keeper has become inheritable
    close_all(fds)
    daemon.kill()
    successor = keeper.daemon()
    welcome, held = successor.expect("welcome")
    close_all(held)
    assert welcome["incarnation"] == 2
    keeper.processes[0].send_signal(signal.SIGTERM)
    successor.expect("shutdown")
    successor.send("bye")
    successor.kill()
    assert keeper.processes[0].wait(DEADLINE_SEC) == 0


@pytest.mark.slow
def test_a_rehearsal_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = "import sys\nfrom jobd.keeper import state\nstate._argv = lambda *_: [sys.executable, '-c', '1/0']\n"
    monkeypatch.setattr(harness, "KEEPER", broken + harness.KEEPER)
    with KeeperProcess(tmp_path) as keeper:
        daemon = keeper.ready_daemon()
        _, fds = daemon.start(RUN, b"sh", b"-c", b"read x < $0; exit 3", os.fsencode(tmp_path / "fifo"))
        close_all(fds)
        daemon.send("ask-reexec", keeper=True)
        assert "cannot take over the state" in str(daemon.expect("reexec-refused")[0]["why"])
        daemon.expect("exited", run=RUN)
        assert daemon.list().keys() == {RUN}
