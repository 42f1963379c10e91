"""What runs have left whose keeper and daemon were killed at once: ended when the next daemon asks for it."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.keeper.harness import DEADLINE_SEC, KeeperProcess, alive, close_all, until_gone

if TYPE_CHECKING:
    from tests.keeper.harness import Daemon

pytestmark = pytest.mark.slow
RUN, OTHER = os.urandom(16), os.urandom(16)  # of no other test: who has them in his environment is ended
SCRIPT = b"trap '' HUP; sleep 60 & wait"


def _end(daemon: Daemon, run: bytes, sig: int) -> object:
    daemon.send("end-stray", run=run, tag=7, signal=sig)
    return daemon.expect("stray", tag=7)[0]["left"]


def _orphaned(keeper: KeeperProcess, *runs: bytes) -> tuple[Daemon, list[int]]:
    """The next daemon after both have died, and the main processes of these runs of before."""
    daemon = keeper.ready_daemon()
    pids = []
    for run in runs:
        message, fds = daemon.start(run, b"sh", b"-c", SCRIPT)
        pids.append(int(str(message["pid"])))
        close_all(fds)
    keeper.processes[0].kill()
    keeper.processes[0].wait(DEADLINE_SEC)
    daemon.kill()
    keeper.start()
    return keeper.ready_daemon(), pids


def test_they_are_ended_with_all_they_have_started_and_nobody_else_is(keeper: KeeperProcess) -> None:
    daemon, pids = _orphaned(keeper, RUN, OTHER)
    assert all(map(alive, pids))
    assert _end(daemon, RUN, 0)
    assert _end(daemon, RUN, signal.SIGTERM)
    until_gone(pids[:1])
    end = time.monotonic() + DEADLINE_SEC
    while _end(daemon, RUN, signal.SIGKILL):  # the others of its tree
        assert time.monotonic() < end
    assert alive(pids[1])
    assert _end(daemon, OTHER, signal.SIGKILL)
    until_gone(pids[1:])


def test_runs_of_this_keeper_are_none(keeper: KeeperProcess) -> None:
    daemon = keeper.ready_daemon()
    message, fds = daemon.start(RUN, b"sleep", b"60")
    assert not _end(daemon, RUN, signal.SIGKILL)
    assert alive(int(str(message["pid"])))
    close_all(fds)
