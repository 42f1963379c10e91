"""How far events are gone: what a reader with a cursor has to be told, and which numbers are never given again.

For each owner the database keeps the highest number of an event of his that was removed, and one for all owners: that
of the last event in a database that was set aside as damaged. A reader who stands before it has missed something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .schema import get_number, set_meta

if TYPE_CHECKING:
    import sqlite3

_KEY: Final = "removed"  # of all owners; one owner's is "removed UID"
OF_OWNER: Final = "SELECT max(CAST(value AS INTEGER)) FROM meta WHERE key IN (?, ?)"
HIGHEST: Final = f"SELECT max(CAST(value AS INTEGER)) FROM meta WHERE key = '{_KEY}' OR key LIKE '{_KEY} %'"


def keys(owner: int) -> tuple[str, str]:
    """What OF_OWNER asks for."""
    return _KEY, _key(owner)


def note(conn: sqlite3.Connection, owner: int | None, seq: int) -> None:
    """Events up to `seq` are being removed, of one owner or (None) of all. In the transaction that removes them."""
    if seq > get_number(conn, _key(owner)):
        set_meta(conn, _key(owner), str(seq))


def highest(conn: sqlite3.Connection) -> int:
    """The highest number of an event that was ever removed, of anybody."""
    return int(conn.execute(HIGHEST).fetchone()[0] or 0)


def _key(owner: int | None) -> str:
    return _KEY if owner is None else f"{_KEY} {owner}"
