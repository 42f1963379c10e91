"""The tables of state.db, how a connection is opened, and the migrations.

Rules:
- `PRAGMA user_version` is the schema's version. MIGRATIONS[v] leads from version v to v + 1 and is never edited once
  released; tests/store/data keeps a file of every version, and a test opens them all.
- Nothing unique is asked for but keys, so that no row of ours can be refused for ever.
- Indexes name only what never changes, or are partial: an update of a run touches its row, and little else.
"""

from __future__ import annotations

import functools
import os
import sqlite3
from typing import TYPE_CHECKING, Final

from .batch import StoreTooNew

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# SQLite's default. Measured with 150,000 runs: 16 MiB write no faster, as the kernel's page cache is one pread away.
CACHE_KIB: Final = 2048
BUSY_SEC: Final = 5.0  # how long to wait for somebody's `sqlite3 state.db` session; sqlite3's own default

# The conditions of the partial indexes; a query must repeat them word for word.
LIVE: Final = "(state <> 'finished' OR closed = 0)"
_LISTED_V1: Final = "NOT (active = 'inactive' AND result = 'success')"
_LISTED_V2: Final = "NOT (active = 'inactive' AND result = 'success' AND enabled = 0 AND load = 'loaded')"
LISTED: Final = f"array_of = '' AND {_LISTED_V2}"  # of an array, the whole alone
UNSUCCESSFUL: Final = "result <> 'success'"

_V1: Final = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "CREATE TABLE blobs (hash BLOB PRIMARY KEY, data BLOB NOT NULL)",
    """CREATE TABLE jobs (
        owner INTEGER NOT NULL, job TEXT NOT NULL, spec BLOB NOT NULL, env BLOB NOT NULL, created_at INTEGER NOT NULL,
        transient INTEGER NOT NULL, latest BLOB, runs INTEGER NOT NULL, active TEXT NOT NULL, sub TEXT NOT NULL,
        result TEXT NOT NULL, changed_at INTEGER NOT NULL,
        event INTEGER NOT NULL,  -- the event that led to this row
        base TEXT, suffix INTEGER,  -- of a name like make-3
        PRIMARY KEY (owner, job)) WITHOUT ROWID""",
    """CREATE TABLE runs (
        seq INTEGER PRIMARY KEY, run BLOB NOT NULL, owner INTEGER NOT NULL, job TEXT NOT NULL, number INTEGER NOT NULL,
        spec BLOB NOT NULL, env BLOB NOT NULL, by_uid INTEGER NOT NULL, queued_at INTEGER NOT NULL,
        state TEXT NOT NULL, result TEXT, exit_code INTEGER, signal INTEGER, core INTEGER NOT NULL, step TEXT NOT NULL,
        errno INTEGER NOT NULL, reason TEXT NOT NULL, pid INTEGER, pid_start INTEGER, boot_id TEXT NOT NULL,
        keeper TEXT NOT NULL, started_at INTEGER, exited_at INTEGER, finished_at INTEGER, stop_asked TEXT NOT NULL,
        cpu_user_usec INTEGER, cpu_system_usec INTEGER, max_rss_bytes INTEGER, out_bytes INTEGER, err_bytes INTEGER,
        closed INTEGER NOT NULL, note TEXT NOT NULL,
        tail INTEGER NOT NULL)  -- the id's last 8 hex digits, backwards: an id is found by its end""",
    """CREATE TABLE events (
        seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, owner INTEGER NOT NULL, job TEXT NOT NULL,
        run BLOB, by_uid INTEGER, by_pid INTEGER, data BLOB NOT NULL)""",
    # Runs whose rows are gone and whose logs may still be there.
    "CREATE TABLE trash (owner INTEGER NOT NULL, run BLOB NOT NULL, PRIMARY KEY (owner, run)) WITHOUT ROWID",
    "CREATE UNIQUE INDEX runs_by_id ON runs (owner, tail, run)",
    "CREATE INDEX runs_by_owner ON runs (owner)",
    "CREATE INDEX runs_by_job ON runs (owner, job)",
    "CREATE INDEX runs_by_number ON runs (owner, job, number)",
    "CREATE INDEX runs_by_spec ON runs (spec)",
    "CREATE INDEX runs_by_env ON runs (env)",
    f"CREATE INDEX runs_live ON runs (seq) WHERE {LIVE}",
    f"CREATE INDEX runs_unsuccessful ON runs (seq) WHERE {UNSUCCESSFUL}",
    f"CREATE INDEX jobs_listed ON jobs (owner, job) WHERE {_LISTED_V1}",
    "CREATE INDEX jobs_by_suffix ON jobs (owner, base, suffix) WHERE suffix IS NOT NULL",
    "CREATE INDEX jobs_by_spec ON jobs (spec)",
    "CREATE INDEX jobs_by_env ON jobs (env)",
    "CREATE INDEX events_by_run ON events (owner, job, run)",
)

_V2: Final = (
    *(f"ALTER TABLE runs ADD COLUMN {column}" for column in (
        "cause TEXT NOT NULL DEFAULT ''", "ready_at INTEGER", "status_text TEXT NOT NULL DEFAULT ''",
        "status_errno INTEGER NOT NULL DEFAULT 0", "reloads INTEGER NOT NULL DEFAULT 0",
        "again TEXT NOT NULL DEFAULT ''", "io_read_bytes INTEGER",
        "io_write_bytes INTEGER", "tasks_peak INTEGER", "next_run BLOB",
        "extended_usec INTEGER NOT NULL DEFAULT 0", "watchdog_usec INTEGER",
    )),
    *(f"ALTER TABLE jobs ADD COLUMN {column}" for column in (
        "load TEXT NOT NULL DEFAULT 'loaded'", "file TEXT NOT NULL DEFAULT ''", "source BLOB",
        "problem TEXT NOT NULL DEFAULT ''", "enabled INTEGER NOT NULL DEFAULT 0", "masked INTEGER NOT NULL DEFAULT 0",
        "restarts INTEGER NOT NULL DEFAULT 0", "starts TEXT NOT NULL DEFAULT ''", "restart_at INTEGER",
        "restart_delay_usec INTEGER NOT NULL DEFAULT 0",
    )),
    "DROP INDEX jobs_listed",
    f"CREATE INDEX jobs_listed ON jobs (owner, job) WHERE {_LISTED_V2}",
    "CREATE INDEX jobs_by_source ON jobs (source) WHERE source IS NOT NULL",
    "CREATE INDEX jobs_to_restart ON jobs (restart_at) WHERE restart_at IS NOT NULL",
    "CREATE INDEX jobs_defined ON jobs (owner, job) WHERE transient = 0",
)  # fmt: skip

_V3: Final = (
    """CREATE TABLE queues (
        owner INTEGER NOT NULL, name TEXT NOT NULL, slots INTEGER, created_at INTEGER NOT NULL, state TEXT NOT NULL,
        event INTEGER NOT NULL,  -- the event that led to this row: it stays as long as the row does
        PRIMARY KEY (owner, name)) WITHOUT ROWID""",
    *(f"ALTER TABLE runs ADD COLUMN {column}" for column in (
        "queue TEXT NOT NULL DEFAULT ''", "priority INTEGER NOT NULL DEFAULT 0", "weight INTEGER NOT NULL DEFAULT 1",
        "place INTEGER", "held INTEGER NOT NULL DEFAULT 0", "not_before INTEGER", "due_boot INTEGER",
        "after TEXT NOT NULL DEFAULT ''", "in_line INTEGER NOT NULL DEFAULT 0", "array_index INTEGER",
        "stop_uid INTEGER",
    )),
    *(f"ALTER TABLE jobs ADD COLUMN {column}" for column in (
        "array TEXT NOT NULL DEFAULT ''", "array_of TEXT NOT NULL DEFAULT ''", "elapse_next INTEGER",
        "elapse_last INTEGER", "array_terms TEXT NOT NULL DEFAULT ''", "array_ended TEXT NOT NULL DEFAULT ''",
    )),
    "DROP INDEX jobs_listed",
    f"CREATE INDEX jobs_listed ON jobs (owner, job) WHERE {LISTED}",
    "CREATE INDEX runs_by_queue ON runs (queue, owner) WHERE queue <> ''",
    f"CREATE INDEX runs_by_result ON runs (owner, result) WHERE {UNSUCCESSFUL}",
    "CREATE INDEX jobs_armed ON jobs (elapse_next) WHERE elapse_next IS NOT NULL",
    "CREATE INDEX jobs_of_array ON jobs (owner, array_of) WHERE array_of <> ''",
)  # fmt: skip

MIGRATIONS: Final[tuple[Sequence[str], ...]] = (_V1, _V2, _V3)
VERSION: Final = len(MIGRATIONS)
FAR: Final = 1000  # no jobd will have had so many schemas: such a number is a damaged header, not a newer jobd


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode; transactions are said by hand. May be used by one thread at a time."""
    mode = "ro" if read_only else "rw"
    conn = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_SEC,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        conn.execute("PRAGMA synchronous = FULL")
        conn.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        conn.execute("PRAGMA temp_store = MEMORY")
        conn.execute("PRAGMA cell_size_check = ON")  # finds a damaged page when it is read, not when it is believed
        if read_only:
            conn.execute("PRAGMA query_only = ON")
    except BaseException:
        conn.close()
        raise
    return conn


def open_database(path: Path) -> sqlite3.Connection:
    """Open for writing; make the file or bring it to VERSION if need be.

    Raises StoreTooNew, or sqlite3.DatabaseError: damaged (`trouble.kind` tells) or out of reach.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    conn = connect(path)
    try:
        version = int(conn.execute("PRAGMA user_version").fetchone()[0])
        if not 0 <= version <= VERSION + FAR:
            raise garbled(f"its schema is {version}")
        if version > VERSION:
            raise StoreTooNew(
                f"cannot open {path}: it was made by a newer jobd (schema {version}, this one knows {VERSION})"
            )
        mode = conn.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise sqlite3.OperationalError(f"cannot use a write-ahead log for {path}: journal mode is {mode}")
        for step in range(version, VERSION):
            _migrate(conn, step)
        if _statements(conn) != expected_statements():
            raise garbled("the tables are not those of this schema")
    except BaseException:
        conn.close()
        raise
    return conn


def _migrate(conn: sqlite3.Connection, version: int) -> None:
    conn.execute("BEGIN IMMEDIATE")
    try:
        for statement in MIGRATIONS[version]:
            conn.execute(statement)
        conn.execute(f"PRAGMA user_version = {version + 1}")
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise


def fold_log(conn: sqlite3.Connection) -> None:
    """Bring everything from the write-ahead log into the database, synced, and empty it. Raises sqlite3.Error."""
    busy, _, _ = conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        error = sqlite3.OperationalError("database is locked by a reader")
        error.sqlite_errorcode = sqlite3.SQLITE_BUSY
        raise error


def _statements(conn: sqlite3.Connection) -> set[tuple[str, str]]:
    return set(conn.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"))


@functools.cache
def expected_statements() -> set[tuple[str, str]]:
    """What sqlite_schema says in a sound database of VERSION."""
    conn = sqlite3.connect(":memory:", isolation_level=None)
    try:
        for step in range(VERSION):
            _migrate(conn, step)
        return _statements(conn)
    finally:
        conn.close()


def garbled(what: str) -> sqlite3.DatabaseError:
    """An error that means: damaged, though SQLite did not notice."""
    error = sqlite3.DatabaseError(f"database disk image is malformed: {what}")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def get_meta(conn: sqlite3.Connection, key: str) -> str:
    """A value of the meta table, "" if it is not there."""
    row = conn.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return "" if row is None else str(row[0])


def get_number(conn: sqlite3.Connection, key: str) -> int:
    """A number of the meta table, 0 if it is not there."""
    value = get_meta(conn, key)
    if value and not value.isdecimal():
        raise garbled(f"{key} is no number")
    return int(value or 0)


def set_meta(conn: sqlite3.Connection, key: str, value: str) -> None:
    """Set a value of the meta table."""
    conn.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
