"""How much of the disk one owner has: seconds for one with a million runs, so for a thread, and seldom."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final, NamedTuple

from . import schema

if TYPE_CHECKING:
    from pathlib import Path

_NAMED: Final = " UNION ".join(
    f"SELECT {blob} FROM {table} WHERE owner = ?1"
    for table, blobs in (("runs INDEXED BY runs_by_owner", ("spec", "env")), ("jobs", ("spec", "env", "source")))
    for blob in blobs
)
_BLOBS: Final = f"SELECT coalesce(sum(length(data)), 0) FROM blobs WHERE hash IN ({_NAMED})"
_LOGS: Final = (
    "SELECT coalesce(sum(coalesce(out_bytes, 0) + coalesce(err_bytes, 0)), 0) FROM runs INDEXED BY runs_by_owner"
    " WHERE owner = ?1 AND closed = 1"
)
NAMES_BLOB: Final = " OR ".join(
    f"EXISTS (SELECT 1 FROM {table} WHERE {blob} = ?1 AND owner = ?2)"
    for table, blob in (
        ("runs INDEXED BY runs_by_env", "env"),
        ("runs INDEXED BY runs_by_spec", "spec"),
        ("jobs INDEXED BY jobs_by_env", "env"),
        ("jobs INDEXED BY jobs_by_spec", "spec"),
        ("jobs INDEXED BY jobs_by_source", "source"),
    )
)


class Usage(NamedTuple):
    """Bytes in the database and on the disk."""

    blobs: int  # distinct environments, definitions and texts of definitions of his jobs and runs
    logs: int  # of his runs that are closed


def usage(path: Path, owner: int) -> Usage:
    """What an owner has now. Raises sqlite3.Error."""
    with closing(schema.connect(path, read_only=True)) as conn:
        return Usage(*(int(conn.execute(sql, (owner,)).fetchone()[0]) for sql in (_BLOBS, _LOGS)))
