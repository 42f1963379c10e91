"""Two small ways to wait: one task for its own facts, and any number of tasks for a change of something.

`trio.Event` cannot be set again, and a Condition wants a lock; a run's task is woken half a dozen times in a
millisecond, so that what it waits on is as small as trio allows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from trio.lowlevel import Abort, Task, current_task, reschedule, wait_task_rescheduled

if TYPE_CHECKING:
    from collections.abc import Callable


class Wake:
    """Wakes the one task that owns it. A wake that comes while nobody waits is kept, so none is lost."""

    __slots__ = ("_first", "_pending", "_task")

    def __init__(self) -> None:
        self._first: Callable[[], None] | None = None
        self._task: Task | None = None
        self._pending = False

    def set(self) -> None:
        """Wake the owner, now or at its next `wait`."""
        if self._first is not None:
            first, self._first = self._first, None
            self._pending = True
            first()
        elif self._task is None:
            self._pending = True
        else:
            task, self._task = self._task, None
            reschedule(task)

    def park(self, first: Callable[[], None]) -> None:
        """The owner has no task yet: the first `set` calls this, which begins it."""
        self._first = first

    def unpark(self) -> None:
        """The owner's task is begun by somebody else."""
        self._first = None

    @property
    def parked(self) -> bool:
        """Whether that is still to come."""
        return self._first is not None

    async def wait(self) -> None:
        """Return at the next `set`, or at once if one came since the last return.

        Cancelling leaves nothing behind: a wake that was not delivered stays pending.
        """
        if self._pending:
            self._pending = False
            return
        assert self._task is None, "a Wake has one owner"
        self._task = current_task()

        def abort(_: object) -> Abort:
            self._task = None
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)


class Changed:
    """Tells any number of tasks that something has changed since they looked. Costs nothing while nobody waits."""

    __slots__ = ("_event", "count")

    def __init__(self) -> None:
        self._event: trio.Event | None = None
        self.count = 0  # of changes so far

    def set(self) -> None:
        """Wake all that wait now."""
        self.count += 1
        if self._event is not None:
            event, self._event = self._event, None
            event.set()

    async def wait(self) -> None:
        """Return at the next `set`. Look at the state before you call, without an await in between."""
        if self._event is None:
            self._event = trio.Event()
        await self._event.wait()
