"""What an error means: the disk (wait and try again), a damaged file (set it aside), or this one change (refuse it)."""

from __future__ import annotations

import sqlite3
from typing import Final, Literal, TypeAlias

import msgspec

Kind: TypeAlias = Literal["disk", "damage", "change"]

# Primary result codes, sqlite.org/rescode.html. BUSY and LOCKED: somebody's own session holds the file for long.
_DISK: Final = frozenset({
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_NOLFS,
})  # fmt: skip
# What reading or writing a damaged file may raise: Python decodes texts, SQLite's own messages included.
ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)
# What garbled bytes raise in place of a row. A text within them is decoded by Python.
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, TypeError)

_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})
# Our SQL does not change: what it names is gone, because the file was cut, replaced, or garbled.
_SIGNS: Final = (
    "no such table", "no such column", "no such index", "no query solution", "has no column named", "already exists",
    "Could not decode to UTF-8",
)  # fmt: skip


def kind(error: BaseException) -> Kind:
    """What to do about an error from SQLite or from the system."""
    if isinstance(error, OSError):
        return "disk"
    if isinstance(error, UnicodeDecodeError):
        return "damage"
    if not isinstance(error, sqlite3.DatabaseError):
        return "change"
    code = primary(error)
    if code in _DISK:
        return "disk"
    if code in _DAMAGE or any(sign in str(error) for sign in _SIGNS):
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
