"""A damaged database is moved out of the way, whole, under a name of its own, and a new one begun.

The new one is made first, complete, beside the old one (`state.db.new`); then the old one moves away, and the new one
into its place. The old one's three files have to move together (the database, its log, the log's index): a symbolic
link, made first and removed last, says where to. Whoever opens a database first finishes what a kill interrupted, and
the writer what an error of the disk did. Nothing is ever written over.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import time
from typing import TYPE_CHECKING, Final

from .connections import Connections
from .trouble import ERRORS, kind

if TYPE_CHECKING:
    from pathlib import Path

MARK: Final = ".moving"  # state.db.moving -> the new name
NEW: Final = ".new"
# sqlite3_errstr of SQLITE_CORRUPT and SQLITE_NOTADB; our own words say more.
_SAID_BY_SQLITE: Final = ("database disk image is malformed", "file is not a database")
# What a check says of a page that could not be read, with SQLite's extended result code (its btree.c). Of a page in a
# list, that of an overflow or of free ones, it names none; but a number that no page has is told before it is read
# ("invalid page number"), so that only a read, or the memory for it, can have failed. "Failed to read ptrmap key" is
# not here: a garbled map is told by the same words, and our files have none.
_UNREAD: Final = re.compile(r"unable to get the page\. error code=(\d+)|failed to get page \d+")
PARTS: Final = ("-wal", "-shm", "")  # the database last: as long as it is there, the move is not done


def fresh_path(path: Path) -> Path:
    """Where the new database is made; nothing of an earlier try is there."""
    for part in PARTS:
        path.with_name(path.name + NEW + part).unlink(missing_ok=True)
    return path.with_name(path.name + NEW)


def begin_move(path: Path) -> Path:
    """Say where the database at `path` goes; nothing but `finish_move` may be done with it after that."""
    stamp = _stamp()
    name, n = f"{path.name}.damaged-{stamp}", 0
    while any(os.path.lexists(path.with_name(name + part)) for part in PARTS):
        n += 1
        name = f"{path.name}.damaged-{stamp}-{n}"
    os.symlink(name, path.with_name(path.name + MARK))
    return path.with_name(name)


def finish_move(path: Path) -> None:
    """Complete a move that was begun, by us or by a daemon that died in it. What fails in it can be called again."""
    mark, new = path.with_name(path.name + MARK), path.with_name(path.name + NEW)
    begun = mark.is_symlink()
    if begun:
        _move(path, os.readlink(mark))
        sync_directory(path.parent)
    if new.exists() and not path.exists():
        os.rename(new, path)
        sync_directory(path.parent)
    if begun:
        mark.unlink()


def _move(path: Path, name: str) -> None:
    if path.exists() and os.path.lexists(path.with_name(name)):
        return  # it has moved, whole: this is the one that has come after it, with a log of its own
    for part in PARTS:
        source, target = path.with_name(path.name + part), path.with_name(name + part)
        if source.exists() and not os.path.lexists(target):
            os.rename(source, target)


def keep_copy(path: Path) -> Path | None:
    """Keep what a damaged file has, under a name of its own. Returns where; None if there is no room for it."""
    copy = path.with_name(f"{path.name}.damaged-{_stamp()}")
    try:
        fd = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as target, path.open("rb") as source:
            shutil.copyfileobj(source, target)
    except OSError:
        return None
    return copy


def _stamp() -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


def sync_directory(directory: Path) -> None:
    """Make renames in it durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def is_sound(path: Path, text: str) -> bool:
    """Whether nothing is wrong with a file of which SQLite has said `text`; what we have found ourselves stays found.

    SQLite has been seen to call one malformed when a read of its log had failed (EIO), and all history was set aside.
    Raises sqlite3.Error when this cannot be found out now.
    """
    if text not in _SAID_BY_SQLITE:
        return False
    try:
        return not Check(path).run()
    except ERRORS as error:
        if kind(error) != "damage":
            raise
        return False


class Check:
    """One `quick_check` of the whole file, on a connection of its own; it can be stopped from another thread."""

    def __init__(self, path: Path, connections: Connections | None = None) -> None:
        self._connections = connections or Connections()
        with self._connections:
            self._conn = self._connections.open(path)

    def run(self) -> str:
        """Returns what is wrong, "" if nothing is. Raises sqlite3.Error when stopped or closed, or a read fails."""
        try:
            with self._connections:
                found = [str(text) for (text,) in self._conn.execute("PRAGMA quick_check(1)")]
        finally:
            self._connections.close(self._conn)
        if found == ["ok"]:
            return ""
        for text in found:
            _raise_unread(text)
        return "; ".join(found)

    def stop(self) -> None:
        """Make `run` end soon."""
        try:
            self._conn.interrupt()
        except sqlite3.ProgrammingError:  # closed: it has ended
            return


def _raise_unread(text: str) -> None:
    """A check goes on after a read that fails, and tells of it as of damage; the disk's trouble is not the file's."""
    match = _UNREAD.search(text)
    if match is None:
        return
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = int(match[1] or sqlite3.SQLITE_IOERR)
    if kind(error) != "damage":
        raise error
