"""The end of jobd: with a daemon that answers, with one that does not, and what is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from jobd.keeper.cgroup import Cgroups
from tests.keeper import harness
from tests.keeper.harness import DEADLINE_SEC, KeeperProcess, alive, close_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow
RUN, OTHER = b"\1" * 16, b"\2" * 16
SHORT = """
from jobd.keeper import shutdown
shutdown.ANSWER_SEC = shutdown.TERM_SEC = shutdown.LEAVE_SEC = 0.3
"""


@pytest.fixture
def hasty(tmp_path: Path, tracking: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeeperProcess]:
    """A keeper with short deadlines."""
    monkeypatch.setattr(harness, "KEEPER", SHORT + harness.KEEPER)
    with KeeperProcess(tmp_path, tracking) as keeper:
        yield keeper


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_the_daemon_is_asked_and_says_bye(plain_keeper: KeeperProcess, sig: int) -> None:
    daemon = plain_keeper.ready_daemon()
    process = plain_keeper.processes[0]
    process.send_signal(sig)
    assert daemon.expect("shutdown")[0]["why"] == signal.Signals(sig).name
    daemon.send("shutdown-begun")
    daemon.send("bye")
    daemon.kill()
    assert process.wait(DEADLINE_SEC) == 0
    assert not plain_keeper.socket.exists()
    assert not (plain_keeper.state_dir / "handover.sock").exists()
    assert not (plain_keeper.state_dir / "last-exits").exists()


def test_a_client_may_ask_and_the_exit_status_is_the_daemons(plain_keeper: KeeperProcess) -> None:
    daemon = plain_keeper.ready_daemon()
    daemon.send("ask-shutdown")
    assert daemon.expect("shutdown")[0]["why"] == "asked"
    daemon.send("bye", code=7)
    daemon.kill()
    assert plain_keeper.processes[0].wait(DEADLINE_SEC) == 7


def test_a_daemon_that_dies_on_the_way_has_a_successor_that_is_asked_again(plain_keeper: KeeperProcess) -> None:
    daemon = plain_keeper.ready_daemon()
    plain_keeper.processes[0].send_signal(signal.SIGTERM)
    daemon.expect("shutdown")
    daemon.send("shutdown-begun")
    daemon.kill()
    successor = plain_keeper.ready_daemon()
    successor.expect("shutdown")
    successor.send("bye")
    successor.kill()
    assert plain_keeper.processes[0].wait(DEADLINE_SEC) == 0


def test_without_an_answer_the_keeper_stops_the_runs_and_keeps_their_exits(hasty: KeeperProcess) -> None:
    daemon = hasty.ready_daemon()
    pids = {}
    polite, deaf = b"trap 'exit 9' TERM; echo; while :; do sleep 0.02; done", b"trap '' TERM; echo; sleep 60; :"
    for run, script in ((RUN, polite), (OTHER, deaf)):
        message, fds = daemon.start(run, b"sh", b"-c", script)
        assert os.read(fds["out"], 1) == b"\n"
        close_all(fds)
        pids[run] = int(str(message["pid"]))
    waiting, fds = daemon.spawn(b"\3" * 16, b"true")
    close_all(fds)
    hasty.processes[0].send_signal(signal.SIGTERM)
    assert hasty.processes[0].wait(DEADLINE_SEC) == 0
    assert not any(alive(int(str(pid))) for pid in (*pids.values(), waiting["pid"], daemon.pid))
    assert not hasty.socket.exists()

    hasty.start()
    heir = hasty.ready_daemon()
    entries = heir.list()
    assert entries.keys() == pids.keys()
    assert os.waitstatus_to_exitcode(entries[RUN][0]["exit"]["status"]) == 9  # type: ignore[index]
    assert os.waitstatus_to_exitcode(entries[OTHER][0]["exit"]["status"]) == -9  # type: ignore[index]
    assert entries[RUN][0]["empty"] is True
    assert entries[RUN][1] == {}
    heir.send("ack", run=RUN)
    assert heir.list().keys() == {OTHER}
    assert (hasty.state_dir / "last-exits").exists()
    heir.send("ack", run=OTHER)
    assert heir.list() == {}
    assert not (hasty.state_dir / "last-exits").exists()


def test_runs_left_by_a_daemon_that_said_bye_are_stopped(hasty: KeeperProcess) -> None:
    daemon = hasty.ready_daemon()
    message, fds = daemon.start(RUN, b"sleep", b"60")
    close_all(fds)
    daemon.send("ask-shutdown")
    daemon.expect("shutdown")
    daemon.send("bye")  # and it stays; the keeper ends it
    assert hasty.processes[0].wait(DEADLINE_SEC) == 0
    assert not alive(int(str(message["pid"])))
    assert not alive(daemon.pid)


def test_a_damaged_file_of_last_exits_is_no_reason_not_to_start(tmp_path: Path) -> None:
    keeper = KeeperProcess(tmp_path)
    keeper.state_dir.mkdir()
    (keeper.state_dir / "last-exits").write_bytes(b"\x81\xa7entries")
    with keeper:
        assert keeper.ready_daemon().list() == {}
        assert "cannot read" in keeper.log


@pytest.mark.parametrize("tracking", ["cgroup"], indirect=True)  # without, nobody knows whose a process was
@pytest.mark.parametrize(
    ("command", "end"), [("exec sleep 1000", signal.SIGTERM), ("trap '' TERM; read x", signal.SIGKILL)]
)
def test_what_lost_runs_have_left_ends_too(hasty: KeeperProcess, command: str, end: signal.Signals) -> None:
    path, fd = Cgroups(str(hasty.state_dir)).make(OTHER)
    os.close(fd)
    with open(path + "/cgroup.procs", "w") as procs:
        left = subprocess.Popen(["sh", "-c", f"echo; {command}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        procs.write(str(left.pid))
    daemon = hasty.ready_daemon()
    assert left.stdout is not None
    left.stdout.readline()
    hasty.processes[0].send_signal(signal.SIGTERM)
    daemon.expect("shutdown")
    daemon.send("bye")
    daemon.kill()
    assert hasty.processes[0].wait(DEADLINE_SEC) == 0
    assert left.wait(DEADLINE_SEC) == -end
    assert "ending what 1 lost runs have left" in hasty.log
    for pipe in (left.stdin, left.stdout):
        assert pipe is not None
        pipe.close()


def test_the_exit_status_that_was_asked_for_outlives_the_daemon_that_asked(plain_keeper: KeeperProcess) -> None:
    daemon = plain_keeper.ready_daemon()
    daemon.send("ask-shutdown", code=3)
    daemon.expect("shutdown")
    daemon.send("ask-shutdown", code=4)  # the end of another essential job: the first counts
    daemon.send("shutdown-begun")
    daemon.kill()
    successor = plain_keeper.ready_daemon()
    successor.expect("shutdown")
    successor.send("bye", code=0)
    successor.kill()
    assert plain_keeper.processes[0].wait(DEADLINE_SEC) == 3
