"""A database that stays locked after an I/O error: whoever owns the store is told, and what is queued waits."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING

from jobd.store import schema, writer
from jobd.store.change import write as real_write
from jobd.store.connections import Connections

from .helpers import DEADLINE_SEC, Book, run_id

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from jobd.store.batch import Batch


def error(text: str, code: int) -> sqlite3.OperationalError:
    found = sqlite3.OperationalError(text)
    found.sqlite_errorcode = code
    return found


def test_a_lock_that_stays_is_told_of_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "RETRY_SEC", 0.001)
    locked, tries = threading.Event(), []
    real_fold = schema.fold_log

    def fold(conn: sqlite3.Connection) -> None:
        tries.append(conn)
        if len(tries) <= writer.LOCKED_TRIES + 1:
            assert locked.is_set() == (len(tries) > writer.LOCKED_TRIES)
            raise error("database is locked by a reader", sqlite3.SQLITE_BUSY)
        real_fold(conn)

    failures = [error("disk I/O error", sqlite3.SQLITE_IOERR)]

    def write(conn: sqlite3.Connection, batches: list[Batch]) -> None:
        if failures:
            raise failures.pop()
        real_write(conn, batches)

    monkeypatch.setattr(schema, "fold_log", fold)
    monkeypatch.setattr(writer, "write", write)
    book = Book(tmp_path)
    book.store.on_locked = locked.set
    with book:
        book.durable(book.accept(run_id(1)))
        assert locked.wait(DEADLINE_SEC)


def test_a_session_of_somebody_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `BEGIN IMMEDIATE` in `sqlite3 state.db` one daemon after the other left, each time with all its clients."""
    monkeypatch.setattr(writer, "RETRY_SEC", 0.001)
    monkeypatch.setattr(schema, "BUSY_SEC", 0.001)
    locked, tried = threading.Event(), threading.Semaphore(0)
    real_fold = schema.fold_log

    def fold(conn: sqlite3.Connection) -> None:
        tried.release()
        real_fold(conn)

    closed = []
    real_close = Connections.close_all

    def close_all(connections: Connections) -> bool:
        closed.append(real_close(connections))
        return closed[-1]

    book = Book(tmp_path)
    monkeypatch.setattr(schema, "fold_log", fold)
    monkeypatch.setattr(Connections, "close_all", close_all)
    book.store.on_locked = locked.set
    session = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    session.execute("BEGIN IMMEDIATE")
    with book:
        accepted = book.accept(run_id(1))
        for _ in range(writer.LOCKED_TRIES + 2):
            assert tried.acquire(timeout=DEADLINE_SEC)
        session.close()
        book.durable(accepted)
    assert not locked.is_set()
    assert closed == [True], "what others ask is interrupted once, not as long as that session lasts"
