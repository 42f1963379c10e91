"""Room for a few runs between fork and exec, given to the owners in turn.

Nobody has all of it: a user whose programs do not come to exec holds up his own.

Who stands in line is told when he has his place, in the order of the line. A task that is told goes on some time later,
and not in that order; so a run without one (`keep`) is told by a call, in which it begins.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

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
        self._lines: dict[int, deque[Callable[[], None]]] = {}  # by owner; whose turn it is next comes first
        self._kept: dict[bytes, int] = {}  # places of runs whose tasks are only begun, and whose they are
        self._named: dict[bytes, tuple[int, Callable[[], None]]] = {}  # runs in line: the owner, and what is called

    def keep(self, owner: int, run: bytes, told: Callable[[], None]) -> None:
        """Take a place for a run whose task will come for it; `told` is called when it is there, now or in its turn."""

        def call() -> None:
            self._named.pop(run, None)
            self._kept[run] = owner
            told()

        if self._is_free(owner):
            self._take(owner)
            call()
        else:
            self._named[run] = owner, call
            self._lines.setdefault(owner, deque()).append(call)

    def forget(self, run: bytes) -> None:
        """Nobody comes for what was kept for a run, if something was; it is in no line any more."""
        if (named := self._named.pop(run, None)) is not None:
            self._leave(*named)
        if (owner := self._kept.pop(run, None)) is not None:
            self.give_back(owner)

    def place(self, owner: int, run: bytes = b"") -> Place:
        """For `async with`: hold a place, or that which was kept for this run."""
        return Place(self, owner, run)

    async def take(self, owner: int, run: bytes) -> None:
        """Have a place, once there is one; `give_back` it."""
        if self._kept.pop(run, None) is None:
            if self._is_free(owner):
                self._take(owner)
            else:
                await self._wait(owner)

    def give_back(self, owner: int) -> None:
        """It goes to who is next in line."""
        self._free += 1
        self._held[owner] -= 1
        if not self._held[owner]:
            del self._held[owner]
        self._hand_out()

    def _is_free(self, owner: int) -> bool:
        return self._may(owner) and owner not in self._lines

    def _may(self, owner: int) -> bool:
        """Whether the owner may have one more: no more than `each`, and never more than twice what is left."""
        mine = self._held.get(owner, 0)
        return mine < self._each and mine < 2 * self._free

    def _take(self, owner: int) -> None:
        self._free -= 1
        self._held[owner] = self._held.get(owner, 0) + 1

    async def _wait(self, owner: int) -> None:
        go_on = partial(trio.lowlevel.reschedule, trio.lowlevel.current_task())
        self._lines.setdefault(owner, deque()).append(go_on)

        def leave(_: object) -> trio.lowlevel.Abort:
            self._leave(owner, go_on)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(leave)

    def _leave(self, owner: int, told: Callable[[], None]) -> None:
        line = self._lines[owner]
        line.remove(told)
        if not line:
            del self._lines[owner]

    def _hand_out(self) -> None:
        """Give what is free to those in line: to who has fewest first, and among these in turn."""
        found = True
        while found and self._free:
            found = False
            for owner in sorted(self._lines, key=lambda owner: self._held.get(owner, 0)):
                if owner not in self._lines or not self._may(owner):
                    continue  # what was told may have changed the lines
                found = True
                line = self._lines.pop(owner)
                self._take(owner)
                told = line.popleft()
                if line:
                    self._lines[owner] = line  # last, now
                told()


class Place:
    """A place while it is held. Not a generator: trio keeps a list of those, and each run would be in it."""

    __slots__ = ("_owner", "_places", "_run")

    def __init__(self, places: Places, owner: int, run: bytes) -> None:
        self._places, self._owner, self._run = places, owner, run

    async def __aenter__(self) -> None:
        await self._places.take(self._owner, self._run)

    async def __aexit__(self, *_: object) -> None:
        self._places.give_back(self._owner)
