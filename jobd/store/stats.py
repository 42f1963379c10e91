"""Figures of what has run, job by job: how many runs, how many went well, how long they took, what memory they had.

Every run is looked at, so this is work for a thread: made in steps, with one question for each job. SQLite lets go of
the interpreter's lock meanwhile, so that the loop does not wait however many runs there are (measured: 5 s for a
million). No snapshot is held from one job to the next.

Jobs that were named by the daemon (`make-1`, `make-2` …) are one row, `make-*`, and so are the elements of an array,
`train-1@*`: of one run each there would be no figures. Who names one of them gets that one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from jobd.core import globs
from jobd.core.exits import GOOD_RESULTS

from .pages import Condition, in_queue, times
from .rows import Value, Values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobd.core.runfilter import RunFilter

Fetch: TypeAlias = Callable[[str, Sequence[Value]], list[Values]]

NAMES_STEP: Final = 5000  # names of jobs at a time: 15 ms, measured among half a million
_NUMBERED: Final = re.compile(r"(.+[-@])[0-9]+")
WALK: Final = 10  # rows of the table are passed in the time that one takes which an index leads to; measured: 15
_ALL: Final = "runs NOT INDEXED WHERE owner = ?"
_NAMES: Final = "runs INDEXED BY runs_by_job WHERE owner = ?"


class Figures(NamedTuple):
    """Of one job, or of all that a pattern means. None: no run has any. Durations in ns, from start to exit."""

    owner: int
    job: str
    runs: int  # that are finished
    success: int
    failed: int
    cpu_usec: int | None
    last_at: int | None
    p50_ns: int | None
    p95_ns: int | None
    p50_bytes: int | None
    p95_bytes: int | None


def _nearest(value: str, count: str, percent: int) -> str:
    """The nearest rank: the least value that so many percent are not above."""
    place = f"SELECT ({count} * {percent} + 99) / 100 - 1 FROM sums"
    return f"(SELECT {value} FROM found WHERE {value} IS NOT NULL ORDER BY {value} LIMIT 1 OFFSET ({place}))"


# `found` is made once and read several times.
_FIGURES: Final = f"""
WITH found AS (
    SELECT result, exited_at - started_at AS took, max_rss_bytes AS most,
        coalesce(finished_at, exited_at) AS ended,
        cpu_user_usec + cpu_system_usec AS cpu
    FROM {{source}} AND state = 'finished'),
sums AS (
    SELECT count(*) AS runs, total(result = 'success') AS success,
        total(result NOT IN {tuple(sorted(GOOD_RESULTS))}) AS failed, sum(cpu) AS cpu, max(ended) AS last,
        count(took) AS tooks, count(most) AS mosts
    FROM found)
SELECT runs, CAST(success AS INTEGER), CAST(failed AS INTEGER), cpu, last, {_nearest("took", "tooks", 50)},
    {_nearest("took", "tooks", 95)}, {_nearest("most", "mosts", 50)}, {_nearest("most", "mosts", 95)}
FROM sums WHERE runs > 0"""


class Stats:
    """One look at what `wanted` means (its states do not count), behind the key `after`, for at most `limit` jobs.

    `found`: what there is so far; `more`: the key behind which there may be more, once `step` has said that it is done.
    """

    def __init__(self, fetch: Fetch, wanted: RunFilter, after: tuple[int, str], limit: int) -> None:
        self.found: list[Figures] = []
        self.more: tuple[int, str] | None = None
        self._fetch = fetch
        self._wanted = wanted
        self._after = after
        self._limit = limit
        self._steps = self._walk()

    def step(self) -> bool:
        """Do a little. Returns whether there is more to do."""
        return next(self._steps, False)

    def _walk(self) -> Iterator[bool]:
        for owner in self._owners():
            if owner < self._after[0]:
                continue
            named = {job for uid, job in self._wanted.jobs if uid == owner}
            defined = self._defined(owner) | named
            groups: set[str] = set()
            for names in self._names(owner):
                groups.update(group_of(name, defined) for name in names)
                yield True
            rows = {job: _meant(job, defined) for job in named}
            rows |= {name: _meant(name, defined) & self._fits(owner) for name in groups - named}
            for name, rule in sorted(rows.items()):
                if (owner, name) <= self._after:
                    continue
                self._add(owner, name, rule)
                if len(self.found) >= self._limit:
                    self.more = owner, name
                    return
                yield True

    def _owners(self) -> list[int]:
        """Whose runs may be meant, in order."""
        named = {owner for owner, _ in (*self._wanted.jobs, *self._wanted.globs)}
        if named and None not in named:
            return sorted(owner for owner in named if owner is not None)
        found: list[int] = []
        while True:
            least = self._fetch("SELECT min(owner) FROM runs WHERE owner > ?", (found[-1] if found else -1,))[0][0]
            if least is None:
                return found
            found.append(int(least))

    def _defined(self, owner: int) -> frozenset[str]:
        """Jobs that somebody has named: those with a definition."""
        sql = "SELECT job FROM jobs INDEXED BY jobs_defined WHERE transient = 0 AND owner = ?"
        return frozenset(str(job) for (job,) in self._fetch(sql, (owner,)))

    def _fits(self, owner: int) -> Condition:
        """What the name of a job of this owner must be, besides."""
        rule = Condition("1")
        for pairs in (self._wanted.globs or ((None, "*"),), self._wanted.scope):
            seen = None if pairs is None else globs.of_owner(pairs, owner)
            if seen is not None:
                rule &= Condition(*globs.condition(seen))
        return rule

    def _names(self, owner: int) -> Iterator[list[str]]:
        """Names of jobs that patterns mean, or of all, a few thousand at a time."""
        if self._wanted.jobs and not self._wanted.globs:
            return
        rule = self._fits(owner)
        sql = f"SELECT DISTINCT job FROM {_NAMES} AND job > ? AND {rule.text} ORDER BY job LIMIT ?"
        last = ""
        while names := [str(job) for (job,) in self._fetch(sql, (owner, last, *rule.args, NAMES_STEP))]:
            yield names
            last = names[-1]

    def _add(self, owner: int, name: str, rule: Condition) -> None:
        source = _NAMES if name[-1:] != "*" or self._is_seldom(owner, rule) else _ALL
        rule &= times(self._wanted.since, self._wanted.until) & in_queue(self._wanted.queue)
        sql = _FIGURES.format(source=f"{source} AND {rule.text}")
        for row in self._fetch(sql, (owner, *rule.args)):
            self.found.append(Figures(owner, name, *row))  # type: ignore[arg-type]  # the columns are the fields

    def _is_seldom(self, owner: int, rule: Condition) -> bool:
        """Whether so few of all runs are meant that the index leads to them sooner than a walk along the table."""
        last = int(self._fetch("SELECT max(seq) FROM runs", ())[0][0] or 0)
        found = self._fetch(f"SELECT count(*) FROM {_NAMES} AND {rule.text}", (owner, *rule.args))
        return int(found[0][0] or 0) * WALK < last


def group_of(name: str, defined: frozenset[str]) -> str:
    """In which row a job is: its own, or that of all whose name differs in the number at its end."""
    numbered = None if name in defined else _NUMBERED.fullmatch(name)
    return name if numbered is None else f"{numbered[1]}*"


def _meant(group: str, defined: frozenset[str]) -> Condition:
    """The names of a group, as SQL: a range of the index, and of that those with digits alone at their end."""
    if not group.endswith("*"):
        return Condition("job = ?", (group,))
    base = group[:-1]
    others = [name for name in defined if group_of(name, frozenset()) == group]
    text = "job >= ? AND job < ? AND job GLOB ? AND job NOT GLOB ?"
    args: tuple[Value, ...] = (f"{base}0", f"{base}:", f"{base}[0-9]*", f"{base}*[^0-9]*")  # ":" follows the digits
    if others:
        text += f" AND job NOT IN ({', '.join('?' * len(others))})"
    return Condition(text, (*args, *others))
