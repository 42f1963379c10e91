"""What the blocking client does about what waits; see Scheduling."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from jobd._client import scheduling_requests as requests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobd._client.exchanges import Exchange
    from jobd.wire import messages as m

T = TypeVar("T")


class BlockingScheduling:
    """A part of BlockingJobs."""

    def _one(self, exchange: Exchange[T]) -> T:
        raise NotImplementedError

    def queues(self, *patterns: str, all: bool = False) -> Sequence[m.QueueView]:  # noqa: A002
        """One's own queues and the shared ones; see Jobs.queues."""
        return self._one(requests.queues(patterns, all_queues=all)).queues

    def queue(self, name: str) -> m.QueueDetail:
        """A queue and its runs in order; see Jobs.queue."""
        return self._one(requests.queue(name))

    def queue_add(self, name: str, slots: int | None = 1, *, shared: bool = False) -> None:
        """Make a queue of one's own; see Jobs.queue_add."""
        self._one(requests.queue_add(name, slots, shared=shared))

    def queue_slots(self, name: str, slots: int | None) -> None:
        """Give a queue other slots; see Jobs.queue_slots."""
        self._one(requests.queue_slots(name, slots))

    def queue_pause(self, name: str) -> None:
        """Have a queue start nothing more."""
        self._one(requests.queue_state(name, "paused"))

    def queue_drain(self, name: str) -> None:
        """Have a queue take nothing more, and run what is in it."""
        self._one(requests.queue_state(name, "draining"))

    def queue_resume(self, name: str) -> None:
        """Have a queue take and start runs again."""
        self._one(requests.queue_state(name, "open"))

    def queue_remove(self, name: str) -> None:
        """Take a queue away; see Jobs.queue_remove."""
        self._one(requests.QueueRemoval(name))

    def queue_switch(self, first: str, second: str) -> None:
        """Let the waiting runs of two jobs in one queue change places."""
        self._one(requests.queue_switch(first, second))

    def cancel(self, *names: str) -> Sequence[m.Done]:
        """End runs that wait, before they begin; see Jobs.cancel."""
        return self._one(requests.cancel(names))

    def hold(self, *names: str) -> Sequence[m.Done]:
        """Have waiting runs wait until they are released."""
        return self._one(requests.hold(names))

    def release(self, *names: str) -> Sequence[m.Done]:
        """Let held runs begin in their turn."""
        return self._one(requests.release(names))

    def timers(self, *patterns: str, all: bool = False) -> Sequence[m.TimerView]:  # noqa: A002
        """What starts by the clock; see Jobs.timers."""
        return self._one(requests.timers(patterns, all_timers=all))

    def stats(
        self, *jobs: str, queue: str = "", since: int | None = None, until: int | None = None
    ) -> Sequence[m.StatsView]:
        """Figures of the finished runs of each job; see Jobs.stats."""
        return self._one(requests.stats(jobs, queue=queue, since=since, until=until))
