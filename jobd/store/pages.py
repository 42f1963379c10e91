"""Pages of runs, newest first, in bounded time whatever is asked.

One call examines at most SCAN_ROWS rows of each stream it reads. When a filter finds little, a page may therefore come
back short, or empty, with `more` set: the caller goes on from there (and may do something else in between).
The order is that of acceptance (`seq`): wall clocks step, and are only ever filtered by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from jobd.core import globs
from jobd.core.records import FINISHED, STATES

from .rows import RUN_COLUMNS, Value, Values, run_row
from .schema import LIVE, UNSUCCESSFUL

if TYPE_CHECKING:
    from jobd.core.records import RunRow

Fetch: TypeAlias = Callable[[str, Sequence[Value]], list[Values]]

SCAN_ROWS: Final = 1000  # measured among a million runs: 0.1 to 0.4 ms, so that the daemon's loop does not notice
MERGED_JOBS: Final = 16  # so many jobs are read side by side through their index; more are filtered out of one stream
LAST_SEQ: Final = 2**63 - 1  # SQLite's greatest rowid

FAILED: Final = "failed"  # DESIGN.md, section 9: all results but these
NOT_FAILED: Final = ("success", "stopped", "canceled")


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
class _Condition:
    """What else a row must be."""

    text: str = ""
    args: tuple[Value, ...] = ()

    def __and__(self, other: _Condition) -> _Condition:
        return _Condition(" AND ".join(filter(None, (self.text, other.text))), self.args + other.args)


def runs_page(
    fetch: Fetch,
    *,
    scope: globs.Globs | None,
    jobs: Sequence[tuple[int, str]],
    states: Sequence[str],
    since: int | None,
    until: int | None,
    before: int | None,
    limit: int,
    offset: int,
) -> RunPage:
    """See Reader.runs_page."""
    streams, condition = _streams(scope, jobs, states)
    condition &= _states(states) & _times(since, until)
    start = LAST_SEQ if before is None else before
    seqs: list[int] = []
    floor = 0
    for stream in streams:
        found, end = _scan(fetch, stream, condition, start, offset + limit + 1, SCAN_ROWS // len(streams))
        seqs += found
        floor = max(floor, end)
    seqs = sorted((s for s in seqs if s >= floor), reverse=True)  # below `floor` not every stream was read
    page = seqs[offset : offset + limit]
    if len(seqs) > offset + limit:
        return RunPage(_rows(fetch, page), page[-1])
    return RunPage(_rows(fetch, page), floor or None, max(0, offset - len(seqs)) if floor else 0)


def _streams(
    scope: globs.Globs | None, jobs: Sequence[tuple[int, str]], states: Sequence[str]
) -> tuple[list[_Stream], _Condition]:
    if 0 < len(jobs) <= MERGED_JOBS:
        where = "owner = ? AND job = ?"
        return [_Stream("runs INDEXED BY runs_by_job", where, key) for key in dict.fromkeys(jobs)], _Condition()
    rest = _Condition()
    owner = scope[0][0] if scope is not None and len(scope) == 1 and scope[0][1] == "*" else None
    if jobs:
        keys = tuple(value for key in jobs for value in key)
        rest = _Condition(f"(owner, job) IN (VALUES {', '.join(['(?, ?)'] * len(jobs))})", keys)
    elif scope is not None:
        rest = _Condition(*globs.condition(scope))
    if states and all(s in STATES and s != FINISHED for s in states):
        return [_Stream("runs INDEXED BY runs_live", LIVE)], rest
    if states and not {*STATES, "success"} & set(states):
        return [_Stream("runs INDEXED BY runs_unsuccessful", UNSUCCESSFUL)], rest
    if owner is not None and not jobs:
        return [_Stream("runs INDEXED BY runs_by_owner", "owner = ?", (owner,))], _Condition()
    return [_Stream("runs NOT INDEXED")], rest


def _states(states: Sequence[str]) -> _Condition:
    if not states:
        return _Condition()
    words = tuple(s for s in states if s != FAILED)
    marks = ", ".join("?" * len(words))
    either = [f"state IN ({marks})", f"result IN ({marks})"]
    failed: tuple[str, ...] = ()
    if FAILED in states:
        failed = NOT_FAILED
        either.append(f"result NOT IN ({', '.join('?' * len(failed))})")  # not true of NULL
    return _Condition(f"({' OR '.join(either)})", words + words + failed)


def _times(since: int | None, until: int | None) -> _Condition:
    low = _Condition() if since is None else _Condition("queued_at >= ?", (since,))
    return low & (_Condition() if until is None else _Condition("queued_at <= ?", (until,)))


def _scan(
    fetch: Fetch, stream: _Stream, condition: _Condition, before: int, wanted: int, most: int
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
