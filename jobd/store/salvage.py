"""What is taken over from a damaged database: defined jobs, live runs with their jobs and blobs, and queues.

A queued run is nowhere but in the database, and *accepted means durable*: so what can still be read of the live runs
moves on. History stays in the file that was set aside. Nothing of it is trusted: every row is checked again.

The events that explain these rows (kind `salvaged`) get odd numbers from 1 up: never those of another event, and lower
than those of any event still to be written.
"""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from jobd.core import records, states
from jobd.core.names import valid_job_name
from jobd.core.records import Event, JobRow, QueueRow, RunRow, job_data, queue_data, run_data
from jobd.core.spec import digest as digest_of

from . import removed, trouble
from .batch import Batch
from .change import write
from .rows import JOB_COLUMNS, QUEUE_COLUMNS, RUN_COLUMNS, Value, Values, job_row, queue_row, run_row
from .schema import LIVE, connect
from .trouble import ERRORS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

log: Final = logging.getLogger("jobd.store")

Row = TypeVar("Row", RunRow, JobRow, QueueRow)

SALVAGED: Final = "salvaged"

# A damaged page ends a scan: so the tables are read from both ends, and runs through an index besides.
_RUNS: Final = (
    f"SELECT {RUN_COLUMNS} FROM runs INDEXED BY runs_live WHERE {LIVE}",
    f"SELECT {RUN_COLUMNS} FROM runs NOT INDEXED WHERE {LIVE} ORDER BY seq",
    f"SELECT {RUN_COLUMNS} FROM runs NOT INDEXED WHERE {LIVE} ORDER BY seq DESC",
)
_KEPT: Final = "(transient = 0 OR (array <> '' AND active <> 'inactive'))"  # of an array, elements may be still to come
_JOBS: Final = (
    f"SELECT {JOB_COLUMNS} FROM jobs NOT INDEXED WHERE {_KEPT} ORDER BY owner, job",
    f"SELECT {JOB_COLUMNS} FROM jobs NOT INDEXED WHERE {_KEPT} ORDER BY owner DESC, job DESC",
)
_QUEUES: Final = (
    f"SELECT {QUEUE_COLUMNS} FROM queues ORDER BY owner, name",
    f"SELECT {QUEUE_COLUMNS} FROM queues ORDER BY owner DESC, name DESC",
)
_SUBS: Final = {
    records.QUEUED: states.QUEUED, records.STARTING: states.START, records.RUNNING: states.RUNNING,
    records.STOPPING: states.STOP_SIGTERM, records.FINISHED: states.DEAD,
}  # fmt: skip
MADE_UP: Final = 0  # as the time when it was created: it is not known
_JOB: Final = f"SELECT {JOB_COLUMNS} FROM jobs WHERE owner = ? AND job = ?"


class Salvaged(msgspec.Struct, frozen=True):
    """What was found; `last_event` and `last_run` are the highest numbers seen in the damaged file."""

    jobs: int = 0
    runs: int = 0
    last_event: int = 0
    last_run: int = 0


def salvage(old: Path, conn: sqlite3.Connection, now: int) -> Salvaged:
    """Take over from the damaged file `old` into the new database `conn`. Raises only what the new one raises."""
    try:
        damaged = connect(old, read_only=True)
    except ERRORS:
        return Salvaged()
    try:
        batch = _read(damaged, now)
        numbers = [_first(damaged, f"SELECT max(seq) FROM {table}") or 0 for table in ("events", "runs")]
        gone = _first(damaged, removed.HIGHEST) or 0
    finally:
        damaged.close()
    try:
        _write(conn, batch)
    except Exception as error:
        if trouble.kind(error) != "change":
            raise
        log.exception("what was found in the damaged database cannot be taken over")
        batch = Batch()
    last_event = max([int(numbers[0]), int(gone), *(event.seq for event in batch.events)])
    last_run = max([int(numbers[1]), *(row.seq for row in batch.runs)])
    return Salvaged(len(batch.jobs), len(batch.runs), last_event, last_run)


def _write(conn: sqlite3.Connection, batch: Batch) -> None:
    conn.execute("BEGIN IMMEDIATE")
    try:
        write(conn, [batch])
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise


def _read(damaged: sqlite3.Connection, now: int) -> Batch:
    runs = {r.run: r for r in _rows(damaged, _RUNS, run_row, RunRow) if _is_whole(r)}
    jobs = {(j.owner, j.job): j for j in _rows(damaged, _JOBS, job_row, JobRow)}
    for key in {(r.owner, r.job) for r in runs.values()} - jobs.keys():
        jobs |= {(j.owner, j.job): j for j in _rows(damaged, (_JOB,), job_row, JobRow, key)}
    for run in sorted(runs.values(), key=lambda r: r.number):
        if (run.owner, run.job) not in jobs or jobs[run.owner, run.job].created_at == MADE_UP:
            jobs[run.owner, run.job] = _made_up(run)
    wanted = {r.spec for r in runs.values()} | {r.env for r in runs.values()}
    wanted |= {j.spec for j in jobs.values()} | {j.env for j in jobs.values()}
    wanted |= {j.source for j in jobs.values() if j.source is not None}
    blobs = tuple((digest, data) for digest in wanted if (data := _blob(damaged, digest)) is not None)
    kept = sorted({r.seq: r for r in runs.values()}.values(), key=lambda r: r.seq)
    queues = tuple({(q.owner, q.name): q for q in _rows(damaged, _QUEUES, queue_row, QueueRow)}.values())
    events = tuple(_events(kept, jobs.values(), queues, now))
    return Batch(events, tuple(kept), tuple(jobs.values()), blobs, queues)


def _is_whole(run: RunRow) -> bool:
    name = run.job if run.array_index is None else run.job.rpartition("@")[0]
    return run.state in records.STATES and len(run.run) == 16 and valid_job_name(name)


def _made_up(run: RunRow) -> JobRow:
    """The job of a live run whose own row is not to be read: as it is after such a run was submitted.

    What a job from a file is, its file says again at the next daemon-reload.
    """
    sub = _SUBS[run.state]
    return JobRow(
        owner=run.owner, job=run.job, spec=run.spec, env=run.env, created_at=MADE_UP, latest=run.run, runs=run.number,
        active=states.ACTIVE_STATE[sub], sub=sub, changed_at=run.queued_at,
        array_of="" if run.array_index is None else run.job.rpartition("@")[0],
    )  # fmt: skip


def _events(runs: Iterable[RunRow], jobs: Iterable[JobRow], queues: Iterable[QueueRow], now: int) -> Iterator[Event]:
    seqs = itertools.count(1, 2)
    for run in runs:
        yield Event(
            seq=next(seqs), at=now, kind=SALVAGED, owner=run.owner, job=run.job, run=run.run, data=run_data(run)
        )
    for job in jobs:
        yield Event(seq=next(seqs), at=now, kind=SALVAGED, owner=job.owner, job=job.job, data=job_data(job))
    for queue in queues:
        yield Event(seq=next(seqs), at=now, kind=SALVAGED, owner=queue.owner, job="", data=queue_data(queue))


def _rows(
    damaged: sqlite3.Connection,
    queries: Iterable[str],
    make: Callable[[Values], Row],
    kind: type[Row],
    args: tuple[Value, ...] = (),
) -> Iterator[Row]:
    for sql in queries:
        try:
            for values in damaged.execute(sql, args):
                try:
                    yield msgspec.convert(msgspec.structs.asdict(make(values)), kind)  # a Struct would pass unseen
                except (msgspec.ValidationError, TypeError):
                    continue  # garbage in this row
        except ERRORS:
            continue  # what came before the damage has been taken


def _blob(damaged: sqlite3.Connection, digest: bytes) -> bytes | None:
    data = _first(damaged, "SELECT data FROM blobs WHERE hash = ?", digest)
    return data if isinstance(data, bytes) and digest_of(data) == digest else None


def _first(damaged: sqlite3.Connection, sql: str, *args: Value) -> Value:
    try:
        row = damaged.execute(sql, args).fetchone()
    except ERRORS:
        return None
    return None if row is None else row[0]
