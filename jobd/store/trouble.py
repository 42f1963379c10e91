"""What an error means: the disk (wait and try again), a damaged file (set it aside), or this one change (refuse it)."""

from __future__ import annotations

import sqlite3
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal["disk", "damage", "change"]

# Primary result codes, sqlite.org/rescode.html. BUSY and LOCKED: somebody's own session holds the file for long.
_DISK: Final = frozenset({
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_NOLFS,
})  # fmt: skip
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})


def kind(error: BaseException) -> Kind:
    """What to do about an error from SQLite or from the system."""
    if isinstance(error, OSError):
        return "disk"
    if not isinstance(error, sqlite3.DatabaseError):
        return "change"
    code = primary(error)
    if code in _DISK:
        return "disk"
    # A table that is gone: the file was cut or replaced under us.
    if code in _DAMAGE or "no such table" in str(error) or "no such column" in str(error):
        return "damage"
    return "change"


def primary(error: BaseException) -> int:
    """The primary SQLite result code, 0 if there is none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_full(error: BaseException) -> bool:
    """Whether a bit of room would help."""
    return primary(error) == sqlite3.SQLITE_FULL


def is_uncertain(error: BaseException) -> bool:
    """Whether the change may be in the file all the same, or half of it in the disk's cache."""
    return primary(error) == sqlite3.SQLITE_IOERR
