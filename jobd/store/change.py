"""Batches into the open transaction: the only way by which what the runtime decides comes into the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from jobd.core.records import PROPERTY_SET, REDEFINES, queue_of

from .removal import blobs_of, drop_blobs, remove_jobs
from .rows import (
    Values,
    event_values,
    insert_blobs,
    insert_events,
    job_values,
    run_values,
    upsert_jobs,
    upsert_runs,
    write_queues,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from jobd.core.records import Event, JobRow, QueueRow, RunRow

    from .batch import Batch, Removal

Key: TypeAlias = tuple[int, str]  # of a job: owner and name


def write(conn: sqlite3.Connection, batches: Iterable[Batch]) -> None:
    """Write batches, in order, inside the open transaction. Of a row that comes twice, the last counts.

    Raises ValueError if a row comes without an event of its own.
    """
    events: list[Values] = []
    runs: dict[int, RunRow] = {}
    jobs: dict[Key, Values | None] = {}  # None: its row is to be gone
    removals: dict[Key, Removal] = {}
    blobs: dict[bytes, bytes] = {}
    queues: dict[Key, tuple[QueueRow | None, int]] = {}  # None: as of jobs
    unused: set[bytes] = set()
    redefined: set[int] = set()
    for batch in batches:
        batch.void = batch.if_there and not _is_there(conn, jobs, batch.events[0])
        if batch.void:
            continue
        last = {(e.owner, e.job): e.seq for e in batch.events}
        events += [event_values(e) for e in batch.events]
        for run in batch.runs:
            _explained(last, run)
            runs[run.seq] = run
        for job in batch.jobs:
            jobs[job.owner, job.job] = job_values(job, _explained(last, job))
        for event in batch.events:
            if event.kind in REDEFINES:
                unused |= blobs_of(conn, (event.owner, event.job))
            if event.kind == PROPERTY_SET:
                redefined.update(run.seq for run in batch.runs)
        if batch.removes is not None:
            for key in last:
                jobs[key], removals[key] = None, batch.removes
        blobs.update(batch.blobs)
        queues |= _queues(batch)
    insert_blobs(conn, tuple(blobs.items()))
    insert_events(conn, events)
    upsert_runs(conn, [run_values(row) for row in runs.values()])
    unused |= _redefine_runs(conn, [runs[seq] for seq in redefined])
    unused |= remove_jobs(conn, removals)
    upsert_jobs(conn, tuple(values for values in jobs.values() if values is not None))
    drop_blobs(conn, unused)
    write_queues(conn, queues)


def _redefine_runs(conn: sqlite3.Connection, runs: Iterable[RunRow]) -> set[bytes]:
    """Have runs name other definitions, which no update of a row does: it would cost each of them an index.

    Returns:
        Those that they named before.
    """
    before = set()
    for run in runs:
        before.update(conn.execute("SELECT spec FROM runs WHERE seq = ?", (run.seq,)).fetchone())
        conn.execute("UPDATE runs SET spec = ? WHERE seq = ?", (run.spec, run.seq))
    return before


def _is_there(conn: sqlite3.Connection, jobs: dict[Key, Values | None], event: Event) -> bool:
    key = (event.owner, event.job)
    if key in jobs:
        return jobs[key] is not None
    return conn.execute("SELECT 1 FROM jobs WHERE owner = ? AND job = ?", key).fetchone() is not None


def _queues(batch: Batch) -> dict[Key, tuple[QueueRow | None, int]]:
    found: dict[Key, tuple[QueueRow | None, int]] = dict.fromkeys(batch.no_queues, (None, 0))
    for queue in batch.queues:
        seq = next((event.seq for event in reversed(batch.events) if queue_of(event) == queue), None)
        if seq is None:
            raise ValueError(f"cannot record queue {queue.name} without an event of it")
        found[queue.owner, queue.name] = queue, seq
    return found


def _explained(last: dict[tuple[int, str], int], row: RunRow | JobRow) -> int:
    try:
        return last[row.owner, row.job]
    except KeyError:
        raise ValueError(f"cannot record a row of {row.job} without an event of it") from None
