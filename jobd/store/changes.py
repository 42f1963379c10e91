"""Pages of events as people are shown them, in the order of their numbers, in bounded time whatever is asked.

One call examines at most SCAN_NUMBERS numbers, from the first that there is. A page may therefore come back short, or
empty, with `more` set: the caller goes on behind `end`, and does something else in between. Events of a few jobs with
few events are found through their index instead; everything else is a walk along the table, in which a filter only
leaves rows out. Times are filtered by too, never sought: wall clocks step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from jobd.core.globs import condition
from jobd.core.records import FILLED, QUEUE_ADDED, QUEUE_REMOVED, QUEUE_SET, SHARED

from .rows import EVENT_COLUMNS, Value, Values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobd.core.globs import Globs

Fetch: TypeAlias = Callable[[str, Sequence[Value]], list[Values]]

# Numbers of events are even, but for few: a thousand rows, measured among a million at 0.3 to 0.5 ms, so that the
# daemon's loop does not notice. A range of numbers is the same range for the next question, whatever retention does.
SCAN_NUMBERS: Final = 2000
FEW_EVENTS: Final = 1000  # of a job: they take as long to look up in the index as a page of the table
FEW_JOBS: Final = 4  # … each
_RANGE: Final = "FROM events NOT INDEXED WHERE seq > ? AND seq <= ?"  # left to itself SQLite walks an index that sorts
_OF_QUEUES: Final = f"kind IN {(QUEUE_ADDED, QUEUE_SET, QUEUE_REMOVED)}"
_OF_JOBS: Final = f"(job <> '' OR {_OF_QUEUES})"  # and of queues
HIDDEN: Final = ("retired", "salvaged", FILLED)  # bookkeeping of ours: what other events had said, in one


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events.

    Attributes:
        jobs: keys (owner, name), and
        globs: (owner or None for anybody, pattern): one of them must fit.
        scope: as `globs`: one of these must fit besides; None: no matter which. Acts on the daemon itself, which have
            no job, are in no scope; a queue is its owner's, and one that all share is everybody's.
        by: … or the event is of an act of this uid's.
        acts: only what somebody asked for, acts on the daemon included. Without it they are left out.
    """

    jobs: tuple[tuple[int, str], ...] = ()
    globs: Globs = ()
    scope: Globs | None = None
    by: int | None = None
    acts: bool = False
    since: int | None = None
    until: int | None = None

    def condition(self) -> tuple[str, tuple[Value, ...]]:
        """As SQL."""
        words = [f"kind NOT IN ({', '.join('?' * len(HIDDEN))})"]
        args: list[Value] = [*HIDDEN]
        fits, more = condition(self.globs)
        if self.jobs:
            fits = f"({fits} OR (owner, job) IN (VALUES {', '.join(['(?, ?)'] * len(self.jobs))}))"
        words.append(fits)
        args += [*more, *(value for key in self.jobs for value in key)]
        if self.scope is not None:
            seen, more = condition(self.scope)
            seen = f"({_OF_JOBS} AND {seen} OR {_OF_QUEUES} AND owner = {SHARED})"
            if self.by is not None:
                seen, more = f"({seen} OR by_uid = ?)", (*more, self.by)
            words.append(seen)
            args += more
        words.append("by_uid IS NOT NULL" if self.acts else _OF_JOBS)
        for word, at in (("at >= ?", self.since), ("at <= ?", self.until)):
            if at is not None:
                words.append(word)
                args.append(at)
        return " AND ".join(words), tuple(args)


@dataclass(frozen=True, slots=True)
class Page:
    """`rows` by EVENT_COLUMNS, `end`: everything up to this number was examined, `more`: and there is more behind."""

    rows: list[Values]
    end: int
    more: bool


def page(fetch: Fetch, wanted: Wanted, after: int, upto: int, limit: int) -> Page:
    """The events behind number `after` and not behind `upto`, at most `limit`, oldest first."""
    condition, args = wanted.condition()
    seqs = _few(fetch, wanted, after, upto)
    if seqs is not None:
        chosen = sorted(seqs)[:limit]
        rows = _rows(fetch, chosen, condition, args)
        more = len(seqs) > limit
        return Page(rows, chosen[-1] if more else upto, more)
    first = fetch(f"SELECT min(seq) {_RANGE}", (after, upto))[0][0]
    if first is None:
        return Page([], upto, False)
    end = min(upto, int(first) + SCAN_NUMBERS - 1)
    sql = f"SELECT {EVENT_COLUMNS} {_RANGE} AND {condition} ORDER BY seq LIMIT ?"
    rows = fetch(sql, (after, end, *args, limit))
    if len(rows) == limit:
        return Page(rows, _seq(rows[-1]), True)
    return Page(rows, end, end < upto)


def before_last(fetch: Fetch, wanted: Wanted, after: int, upto: int, count: int) -> Iterator[int | None]:
    """Where to begin behind, to have the last `count` events of those behind `after` and not behind `upto`.

    Yields None after each SCAN_NUMBERS that were examined, and the answer at last.
    """
    condition, args = wanted.condition()
    left, high = count, upto
    while left > 0 and high > after:
        seqs = _few(fetch, wanted, after, high)
        if seqs is not None:
            chosen = sorted(seqs)[-SCAN_NUMBERS:]
            low = chosen[0] - 1 if len(seqs) > SCAN_NUMBERS else after
            found = [_seq(row) for row in _rows(fetch, chosen, condition, args)][::-1]
        else:
            last = fetch(f"SELECT max(seq) {_RANGE}", (after, high))[0][0]
            low = after if last is None else max(after, int(last) - SCAN_NUMBERS)
            sql = f"SELECT seq {_RANGE} AND {condition} ORDER BY seq DESC LIMIT ?"
            found = [_seq(row) for row in fetch(sql, (low, high, *args, left))]
        if len(found) >= left:
            high = found[left - 1] - 1
            break
        left -= len(found)
        high = low
        yield None
    yield high


def _few(fetch: Fetch, wanted: Wanted, after: int, upto: int) -> list[int] | None:
    """The numbers of all events of the jobs in a range, hidden ones too, if they are few and the range is not."""
    if wanted.globs or len(wanted.jobs) > FEW_JOBS or upto - after <= 2 * SCAN_NUMBERS:
        return None
    found: list[int] = []
    for key in wanted.jobs:
        rows = fetch(
            "SELECT seq FROM events INDEXED BY events_by_run WHERE owner = ? AND job = ? LIMIT ?",
            (*key, FEW_EVENTS + 1),
        )
        if len(rows) > FEW_EVENTS:
            return None
        found += [seq for row in rows if after < (seq := _seq(row)) <= upto]
    return found


def _rows(fetch: Fetch, seqs: Sequence[int], condition: str, args: tuple[Value, ...]) -> list[Values]:
    if not seqs:
        return []
    marks = ", ".join("?" * len(seqs))
    sql = f"SELECT {EVENT_COLUMNS} FROM events NOT INDEXED WHERE seq IN ({marks}) AND {condition} ORDER BY seq"
    return fetch(sql, (*seqs, *args))


def _seq(row: Values) -> int:
    seq = row[0]
    assert isinstance(seq, int)
    return seq
