"""What the trio client does about what waits: queues, holds, timers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from jobd._client import scheduling_requests as requests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobd._client.exchanges import Exchange
    from jobd.wire import messages as m

T = TypeVar("T")


class Scheduling:
    """A part of Jobs.

    A queue is named as in a job file: a bare name is one's own queue, or else the shared one; "alice/build" and
    "shared/batch" are exactly those.
    """

    async def _one(self, exchange: Exchange[T]) -> T:
        raise NotImplementedError

    # --- queues ---
    async def queues(self, *patterns: str, all: bool = False) -> Sequence[m.QueueView]:  # noqa: A002
        """One's own queues and the shared ones, by name; with `all` those of everybody whose jobs one sees."""
        return (await self._one(requests.queues(patterns, all_queues=all))).queues

    async def queue(self, name: str) -> m.QueueDetail:
        """A queue and its runs in order: those that run, then those that wait. Raises NotFound.

        Of runs that one may not see, `others` says only how many there are.
        """
        return await self._one(requests.queue(name))

    async def queue_add(self, name: str, slots: int | None = 1, *, shared: bool = False) -> None:
        """Make a queue of one's own; one that is there like that is left as it is.

        Args:
            name: of the queue.
            slots: the weights of its runs that run at once add up to no more; None is no limit.
            shared: one for everybody; for administrators.

        Raises:
            Conflict: it is there, with other slots.
        """
        await self._one(requests.queue_add(name, slots, shared=shared))

    async def queue_slots(self, name: str, slots: int | None) -> None:
        """Give a queue other slots. What runs in it goes on, also when there are fewer now."""
        await self._one(requests.queue_slots(name, slots))

    async def queue_pause(self, name: str) -> None:
        """Have a queue start nothing more. What runs in it goes on, and it still takes runs."""
        await self._one(requests.queue_state(name, "paused"))

    async def queue_drain(self, name: str) -> None:
        """Have a queue take nothing more, and run what is in it."""
        await self._one(requests.queue_state(name, "draining"))

    async def queue_resume(self, name: str) -> None:
        """Have a queue take and start runs again."""
        await self._one(requests.queue_state(name, "open"))

    async def queue_remove(self, name: str) -> None:
        """Take a queue away. Raises Conflict while runs are in it."""
        await self._one(requests.QueueRemoval(name))

    async def queue_switch(self, first: str, second: str) -> None:
        """Let the waiting runs of two jobs in one queue change places."""
        await self._one(requests.queue_switch(first, second))

    # --- runs that wait ---
    async def cancel(self, *names: str) -> Sequence[m.Done]:
        """End runs that wait, before they begin; their result is "canceled". Raises Conflict for one that runs."""
        return await self._one(requests.cancel(names))

    async def hold(self, *names: str) -> Sequence[m.Done]:
        """Have waiting runs wait until they are released. Raises Conflict for one that runs."""
        return await self._one(requests.hold(names))

    async def release(self, *names: str) -> Sequence[m.Done]:
        """Let held runs begin in their turn."""
        return await self._one(requests.release(names))

    # --- time, and the past ---
    async def timers(self, *patterns: str, all: bool = False) -> Sequence[m.TimerView]:  # noqa: A002
        """What starts by the clock, the next first: jobs with a schedule, runs that wait for their time.

        With `all` also jobs whose schedule is not armed, as they are not enabled.
        """
        return await self._one(requests.timers(patterns, all_timers=all))

    async def stats(
        self, *jobs: str, queue: str = "", since: int | None = None, until: int | None = None
    ) -> Sequence[m.StatsView]:
        """Figures of the finished runs of each job: how many succeeded, and how long and large they were.

        Jobs that differ in the number at their end are one ("make-*", "train-1@*"), unless they are named here.

        Args:
            jobs: names or globs; by default all.
            queue: only runs that were in it.
            since, until: wall-clock nanoseconds, of the time when a run was submitted.
        """
        return await self._one(requests.stats(jobs, queue=queue, since=since, until=until))
