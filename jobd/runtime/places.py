"""Room for a few runs between fork and exec, given to the owners in turn.

Nobody has all of it: a user whose programs do not come to exec holds up his own.
"""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# Runs between fork and exec at once, of one owner and of all. Each is a copy of the keeper that waits for `go`; a burst
# of a thousand of them starts jobs at a third of the rate (measured), and on more processors than four times this the
# keeper is the limit.
MAX_LAUNCHING: Final = 16
MAX_OF_ALL: Final = 24


class Places:
    """A semaphore whose places go to the owners in turn."""

    def __init__(self, each: int = MAX_LAUNCHING, count: int = MAX_OF_ALL) -> None:
        self._each = each
        self._free = count
        self._held: dict[int, int] = {}
        self._lines: dict[int, deque[trio.lowlevel.Task]] = {}  # by owner; whose turn it is next comes first

    @asynccontextmanager
    async def place(self, owner: int) -> AsyncIterator[None]:
        """Hold a place."""
        if self._may(owner) and owner not in self._lines:
            self._take(owner)
        else:
            await self._wait(owner)
        try:
            yield
        finally:
            self._free += 1
            self._held[owner] -= 1
            if not self._held[owner]:
                del self._held[owner]
            self._hand_out()

    def _may(self, owner: int) -> bool:
        """Whether the owner may have one more: no more than `each`, and never more than twice what is left."""
        mine = self._held.get(owner, 0)
        return mine < self._each and mine < 2 * self._free

    def _take(self, owner: int) -> None:
        self._free -= 1
        self._held[owner] = self._held.get(owner, 0) + 1

    async def _wait(self, owner: int) -> None:
        task = trio.lowlevel.current_task()
        line = self._lines.setdefault(owner, deque())
        line.append(task)

        def leave(_: object) -> trio.lowlevel.Abort:
            line.remove(task)
            if not line:
                self._lines.pop(owner, None)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(leave)

    def _hand_out(self) -> None:
        """Give what is free to those in line: to who has fewest first, and among these in turn."""
        found = True
        while found and self._free:
            found = False
            for owner in sorted(self._lines, key=lambda owner: self._held.get(owner, 0)):
                if not self._may(owner):
                    continue
                found = True
                line = self._lines.pop(owner)
                self._take(owner)
                trio.lowlevel.reschedule(line.popleft())
                if line:
                    self._lines[owner] = line  # last, now
