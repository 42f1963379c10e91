"""How many runs an owner may have, and which of them begin: limits, and turns between owners.

A run takes a slot of its owner's when it begins and gives it back at its end. Who has none left has his next runs wait,
in the order in which they came; who has too many waiting is refused. Root is not limited.

Between fork and exec there is room for a few runs of all owners together (`Places`). These are given to the owners in
turn, and nobody has all of them: a user whose programs do not come to exec holds up his own.
"""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from jobd.core import records

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from jobd.core.policy import UserLimits
    from jobd.runtime.run import Run

ROOT: Final = 0

# Runs between fork and exec at once, of one owner and of all. Each is a copy of the keeper that waits for `go`; a burst
# of a thousand of them starts jobs at a third of the rate (measured), and on more processors than four times this the
# keeper is the limit.
MAX_LAUNCHING: Final = 16
MAX_OF_ALL: Final = 24


class LimitReached(Exception):  # noqa: N818  # an answer, not an error of ours
    """A limit of the caller's forbids it; the text says which, and what to do."""


class _Owner:
    __slots__ = ("begun", "held", "waiting")

    def __init__(self) -> None:
        self.begun = 0
        self.waiting: dict[Run, None] = {}
        self.held: set[Run] = set()  # in no line yet: they wait for other jobs

    @property
    def queued(self) -> int:
        return len(self.waiting) + len(self.held)


class Slots:
    """The runs of all owners that have begun or wait for a slot."""

    def __init__(self, limits: Callable[[], UserLimits]) -> None:
        self._limits = limits
        self._of: dict[int, _Owner] = {}

    def may_begin(self, owner: int) -> bool:
        """Whether a new run of this owner begins at once, or has to wait.

        Raises:
            LimitReached: too many wait already.
        """
        if owner == ROOT or owner not in self._of:
            return owner == ROOT or self._limits().running != 0
        his, limits = self._of[owner], self._limits()
        if not his.waiting and (limits.running is None or his.begun < limits.running):
            return True
        if limits.queued is not None and his.queued >= limits.queued:
            raise LimitReached(
                f"cannot queue another run: {his.queued} of uid {owner} wait, of the {limits.queued} that a user"
                " may have; wait until some have run, or cancel some"
            )
        return False

    def enter(self, run: Run, begins: bool, held: bool = False) -> None:
        """Take a run on, which has a slot from now on or waits for one; one that is `held` waits for other jobs first.

        Such a one is in no line: what it waits for could be behind it.
        """
        his = self._of.setdefault(run.row.owner, _Owner())
        run.slot = begins and not held
        if held:
            his.held.add(run)
        elif begins:
            his.begun += 1
        else:
            his.waiting[run] = None

    def take_up(self, run: Run, held: bool = False) -> None:
        """As `enter`, for a run that an earlier daemon accepted: it keeps what it has."""
        queued = run.row.state == records.QUEUED
        self.enter(run, not queued, held and queued)

    def join(self, run: Run) -> None:
        """It waits for no other job any more: it may have a slot. Saying it again changes nothing."""
        his = self._of.get(run.row.owner)
        if his is not None and run in his.held:
            his.held.discard(run)
            his.waiting[run] = None
            self._give(run.row.owner, his)

    def leave(self, run: Run) -> None:
        """The run is over, or was never accepted. Saying it again changes nothing."""
        his = self._of.get(run.row.owner)
        if his is None:
            return
        if run.slot:
            run.slot = False
            his.begun -= 1
        else:
            his.waiting.pop(run, None)
            his.held.discard(run)
        self._give(run.row.owner, his)

    def give(self) -> None:
        """Let all begin who may: after a start, and when limits have changed."""
        for owner, his in list(self._of.items()):
            self._give(owner, his)

    def _give(self, owner: int, his: _Owner) -> None:
        limit = None if owner == ROOT else self._limits().running
        while his.waiting and (limit is None or his.begun < limit):
            run = next(iter(his.waiting))
            del his.waiting[run]
            his.begun += 1
            run.slot = True
            run.wake.set()
        if not his.begun and not his.queued:
            self._of.pop(owner, None)


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
