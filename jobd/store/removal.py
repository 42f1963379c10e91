"""Taking runs out of the database: their rows, their events, and, with its last run, a transient job.

Rules:
- Only what is finished and closed goes. A run that has come back to life meanwhile stays.
- The log directories are deleted after the commit. Until then they are listed in `trash`, so that a daemon that dies in
  between leaves nothing behind for ever, and nothing is deleted that the database does not say.
- How far events are gone is noted beside (removed.py), for readers who come later and for the numbers to come.
- A job that stays loses events that explain its row. One event `retired` sums them up: it carries the whole row, and
  has the odd number behind the event that made that row, so that a replay still ends where the table does.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final, NamedTuple

from jobd.core.records import Event, job_data

from . import removed
from .logs import run_dir
from .rows import JOB_COLUMNS, Value, Values, event_values, insert_events, job_row
from .schema import set_meta

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from .batch import Removal

RETIRED: Final = "retired"
PURGE: Final = "purge"
PURGES: Final = f"SELECT key, value FROM meta WHERE key > '{PURGE} ' AND key < '{PURGE}!'"  # "!" follows the blank

_UNUSED: Final = " AND ".join(
    f"NOT EXISTS (SELECT 1 FROM {place} = ?1)"
    for place in ("runs WHERE spec", "runs WHERE env", "jobs WHERE spec", "jobs WHERE env", "jobs WHERE source")
)


class Victim(NamedTuple):
    """A run that is to go."""

    seq: int
    owner: int
    job: str
    run: bytes


def remove_runs(conn: sqlite3.Connection, victims: Sequence[Victim], now: int) -> list[tuple[int, str]]:
    """Remove runs, inside the open transaction. Returns the keys of the jobs that went with them."""
    blobs: set[bytes] = set()
    touched: dict[tuple[int, str], None] = {}
    for seq, owner, job, run in victims:
        row = conn.execute(
            "SELECT spec, env FROM runs WHERE seq = ? AND run = ? AND state = 'finished' AND closed = 1", (seq, run)
        ).fetchone()
        if row is None:
            continue
        blobs.update(row)
        touched[owner, job] = None
        conn.execute("DELETE FROM runs WHERE seq = ?", (seq,))
        _delete_events(conn, owner, "owner = ? AND job = ? AND run = ?", (owner, job, run))
        conn.execute("INSERT OR IGNORE INTO trash VALUES (?, ?)", (owner, run))
    gone = [key for key in touched if _settle_job(conn, *key, blobs, now)]
    gone += _empty_arrays(conn, gone, blobs)
    drop_blobs(conn, blobs)
    return gone


def remove_jobs(conn: sqlite3.Connection, removals: Mapping[tuple[int, str], Removal]) -> set[bytes]:
    """Take jobs' rows away, inside the open transaction. Returns blobs that may have lost their last use.

    Their runs stay, with their events, until retention takes them; or a Purge, if the removal says so, which is noted
    here and so survives the daemon.
    """
    unused: set[bytes] = set()
    for key, removal in removals.items():
        unused |= blobs_of(conn, key)
        conn.execute("DELETE FROM jobs WHERE owner = ? AND job = ?", key)
        if removal.purge_upto is not None:
            set_meta(conn, purge_key(*key), str(removal.purge_upto))
        elif not _has_runs(conn, key):
            _delete_events(conn, key[0], "owner = ? AND job = ?", key)
    return unused


def blobs_of(conn: sqlite3.Connection, key: tuple[int, str]) -> set[bytes]:
    """The blobs that a job's row names."""
    found = conn.execute("SELECT spec, env, source FROM jobs WHERE owner = ? AND job = ?", key).fetchone()
    return {blob for blob in found or () if blob is not None}


def remove_acts(conn: sqlite3.Connection, owner: int, before: int) -> list[tuple[int, str]]:
    """Remove events of acts on the daemon itself. Returns as `remove_runs`: no job goes with them.

    What explains how a queue is set stays.
    """
    old = "owner = ? AND job = '' AND at < ? AND seq NOT IN (SELECT event FROM queues WHERE owner = ?)"
    _delete_events(conn, owner, old, (owner, before, owner))
    return []


def purge_key(owner: int, job: str) -> str:
    """Where in the meta table it stands up to which number the runs of a removed job are to go."""
    return f"{PURGE} {owner} {job}"


def purges(rows: Iterable[Values]) -> list[tuple[int, str, int]]:
    """Owner, job and highest number of each such row (key, value)."""
    found = []
    for key, value in rows:
        _, owner, job = str(key).split(" ", 2)
        found.append((int(owner), job, int(value or 0)))
    return found


def highest_purged(conn: sqlite3.Connection) -> int:
    """The highest number up to which runs are still to go: none that comes may have such a one."""
    return max((upto for _, _, upto in purges(conn.execute(PURGES).fetchall())), default=0)


def end_purge(conn: sqlite3.Connection, owner: int, job: str, upto: int) -> list[tuple[int, str]]:
    """All of a purge's runs are gone, or were not there: forget it. Returns as `remove_runs`: no job goes with it."""
    key = (owner, job)
    conn.execute("DELETE FROM meta WHERE key = ? AND value = ?", (purge_key(*key), str(upto)))
    if not _has_runs(conn, key) and not conn.execute("SELECT 1 FROM jobs WHERE owner = ? AND job = ?", key).fetchone():
        _delete_events(conn, owner, "owner = ? AND job = ?", key)
    return []


def _has_runs(conn: sqlite3.Connection, key: tuple[int, str]) -> bool:
    return conn.execute("SELECT 1 FROM runs WHERE owner = ? AND job = ? LIMIT 1", key).fetchone() is not None


def _settle_job(conn: sqlite3.Connection, owner: int, job: str, blobs: set[bytes], now: int) -> bool:
    """After the loss of runs: remove the job if it was the last of a transient one, else sum it up.

    Of a job that somebody has removed only runs and events were left, and with the last run the events go.
    """
    key = (owner, job)
    found: Values | None = conn.execute(
        f"SELECT {JOB_COLUMNS}, event FROM jobs WHERE owner = ? AND job = ?", key
    ).fetchone()
    left = _has_runs(conn, key)
    row = None if found is None else job_row(found[:-1])
    if not left and (row is None or (row.transient and row.restart_at is None)):
        conn.execute("DELETE FROM jobs WHERE owner = ? AND job = ?", key)
        _delete_events(conn, owner, "owner = ? AND job = ?", key)
        blobs.update(() if row is None else (row.spec, row.env))
        return row is not None
    _delete_old_events(conn, key)
    if found is not None and row is not None:
        seq = int(found[-1] or 0) | 1
        conn.execute("DELETE FROM events WHERE owner = ? AND job = ? AND run IS NULL AND seq % 2 = 1", key)
        summary = Event(seq=seq, at=now, kind=RETIRED, owner=owner, job=job, data=job_data(row))
        insert_events(conn, [event_values(summary)])
    return False


def _empty_arrays(conn: sqlite3.Connection, gone: list[tuple[int, str]], blobs: set[bytes]) -> list[tuple[int, str]]:
    """Remove arrays at rest of which the last element is gone. Returns their keys."""
    stems = {(owner, job.rpartition("@")[0]) for owner, job in gone if "@" in job}
    found = []
    for key in stems:
        row = conn.execute(
            "SELECT spec, env FROM jobs WHERE owner = ? AND job = ? AND array <> '' AND sub IN ('dead', 'failed')"
            " AND NOT EXISTS (SELECT 1 FROM jobs e INDEXED BY jobs_of_array"
            " WHERE e.owner = jobs.owner AND e.array_of <> '' AND e.array_of = jobs.job)",
            key,
        ).fetchone()
        if row is not None:
            blobs.update(row)
            conn.execute("DELETE FROM jobs WHERE owner = ? AND job = ?", key)
            _delete_events(conn, key[0], "owner = ? AND job = ?", key)
            found.append(key)
    return found


def _delete_old_events(conn: sqlite3.Connection, key: tuple[int, str]) -> None:
    """Events of the job itself go when those of all runs before them have gone: what follows says the whole row."""
    oldest = "SELECT run FROM runs INDEXED BY runs_by_job WHERE owner = ? AND job = ? ORDER BY seq LIMIT 1"
    first = conn.execute(
        f"SELECT min(seq) FROM events INDEXED BY events_by_run WHERE owner = ? AND job = ? AND run = ({oldest})",
        (*key, *key),
    ).fetchone()[0]
    if first is not None:
        _delete_events(conn, key[0], "owner = ? AND job = ? AND run IS NULL AND seq < ?", (*key, first))


def _delete_events(conn: sqlite3.Connection, owner: int, where: str, args: tuple[Value, ...]) -> None:
    source = f"FROM events INDEXED BY events_by_run WHERE {where}"
    last = conn.execute(f"SELECT max(seq) {source} AND seq % 2 = 0", args).fetchone()[0]  # odd ones nobody is shown
    conn.execute(f"DELETE {source}", args)
    if last is not None:
        removed.note(conn, owner, last)


def drop_blobs(conn: sqlite3.Connection, blobs: Iterable[bytes]) -> None:
    """Remove those of these blobs that no row names any more, inside the open transaction."""
    for digest in blobs:
        conn.execute(f"DELETE FROM blobs WHERE hash = ?1 AND {_UNUSED}", (digest,))


def forget_trash(conn: sqlite3.Connection, runs: Iterable[tuple[int, bytes]]) -> list[tuple[int, str]]:
    """The logs of these runs are gone from the disk. Returns what `remove_runs` would: no job goes with them."""
    conn.executemany("DELETE FROM trash WHERE owner = ? AND run = ?", runs)
    return []


def delete_logs(state_dir: Path, owner: int, run: bytes) -> bool:
    """Delete a run's log directory. Returns whether it is gone. Never follows a link."""
    directory = run_dir(state_dir, owner, run)
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        for name in os.listdir(fd):
            os.unlink(name, dir_fd=fd)
        os.rmdir(directory)
    except OSError:
        return False
    finally:
        os.close(fd)
    with contextlib.suppress(OSError):  # there are others' logs in it
        os.rmdir(directory.parent)
    return True
