"""Records to SQL and back.

Several rows go into one statement: sqlite3 lets go of the interpreter's lock at every step, and getting it back from a
busy loop costs up to a switch interval (5 ms), so the number of steps is what a commit costs the writer.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec
from msgspec.structs import astuple

from jobd.core.records import Data, Event, JobRow, QueueRow, RunRow

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping, Sequence

Value: TypeAlias = str | int | bytes | None
Values: TypeAlias = tuple[Value, ...]

RUN_FIELDS: Final = RunRow.__struct_fields__
JOB_FIELDS: Final = JobRow.__struct_fields__
RUN_COLUMNS: Final = ", ".join(RUN_FIELDS)
JOB_COLUMNS: Final = ", ".join(JOB_FIELDS)
QUEUE_FIELDS: Final = QueueRow.__struct_fields__
QUEUE_COLUMNS: Final = ", ".join(QUEUE_FIELDS)
_EVENT_FIELDS: Final = Event.__struct_fields__
EVENT_COLUMNS: Final = ", ".join(_EVENT_FIELDS)

# What never changes is left out of updates, so that they touch no index on it.
_RUN_FIXED: Final = frozenset({"seq", "run", "owner", "job", "number", "spec", "env", "by_uid", "queued_at"})
_JOB_FIXED: Final = frozenset({"owner", "job"})

SUFFIX_MAX: Final = 18  # digits that surely fit SQLite's integers

_STEPS: Final = (64, 32, 16, 8, 4, 2, 1)  # rows a statement; 64 runs have 2,112 values, and SQLite takes 32,766

_encode = msgspec.msgpack.Encoder().encode
_decode_data: Callable[[bytes], Data] = msgspec.msgpack.Decoder().decode  # ours, from our own file: not checked again


class Insert:
    """An INSERT of many rows at a time."""

    def __init__(self, head: str, width: int, tail: str = "") -> None:
        one = f"({', '.join('?' * width)})"
        self._sql = {n: f"{head} VALUES {', '.join([one] * n)} {tail}" for n in _STEPS}

    def __call__(self, conn: sqlite3.Connection, rows: Sequence[Values]) -> None:
        done = 0
        for step in _STEPS:
            while len(rows) - done >= step:
                conn.execute(self._sql[step], tuple(chain.from_iterable(rows[done : done + step])))
                done += step


def _updates(fields: Iterable[str], fixed: frozenset[str]) -> str:
    return ", ".join(f"{f} = excluded.{f}" for f in fields if f not in fixed)


insert_blobs = Insert("INSERT OR IGNORE INTO blobs (hash, data)", 2)
insert_events = Insert(f"INSERT INTO events ({EVENT_COLUMNS})", 9)
upsert_runs = Insert(
    f"INSERT INTO runs ({RUN_COLUMNS}, tail)",
    len(RUN_FIELDS) + 1,
    f"ON CONFLICT (seq) DO UPDATE SET {_updates(RUN_FIELDS, _RUN_FIXED)}",
)
upsert_jobs = Insert(
    f"INSERT INTO jobs ({JOB_COLUMNS}, event, base, suffix)",
    len(JOB_FIELDS) + 3,
    f"ON CONFLICT (owner, job) DO UPDATE SET {_updates(JOB_FIELDS, _JOB_FIXED)}, event = max(event, excluded.event)",
)


def tail_of(run: bytes) -> int:
    """The last 8 hex digits of an id, backwards, as a number: ids with the same end are neighbours."""
    return int(run.hex()[:-9:-1] or "0", 16)


def run_values(row: RunRow) -> Values:
    """A run's row as upsert_runs takes it."""
    return (*astuple(row), tail_of(row.run))


def job_values(row: JobRow, event: int) -> Values:
    """A job's row as upsert_jobs takes it; `event` is the one that led to it."""
    base, _, digits = row.job.rpartition("-")
    if SUFFIX_MAX >= len(digits) > 0 and digits.isascii() and digits.isdigit() and base:
        return (*astuple(row), event, base, int(digits))
    return (*astuple(row), event, None, None)


def event_values(e: Event) -> Values:
    """An event as insert_events takes it."""
    return (*astuple(e)[:-1], _encode(e.data))


def write_queues(conn: sqlite3.Connection, queues: Mapping[tuple[int, str], tuple[QueueRow | None, int]]) -> None:
    """Write the rows of queues, each with the event that led to it, and take those away that are None."""
    marks = ", ".join("?" * len(QUEUE_FIELDS))
    for key, (row, event) in queues.items():
        if row is None:
            conn.execute("DELETE FROM queues WHERE owner = ? AND name = ?", key)
        else:
            sql = f"INSERT OR REPLACE INTO queues ({QUEUE_COLUMNS}, event) VALUES ({marks}, ?)"
            conn.execute(sql, (*astuple(row), event))


def queue_row(values: Values) -> QueueRow:
    """A queue from QUEUE_COLUMNS."""
    return QueueRow(**dict(zip(QUEUE_FIELDS, values, strict=True)))  # type: ignore[arg-type]  # the columns' types are the fields'


def run_row(values: Values) -> RunRow:
    """A run from RUN_COLUMNS."""
    fields = dict(zip(RUN_FIELDS, values, strict=True))
    fields["core"] = fields["core"] == 1
    for name in ("closed", "held", "in_line"):
        fields[name] = fields[name] == 1
    return RunRow(**fields)  # type: ignore[arg-type]  # the columns' types are the fields'


def job_row(values: Values) -> JobRow:
    """A job from JOB_COLUMNS."""
    fields = dict(zip(JOB_FIELDS, values, strict=True))
    for name in ("transient", "enabled", "masked"):
        fields[name] = fields[name] == 1
    return JobRow(**fields)  # type: ignore[arg-type]  # the columns' types are the fields'


def event_of(values: Values) -> Event:
    """An event from EVENT_COLUMNS. Raises what is in trouble.UNREADABLE."""
    fields = dict(zip(_EVENT_FIELDS, values, strict=True))
    data = _decode_data(fields.pop("data"))  # type: ignore[arg-type]  # a blob column
    if type(data) is not dict:
        raise msgspec.DecodeError("its data is no map")
    return Event(**fields, data=data)  # type: ignore[arg-type]  # the columns' types are the fields'


class _Shape:
    """Which types the columns of a row may have. SQLite would give any; a damaged row has some that it cannot have."""

    def __init__(self, columns: str, make: Callable[[Values], msgspec.Struct]) -> None:
        self.head = f"SELECT {columns} FROM"
        self._make = make
        self._seen: set[tuple[type, ...]] = set()  # that were right: looking is 1 µs a row, finding out is ten

    def fits(self, values: Values) -> bool:
        types = tuple(map(type, values))
        if types in self._seen:
            return True
        try:
            row = self._make(values)
            msgspec.convert(msgspec.structs.asdict(row), type(row))
        except (msgspec.ValidationError, TypeError):
            return False
        if len(self._seen) < _SHAPES:
            self._seen.add(types)
        return True


_SHAPES: Final = 4096  # that are remembered: a run has 15 columns that may be empty, and most are so together
_SHAPES_OF: Final = (_Shape(RUN_COLUMNS, run_row), _Shape(JOB_COLUMNS, job_row), _Shape(QUEUE_COLUMNS, queue_row))


def are_sound(sql: str, found: Sequence[Values]) -> bool:
    """Whether these can be answers to a query for whole rows; of other queries nothing is known."""
    for shape in _SHAPES_OF:
        if sql.startswith(shape.head):
            return all(map(shape.fits, found))
    return True
