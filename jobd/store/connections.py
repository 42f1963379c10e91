"""The connections by which this process asks one database; and how all of them end at once, when none is to be trusted.

SQLite has one table in memory of what a process has locked in a log's index, and frees it with the last connection to
that database. It does not look whether an unlock went well: wal.c's walUnlockShared and walUnlockExclusive ignore it,
unixShmLock of os_unix.c leaves the lock in the table when fcntl(F_UNLCK) fails, and unixShmUnmap leaves it there when
its connection is closed (so in the sources of 3.40). Then nobody has that lock, and it is in everybody's way: the log
cannot be folded in any more ("database is locked"), or not even be read ("locking protocol", after ten seconds).
Linux refuses an unlock only when it has no memory for the two halves of a lock that was one, or on a remote disk.

So after an error of the disk every connection is closed before the first is opened again.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Final, Self

from .schema import connect
from .trouble import primary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .rows import Value, Values

# For questions to end, which are interrupted. Who asks meanwhile waits: the daemon's loop, too.
CLOSE_SEC: Final = 1.0
_AGAIN_SEC: Final = 0.005  # a question that was just about to begin is not interrupted, but again it is


class Connections:
    """Whoever asks does it inside `with connections:`, on a connection that came from `open`.

    Attributes:
        count: how many times all of them were closed. One that was opened before is no more.
    """

    def __init__(self) -> None:
        self.count = 0
        self._changed = threading.Condition()
        self._asking = 0
        self._closing = False
        self._open: set[sqlite3.Connection] = set()

    def __enter__(self) -> Self:
        with self._changed:
            while self._closing:
                self._changed.wait()
            self._asking += 1
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._asking -= 1
            if self._closing:
                self._changed.notify_all()

    def open(self, path: Path) -> sqlite3.Connection:
        """A connection that reads; the one who opens it closes it, by `close`."""
        conn = connect(path, read_only=True)
        with self._changed:
            self._open.add(conn)
        return conn

    def close(self, conn: sqlite3.Connection) -> None:
        """Close one; it does not matter if all were closed before."""
        with self._changed:
            self._open.discard(conn)
            conn.close()  # before anybody believes that all are closed

    def close_all(self) -> bool:
        """Interrupt every question and close every connection. Returns whether all are closed.

        For a thread that does not ask itself. What was interrupted may be asked again: see `count`.
        """
        deadline = time.monotonic() + CLOSE_SEC
        with self._changed:
            self._closing = True
            try:
                while self._asking and time.monotonic() < deadline:
                    for conn in self._open:
                        with contextlib.suppress(sqlite3.ProgrammingError):  # closed in this instant
                            conn.interrupt()
                    self._changed.wait(_AGAIN_SEC)
                if self._asking:
                    return False
                self.count += 1
                for conn in self._open:
                    conn.close()
                self._open.clear()
                return True
            finally:
                self._closing = False
                self._changed.notify_all()


class Asker:
    """Asks the database at `path` on a connection of its own, from one thread.

    Attributes:
        generation: what `current()` said when the file that is asked was opened; it grows when the file was replaced.
    """

    def __init__(self, path: Path, current: Callable[[], int], connections: Connections) -> None:
        self.generation = -1
        self._path = path
        self._current = current
        self._connections = connections
        self._count = -1
        self._conn: sqlite3.Connection | None = None

    def ask(self, sql: str, args: Sequence[Value]) -> list[Values]:
        """All rows. Raises what `trouble.ERRORS` are."""
        while True:
            with self._connections:
                try:
                    return self._opened().execute(sql, args).fetchall()
                except sqlite3.OperationalError as error:
                    if primary(error) != sqlite3.SQLITE_INTERRUPT:
                        raise  # else all connections are being closed; there is another after that

    def close(self) -> None:
        """Close the connection; the next question opens another."""
        if self._conn is not None:
            self._connections.close(self._conn)
            self._conn = None

    def _opened(self) -> sqlite3.Connection:
        state = self._current(), self._connections.count
        if self._conn is None or state != (self.generation, self._count):
            self.close()
            self.generation, self._count = state
            self._conn = self._connections.open(self._path)
        return self._conn
