"""What the trio client asks besides the state of jobs: what happened, what is defined, who is who."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from jobd._client import requests
from jobd._client.call import Changes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobd._client.call import Connector
    from jobd._client.exchanges import Exchange
    from jobd.wire import messages as m

T = TypeVar("T")


class Asking:
    """A part of Jobs."""

    _connector: Connector

    async def _one(self, exchange: Exchange[T]) -> T:
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
    ) -> Changes:
        """What happened to jobs and runs, oldest first, as an async iterator of Change; Missed where some are gone.

        Args:
            jobs: names or globs; by default all.
            after: begin behind the change with this `seq`, told by any daemon.
            lines: begin with the last so many.
            since, until: wall-clock nanoseconds.
            follow: go on with what comes.
            audit: only what somebody asked for, by whom; acts on jobd itself too.
        """
        exchange = requests.events(jobs, after=after, lines=lines, since=since, until=until, follow=follow, audit=audit)
        return Changes(self._connector, exchange)

    async def definition(self, job: str) -> m.Definition:
        """What a job is: its `files`, or of a transient one the `text` of a job file (TOML). Raises NotFound."""
        return requests.defined(await self._one(requests.cat(job)))

    async def whoami(self, *pids: int) -> Sequence[m.Member]:
        """The jobs that processes belong to, without any the one that we are in; `job` is "" for one in none."""
        return (await self._one(requests.whoami(pids))).members

    async def identity(self) -> m.Identity:
        """Whom the daemon takes us for, as the kernel says, and what we may do."""
        return await self._one(requests.identity())

    async def can_i(self, action: str, job: str = "", user: str = "") -> m.Decision:
        """Whether we may do what a verb does, with a job or with jobd itself, and which rule says so.

        Args:
            action: the verb's name.
            job: need not exist.
            user: somebody else; for administrators.
        """
        return await self._one(requests.can_i(action, job, user))

    async def rules(self) -> m.Rules:
        """The rules that concern us."""
        return await self._one(requests.rules())
