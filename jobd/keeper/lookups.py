"""Children that look their user up: one that has no answer in time is ended, and the start has failed.

The name service runs in the child's own process, so nothing there can tell the time; the keeper looks from outside. As
long as a child's real uid is 0 it has not become its user.
"""

from __future__ import annotations

import errno
import signal
import time
from collections import deque

from jobd.host import pidfd, procs
from jobd.keeper.become import LOOKUP_SEC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobd.keeper.loop import Keeper
    from jobd.keeper.table import Entry


class Lookups:
    """The children that were made in the last seconds, in their order."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._waiting: deque[tuple[float, Entry]] = deque()

    def add(self, entry: Entry) -> None:
        """A child has begun to look up a user who is not root."""
        self._waiting.append((time.monotonic() + LOOKUP_SEC, entry))

    def tick(self, now: float) -> float | None:
        """Do what is due. Returns when to look again."""
        waiting = self._waiting
        while waiting and (waiting[0][1].ctl is None or waiting[0][0] <= now):
            entry = waiting.popleft()[1]
            if entry.ctl is not None and entry.pidfd is not None and _is_root(entry.pid):
                pidfd.send_signal(entry.pidfd, signal.SIGKILL)
                if _is_root(entry.pid):  # still: it was not just about to go on
                    self._keeper.requests.drop_ctl(entry)
                    self._keeper.requests.fail(entry, "user", errno.ETIMEDOUT)
        return waiting[0][0] if waiting else None


def _is_root(pid: int) -> bool:
    """Whether a child of ours, not reaped, has uid 0."""
    return procs.uids(pid)[0] == 0
