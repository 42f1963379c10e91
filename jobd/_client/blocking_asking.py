"""What the blocking client asks besides the state of jobs; see Asking."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from jobd._client import requests
from jobd._client.watching import BlockingChanges

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobd._client.exchanges import Exchange
    from jobd.wire import messages as m

T = TypeVar("T")


class BlockingAsking:
    """A part of BlockingJobs."""

    def _one(self, exchange: Exchange[T]) -> T:
        raise NotImplementedError

    def _drive(self, exchange: Exchange[T], timeout: float | None = None) -> Iterator[T]:
        raise NotImplementedError

    def events(
        self,
        *jobs: str,
        after: int | None = None,
        lines: int | None = None,
        since: int | None = None,
        until: int | None = None,
        follow: bool = False,
        audit: bool = False,
    ) -> BlockingChanges:
        """What happened to jobs and runs, oldest first; see Jobs.events."""
        exchange = requests.events(jobs, after=after, lines=lines, since=since, until=until, follow=follow, audit=audit)
        return BlockingChanges(exchange, self._drive(exchange))

    def definition(self, job: str) -> m.Definition:
        """What is run as a job; see Jobs.definition."""
        return requests.defined(self._one(requests.cat(job)))

    def whoami(self, *pids: int) -> Sequence[m.Member]:
        """The jobs that processes belong to; see Jobs.whoami."""
        return self._one(requests.whoami(pids)).members

    def identity(self) -> m.Identity:
        """Whom the daemon takes us for; see Jobs.identity."""
        return self._one(requests.identity())

    def can_i(self, action: str, job: str = "", user: str = "") -> m.Decision:
        """Whether we may do what a verb does, and which rule says so; see Jobs.can_i."""
        return self._one(requests.can_i(action, job, user))

    def rules(self) -> m.Rules:
        """The rules that concern us."""
        return self._one(requests.rules())
