"""How long the daemon's loop lets somebody wait: a small question over and over, by a process of its own.

What counts is what jobd does, and the machine may be busy with other things. So the time in which the daemon or who
asks stood in line for a processor is taken off: the kernel tells it (the second number of /proc/PID/schedstat). What
the loop computes, waits for its lock or for the disk, remains.
"""

from __future__ import annotations

import os
import select
import signal
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Self

from jobd.wire import messages as m
from tests.system.crowd import User
from tests.system.program import until
from tests.system.raw import Raw

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.system.program import Program

PAUSE_SEC = 0.002
LIVE_SEC = 900  # of a user's process in a campaign, which may take a minute, and many on a busy machine


def pids(jobd: Program) -> list[int]:
    """Daemon and keeper: if both are the same afterwards, nobody has died."""
    return [jobd.daemon_pid(), jobd.keeper_pid]


def settle(jobd: Program, ours: int) -> None:
    """Return when the daemon has seen all others leave: no more than `ours` are connected, with the one that asks."""
    until(lambda: jobd.daemon_status().connections <= ours, "the daemon has seen them leave")


class Asked(NamedTuple):
    """What came of the questions: seconds of each, and what else than an answer there was."""

    seconds: list[float]
    errors: list[str]

    def quantile(self, share: float) -> float:
        return quantile(self.seconds, share)


def quantile(values: Sequence[float], share: float) -> float:
    """That of which so large a share is smaller or the same; 0.0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def queued_sec(pid: int) -> float:
    """How long the main thread of a process has stood in line for a processor; 0.0 where the kernel does not tell."""
    try:
        with open(f"/proc/{pid}/task/{pid}/schedstat", "rb") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def timed(act: Callable[[], None], pids: Sequence[int]) -> float:
    """The seconds that `act` takes, without those in which one of `pids` stood in line for a processor."""
    queued, began = sum(map(queued_sec, pids)), time.perf_counter()
    act()
    return max(0.0, time.perf_counter() - began - (sum(map(queued_sec, pids)) - queued))


def _ask(path: str, pid: int, reader: int, writer: int) -> list[object]:
    signal.alarm(LIVE_SEC)
    os.close(writer)
    seconds: list[float] = []
    errors: list[str] = []
    pids = (os.getpid(), pid)
    while not select.select([reader], [], [], 0)[0]:
        try:
            with Raw(path) as raw:

                def ask(raw: Raw = raw) -> None:
                    answer = raw.ask(m.AuthWhoami(id=raw.next_id()))
                    if not isinstance(answer, m.Reply):
                        errors.append(f"answered by {answer}")

                while not select.select([reader], [], [], PAUSE_SEC)[0]:
                    seconds.append(timed(ask, pids))
        except (OSError, EOFError, AssertionError) as e:
            errors.append(repr(e))
    return [seconds, errors]


class Probe:
    """Asks as that user, from the beginning of the block to its end; then `asked` is there.

    Args:
        path: of the socket.
        uid: who asks; None is whoever we are.
        pid: the daemon's.
    """

    def __init__(self, path: str, uid: int, pid: int) -> None:
        self._reader, self._writer = os.pipe()
        self._user = User(uid, partial(_ask, path, pid, self._reader, self._writer))
        os.close(self._reader)
        self.asked = Asked([], [])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        os.close(self._writer)
        if kind is not None:
            self._user.end()
            return
        found = self._user.result()
        assert isinstance(found, list)
        self.asked = Asked(*found)
