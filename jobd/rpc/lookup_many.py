"""Finding many jobs: by globs, by arrays, and page by page."""

from __future__ import annotations

import fnmatch
from collections import Counter
from typing import TYPE_CHECKING, Final

from jobd.core import globs, names
from jobd.core.records import QUEUED
from jobd.rpc.lookup import JobLookup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from jobd.core.queue import QueueKey
    from jobd.core.records import JobRow
    from jobd.rpc.lookup import Key

MAX_MATCHES: Final = 10_000  # jobs that one glob may mean; reading them takes 50 ms …
STEP: Final = 200  # … and so many one
FEW: Final = 32  # jobs of which it is looked up in one turn whether they are arrays


class ManyLookup(JobLookup):
    """Several jobs by words, or all that he sees."""

    __slots__ = ()

    async def expand(
        self, words: Sequence[str], action: str, *, at_rest: bool, everybody: bool = False, whole: bool = False,
        only: str = "",
    ) -> list[str]:  # fmt: skip
        """Names for words of which some are globs. In turns: each of thousands may mean thousands of jobs.

        Args:
            words: names, and globs of his own jobs or, with an owner (who may be a glob too), of that one's.
            action: of what a glob means, only jobs with which he may do this; if there are none, those that he sees.
            at_rest: globs match all jobs, not only live and listed ones; arrays mean elements at rest too.
            everybody: globs without an owner match jobs of everybody.
            whole: an array is a job like others. Else all of its elements are meant in its place.
            only: of an array, only elements that are there: arrays.QUEUED or RUNNING.
        """
        result: dict[str, None] = {}
        looked_at = 0
        for word in words:
            found = await self._matching(word, at_rest, everybody) if names.is_glob(word) else {word: None}
            allowed = [name for name, key in found.items() if key is None or self.may(action, *key)]
            for name in allowed or found:
                elements = None if whole else await self.elements(name, at_rest=at_rest, only=only)
                result.update(dict.fromkeys([name] if elements is None else elements))
                looked_at += 1
                if looked_at % FEW == 0 and not whole:
                    await self.turn()
        return list(result)

    async def elements(self, word: str, *, at_rest: bool, only: str = "") -> list[str] | None:
        """Words for the elements of an array, when all have been accepted; None: it is none that he sees.

        `at_rest`: not only those that are live; `only`: of these, those that are queued, or running.
        """
        key = self.key(word)
        if key is None or not self.sees(*key):
            return None
        registry = self.world.registry
        live = registry.jobs.get(key)
        row = registry.store.job(*key) if live is None else live.row
        if row is None or not row.array:
            return None
        await registry.arrays.filled(*key)
        live_ones = registry.arrays.live_elements(*key, only)
        found = registry.arrays.elements(row) if at_rest else live_ones
        begins = word.removesuffix(key[1])
        return [begins + name for name in found]

    async def _matching(self, word: str, at_rest: bool, everybody: bool) -> dict[str, Key | None]:
        asked, pattern = names.split_owner(word)
        stem = pattern.partition("@")[0]
        if "@" in pattern and not names.is_glob(stem):  # of an array, all are meant: also those still to come
            for owner in self._owners_meant(asked, everybody):
                await self.world.registry.arrays.filled(owner, stem)
        literal = pattern[: min((at for at in map(pattern.find, "*?[") if at >= 0), default=len(pattern))]
        plain = asked is not None and not names.is_glob(asked)
        live = self.world.registry.jobs
        found: dict[str, Key | None] = {}
        for owner in self._owners_meant(asked, everybody):
            fits = {name for uid, name in live if uid == owner and fnmatch.fnmatchcase(name, pattern)}
            async for name in self._names(owner, literal, at_rest):
                if fnmatch.fnmatchcase(name, pattern):
                    fits.add(name)
            for name in sorted(fits):
                if self.sees(owner, name) and len(found) < MAX_MATCHES:
                    found[f"{asked}/{name}" if plain else self.word(owner, name)] = owner, name
        return found

    async def _names(self, owner: int, prefix: str, at_rest: bool) -> AsyncIterator[str]:
        """Names of jobs of one owner that the store has and the caller sees, as far as a glob may reach."""
        after: Key | None = None
        for _ in range(0, MAX_MATCHES, STEP):
            page = self.world.registry.store.jobs_page(
                owner=owner, scope=self.scope(), every=at_rest, prefix=prefix, after=after, limit=STEP
            )
            for row in page:
                yield row.job
            await self.turn()
            if len(page) < STEP:
                break
            after = owner, page[-1].job

    def jobs_page(self, *, every: bool, after: Key | None, limit: int, at_rest: bool = False) -> list[JobRow]:
        """Jobs that he sees, as the store has them, sorted by (owner, name)."""
        store, scope = self.world.registry.store, self.scope()
        if scope == ((self.own, "*"),):
            return store.jobs_page(owner=self.own, every=every, after=after, limit=limit, at_rest=at_rest)
        return store.jobs_page(scope=scope, every=every, after=after, limit=limit, at_rest=at_rest)

    def filters(self) -> bool:
        """Whether what he sees of others' jobs has to be picked out from what he does not."""
        return self.sees_others() and not self.who.is_admin

    async def jobs_page_in_turns(
        self, *, every: bool, after: Key | None, limit: int, turn: Callable[[], Awaitable[None]]
    ) -> list[JobRow]:
        """As `jobs_page`, where what he sees may lie far apart: a little at a time, and then the others' turn."""
        store, scope = self.world.registry.store, self.scope()
        rows: list[JobRow] = []
        for owner in self.owners():
            if scope is None or (after is not None and owner < after[0]):
                continue
            seen = globs.of_owner(scope, owner)
            name: str | None = after[1] if after is not None and owner == after[0] else ""
            if seen is None:
                key = (owner, name) if name else None
                rows += store.jobs_page(owner=owner, every=every, after=key, limit=limit - len(rows))
            while seen and name is not None and len(rows) < limit:
                more = limit - len(rows)
                page, name = store.jobs_seen(owner=owner, every=every, scope=seen, after=name, limit=more)
                rows += page
                await turn()
            if len(rows) >= limit:
                break
        return rows

    def live_jobs(self, *, waiting: bool = True) -> Iterator[JobRow]:
        """Rows of the jobs that he sees and that have a live run, as they are now.

        Without those that are `waiting` for it to begin ten thousand of these cost half a millisecond.
        """
        every, jobs = self.who.is_admin, self.world.registry.jobs.values()
        rows = [job.row for job in jobs if waiting or job.row.sub != QUEUED or job.row.array]
        for row in rows:
            if every or row.owner == self.own or self.sees(row.owner, row.job):
                yield row

    def waiting_jobs(self) -> Counter[tuple[int, QueueKey | None]] | None:
        """How many jobs that he sees wait, by owner and queue, without elements of arrays.

        None: each has to be looked at, whether he sees it.
        """
        if self.filters():
            return None
        registry, every = self.world.registry, self.who.is_admin
        counts = registry.slots.waiting_alone()
        counts.subtract(registry.singletons.counts())  # their jobs do not wait
        return Counter({key: count for key, count in counts.items() if count > 0 and (every or key[0] == self.own)})

    def own_failed(self) -> list[str]:
        """Names of his own jobs that have failed."""
        rows = [row for row in self.live_jobs() if row.owner == self.own]
        after: Key | None = None
        while page := self.world.registry.store.jobs_page(owner=self.own, after=after):
            rows += page
            after = page[-1].owner, page[-1].job
        live = {row.job: row for row in reversed(rows)}  # what is live comes first, and so counts
        return sorted(name for name, row in live.items() if row.active == "failed")
