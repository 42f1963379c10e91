"""All connections of the process end at once: what is asked is asked again, and a lock that nobody has is gone."""

from __future__ import annotations

import _sqlite3
import ctypes
import os
import sqlite3
import threading
from typing import TYPE_CHECKING, Final, cast

import pytest

from jobd.store import schema, writer
from jobd.store.change import write as real_write
from jobd.store.connections import Asker, Connections
from jobd.store.db import FILE

from .helpers import DEADLINE_SEC, OWNER, Book, run_id

if TYPE_CHECKING:
    from pathlib import Path

    from jobd.store.batch import Batch

# sqlite.org/c3ref: open/file control flags, and the methods of a file behind the number of their version, in order.
READ_WRITE, FILE_POINTER, SHM_LOCK, SHM_SHARED = 2, 7, 2, 4
X_SHM_LOCK: Final = 13
READ_LOCK_1: Final = 4  # sqlite.org/walformat.html: of the bytes behind 120, with which WAL_READ_LOCK(1) is taken


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    """The SQLite that Python has: another one would have a table of locks of its own."""
    found = ctypes.CDLL(_sqlite3.__file__)
    if not hasattr(found, "sqlite3_file_control"):
        pytest.skip("this Python has its SQLite inside")
    return found


def leave_a_lock(library: ctypes.CDLL, path: Path) -> None:
    """What an unlock that fails leaves behind: a connection is closed, and its lock on the log stays."""
    conn, file = ctypes.c_void_p(), ctypes.c_void_p()
    assert library.sqlite3_open_v2(os.fsencode(path), ctypes.byref(conn), READ_WRITE, None) == 0
    assert library.sqlite3_exec(conn, b"SELECT count(*) FROM jobs", None, None, None) == 0
    assert library.sqlite3_file_control(conn, b"main", FILE_POINTER, ctypes.byref(file)) == 0
    assert file.value
    methods = ctypes.POINTER(ctypes.c_void_p).from_address(file.value)
    lock = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int)(
        methods[1 + X_SHM_LOCK] or 0
    )
    assert lock(file, READ_LOCK_1, 1, SHM_LOCK | SHM_SHARED) == 0
    assert library.sqlite3_close(conn) == 0


def test_a_lock_that_no_connection_has_any_more_goes_with_all_of_them(
    library: ctypes.CDLL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "RETRY_SEC", 0.001)
    monkeypatch.setattr(schema, "BUSY_SEC", 0.01)
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    failures: list[Exception] = []
    stuck: list[bool] = []

    def write(conn: sqlite3.Connection, batches: list[Batch]) -> None:
        if failures:
            raise failures.pop()
        real_write(conn, batches)

    monkeypatch.setattr(writer, "write", write)
    book = Book(tmp_path)
    book.store.on_locked = lambda: stuck.append(True)
    with book:
        book.durable(book.accept(run_id(1)))
        other = book.store.another_reader()
        assert other.run(OWNER, run_id(1)) is not None
        leave_a_lock(library, tmp_path / FILE)
        with pytest.raises(sqlite3.OperationalError, match="locked by a reader"):
            fold(tmp_path / FILE)
        failures.append(error)
        book.durable(book.accept(run_id(2)))
        assert not stuck
        fold(tmp_path / FILE)
        assert book.store.run(OWNER, run_id(2)) is not None
        assert other.run(OWNER, run_id(2)) is not None, "it asks on another connection"
        other.close_reader()


def fold(path: Path) -> None:
    conn = schema.connect(path)
    try:
        schema.fold_log(conn)
    finally:
        conn.close()


class Endless(Connections):
    """Whose first connection counts for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.began = threading.Event()

    def open(self, path: Path) -> sqlite3.Connection:
        conn = super().open(path)
        first = self.count == 0

        def most() -> int:
            self.began.set()
            return 2**62 if first else 10

        conn.create_function("most", 0, most)
        return conn


def test_a_question_is_interrupted_and_asked_again(tmp_path: Path) -> None:
    path = tmp_path / FILE
    schema.open_database(path).close()
    connections = Endless()
    asker = Asker(path, lambda: 0, connections)
    counting = "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < most()) SELECT max(x) FROM c"
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(asker.ask(counting, ())), daemon=True)
    thread.start()
    assert connections.began.wait(DEADLINE_SEC)
    assert connections.close_all()
    thread.join(DEADLINE_SEC)
    assert found == [[(10,)]]
    assert connections.count == 1
    asker.close()


def test_a_question_that_does_not_end_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobd.store.connections.CLOSE_SEC", 0.01)
    path = tmp_path / FILE
    schema.open_database(path).close()
    connections = Connections()
    with connections:
        conn = connections.open(path)
        assert not connections.close_all()
        assert conn.execute("SELECT count(*) FROM jobs").fetchone() == (0,)
        connections.close(conn)
    assert connections.close_all()
    assert connections.count == 1


def test_one_that_is_being_closed_is_not_believed_to_be_closed() -> None:
    connections = Connections()
    order: list[str] = []
    other = threading.Thread(target=lambda: order.append(f"all: {connections.close_all()}"))

    class Slow:
        def close(self) -> None:
            other.start()
            other.join(0.05)
            order.append("this")

    connections.close(cast("sqlite3.Connection", Slow()))
    other.join(DEADLINE_SEC)
    assert order == ["this", "all: True"]
