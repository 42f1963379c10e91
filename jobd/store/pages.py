"""Pages of runs, newest first, in bounded time whatever is asked.

One call examines at most SCAN_ROWS rows of all streams that it reads. When a filter finds little, a page may therefore
come back short, or empty, with `more` set: the caller goes on from there (and may do something else in between).
The order is that of acceptance (`seq`): wall clocks step, and are only ever filtered by.

A page is read along the index that says most of what is asked: of a few jobs, of a result, of a queue, of an owner. The
streams of several such keys are merged; what no index says is a condition on their rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from jobd.core import globs
from jobd.core.exits import GOOD_RESULTS
from jobd.core.records import FINISHED, STATES
from jobd.core.runfilter import FAILED

from .rows import RUN_COLUMNS, Value, Values, run_row
from .schema import LIVE, UNSUCCESSFUL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jobd.core.records import RunRow
    from jobd.core.runfilter import RunFilter

Fetch: TypeAlias = Callable[[str, Sequence[Value]], list[Values]]
Key: TypeAlias = tuple[int, str]

SCAN_ROWS: Final = 1000  # measured among a million runs: 0.1 to 0.4 ms, so that the daemon's loop does not notice
MERGED: Final = 16  # so many streams are read side by side through their index; more are filtered out of one
GLOB_STEPS: Final = 64  # names looked at to find the few that a glob means: 10 µs each
LAST_SEQ: Final = 2**63 - 1  # SQLite's greatest rowid


@dataclass(frozen=True, slots=True)
class RunPage:
    """`more`: give it as `before` for the next page, and `skip` as its `offset`. None: this was the end."""

    rows: list[RunRow]
    more: int | None
    skip: int = 0


@dataclass(frozen=True, slots=True)
class _Stream:
    """Runs in the order of an index; `where` says no more than the index does."""

    source: str
    where: str = "1"
    args: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Condition:
    """What else a row must be."""

    text: str = ""
    args: tuple[Value, ...] = ()

    def __and__(self, other: Condition) -> Condition:
        """Both."""
        return Condition(" AND ".join(filter(None, (self.text, other.text))), self.args + other.args)

    def __or__(self, other: Condition) -> Condition:
        """One of two that both ask for something."""
        return Condition(f"({self.text} OR {other.text})", self.args + other.args)


def runs_page(fetch: Fetch, wanted: RunFilter, before: int | None, limit: int, offset: int) -> RunPage:
    """See Reader.runs_page."""
    streams, condition = _plan(fetch, wanted)
    start = LAST_SEQ if before is None else before
    seqs: set[int] = set()
    floor = 0
    most = max(1, SCAN_ROWS // max(1, len(streams)))
    for stream in streams:
        found, end = _scan(fetch, stream, condition, start, offset + limit + 1, most)
        seqs.update(found)
        floor = max(floor, end)
    known = sorted((s for s in seqs if s >= floor), reverse=True)  # below `floor` not every stream was read
    page = known[offset : offset + limit]
    if len(known) > offset + limit:
        return RunPage(_rows(fetch, page), page[-1])
    return RunPage(_rows(fetch, page), floor or None, max(0, offset - len(known)) if floor else 0)


# --- which index --------------------------------------------------------------------------------------------------
def _plan(fetch: Fetch, wanted: RunFilter) -> tuple[list[_Stream], Condition]:
    """Along what to read, and what else a row must be."""
    rest = times(wanted.since, wanted.until)
    state, queue = _states(wanted.states), in_queue(wanted.queue)
    keys = _few_jobs(fetch, wanted)
    if keys is not None:
        where = "owner = ? AND job = ?"
        return [_Stream("runs INDEXED BY runs_by_job", where, key) for key in keys], rest & state & queue
    anybodys = rest & _fits(wanted)
    if wanted.states and all(s in STATES and s != FINISHED for s in wanted.states):
        return [_Stream("runs INDEXED BY runs_live", LIVE)], anybodys & state & queue
    owner = _only_owner(wanted)
    # Of a stream of one owner's runs it need not be asked whose they are.
    owned = rest & _fits(replace(wanted, scope=None)) if wanted.scope == ((owner, "*"),) else anybodys
    by_queue = _queue_streams(fetch, wanted)
    rare = wanted.states and not {*STATES, "success"} & set(wanted.states)
    if rare and (by_queue is None or not _is_small(fetch, by_queue)):
        by_result = _result_streams(fetch, wanted)
        if by_result is not None:
            return by_result, owned & queue
        return [_Stream("runs INDEXED BY runs_unsuccessful", UNSUCCESSFUL)], anybodys & state & queue
    if by_queue is not None:
        return by_queue, owned & state
    if owner is not None:
        return [_Stream("runs INDEXED BY runs_by_owner", "owner = ?", (owner,))], owned & state & queue
    return [_Stream("runs NOT INDEXED")], anybodys & state & queue


def _only_owner(wanted: RunFilter) -> int | None:
    """The one whose runs alone can be meant, if there is one."""
    if wanted.scope is not None and len(wanted.scope) == 1:
        return wanted.scope[0][0]
    return None


def _owners(fetch: Fetch, wanted: RunFilter, source: str, args: Sequence[Value]) -> list[int]:
    """Whose runs there are among those of an index; MERGED + 1 stand for any number of them."""
    owner = _only_owner(wanted)
    if owner is not None:
        return [owner]
    found: list[int] = []
    while len(found) <= MERGED:
        least = fetch(f"SELECT min(owner) FROM {source} AND owner > ?", (*args, found[-1] if found else -1))[0][0]
        if least is None:
            break
        found.append(int(least))
    return found


def _queue_streams(fetch: Fetch, wanted: RunFilter) -> list[_Stream] | None:
    """Of a queue's runs, one for each owner; None: no queue is asked for, or there are too many."""
    if wanted.queue is None:
        return None
    owner, queue = wanted.queue
    source = "runs INDEXED BY runs_by_queue"
    owners = _owners(fetch, wanted, f"{source} WHERE queue <> '' AND queue = ?", (queue,)) if owner is None else [owner]
    if owner is not None and _only_owner(wanted) not in (None, owner):
        owners = []
    where = "queue <> '' AND queue = ? AND owner = ?"
    return [_Stream(source, where, (queue, uid)) for uid in owners] if len(owners) <= MERGED else None


def _is_small(fetch: Fetch, streams: Sequence[_Stream]) -> bool:
    """Whether all of these streams are examined within one page."""
    return not any(
        fetch(f"SELECT 1 FROM {s.source} WHERE {s.where} LIMIT 1 OFFSET ?", (*s.args, SCAN_ROWS // len(streams)))
        for s in streams
    )


def _result_streams(fetch: Fetch, wanted: RunFilter) -> list[_Stream] | None:
    """Of runs that did not succeed, one for each owner and result; None: there are too many."""
    source = f"runs INDEXED BY runs_by_result WHERE {UNSUCCESSFUL}"
    keys: list[tuple[int, str]] = []
    for owner in _owners(fetch, wanted, source, ()):
        results: list[str] = [s for s in wanted.states if s != FAILED]
        if FAILED in wanted.states:
            results += [r for r in _results(fetch, source, owner) if r not in (*GOOD_RESULTS, *results)]
        keys += [(owner, result) for result in results]
        if len(keys) > MERGED:
            return None
    return [_Stream(source.partition(" WHERE ")[0], f"{UNSUCCESSFUL} AND owner = ? AND result = ?", k) for k in keys]


def _results(fetch: Fetch, source: str, owner: int) -> Iterator[str]:
    """The results that an owner's runs have had, but for success."""
    last = ""
    while True:
        least = fetch(f"SELECT min(result) FROM {source} AND owner = ? AND result > ?", (owner, last))[0][0]
        if least is None:
            return
        last = str(least)
        yield last


# --- which jobs ---------------------------------------------------------------------------------------------------
def _few_jobs(fetch: Fetch, wanted: RunFilter) -> list[Key] | None:
    """The jobs that are meant, if some are named and they are few."""
    keys = dict.fromkeys(wanted.jobs)
    if not (wanted.jobs or wanted.globs) or len(keys) > MERGED:
        return None
    steps = GLOB_STEPS
    seen = Condition() if wanted.scope is None else Condition(*globs.condition(wanted.scope))
    source = "runs INDEXED BY runs_by_job WHERE"
    for owner, pattern in wanted.globs:
        literal = pattern[: min((at for at in map(pattern.find, "*?[") if at >= 0), default=len(pattern))]
        rule = Condition(*globs.condition(((None, pattern),))) & seen
        for uid in [owner] if owner is not None else _owners(fetch, wanted, f"{source} 1", ()):
            after, sign = literal, ">="
            while True:
                sql = f"SELECT job, {rule.text} FROM {source} owner = ? AND job {sign} ? ORDER BY job LIMIT 1"
                found = fetch(sql, (*rule.args, uid, after))
                steps -= 1
                if not found or not str(found[0][0]).startswith(literal):
                    break
                after, sign = str(found[0][0]), ">"
                if found[0][1]:
                    keys[uid, after] = None
                if len(keys) > MERGED or steps <= 0:
                    return None
    return list(keys)


def _fits(wanted: RunFilter) -> Condition:
    """What owner and name must be."""
    seen = Condition() if wanted.scope is None else Condition(*globs.condition(wanted.scope))
    if not (wanted.jobs or wanted.globs):
        return seen
    named = Condition(f"(owner, job) IN (VALUES {', '.join(['(?, ?)'] * len(wanted.jobs))})", _flat(wanted.jobs))
    if not wanted.globs:
        return named
    meant = Condition(*globs.condition(wanted.globs)) & seen
    meant = Condition(f"({meant.text})", meant.args)
    return (named | meant) if wanted.jobs else meant


def _flat(keys: Iterable[Key]) -> tuple[Value, ...]:
    return tuple(value for key in keys for value in key)


# --- what else ----------------------------------------------------------------------------------------------------
def in_queue(queue: tuple[int | None, str] | None) -> Condition:
    """Runs of that queue; None: of any, and of none."""
    if queue is None:
        return Condition()
    owner, name = queue
    mine = Condition() if owner is None else Condition("owner = ?", (owner,))
    return mine & Condition("queue = ?", (name,))


def _states(states: Sequence[str]) -> Condition:
    if not states:
        return Condition()
    words = tuple(s for s in states if s != FAILED)
    marks = ", ".join("?" * len(words))
    either = [f"state IN ({marks})", f"result IN ({marks})"]
    failed: tuple[str, ...] = ()
    if FAILED in states:
        failed = tuple(GOOD_RESULTS)
        either.append(f"result NOT IN ({', '.join('?' * len(failed))})")  # not true of NULL
    return Condition(f"({' OR '.join(either)})", words + words + failed)


def times(since: int | None, until: int | None) -> Condition:
    """Runs queued within."""
    low = Condition() if since is None else Condition("queued_at >= ?", (since,))
    return low & (Condition() if until is None else Condition("queued_at <= ?", (until,)))


# --- reading ------------------------------------------------------------------------------------------------------
def _scan(
    fetch: Fetch, stream: _Stream, condition: Condition, before: int, wanted: int, most: int
) -> tuple[list[int], int]:
    """Newest first, at most `most` rows examined: what fits, and the seq down to which all was seen (0: to the end)."""
    base = f"SELECT seq FROM {stream.source} WHERE {stream.where} AND seq < ?"
    order = "ORDER BY seq DESC LIMIT ?"
    if not condition.text:
        take = min(wanted, most)
        found = _seqs(fetch(f"{base} {order}", (*stream.args, before, take)))
        return found, found[-1] if len(found) == take else 0
    edge = _seqs(fetch(f"{base} {order} OFFSET ?", (*stream.args, before, 1, most - 1)))
    floor = edge[0] if edge else 0
    base += f" AND seq >= ? AND {condition.text}"
    found = _seqs(fetch(f"{base} {order}", (*stream.args, before, floor, *condition.args, wanted)))
    return found, found[-1] if len(found) == wanted else floor


def _seqs(values: list[Values]) -> list[int]:
    return [v[0] for v in values]  # type: ignore[misc]  # seq is an integer column


def _rows(fetch: Fetch, seqs: Sequence[int]) -> list[RunRow]:
    if not seqs:
        return []
    marks = ", ".join("?" * len(seqs))
    return [run_row(v) for v in fetch(f"SELECT {RUN_COLUMNS} FROM runs WHERE seq IN ({marks}) ORDER BY seq DESC", seqs)]
