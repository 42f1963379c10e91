"""A commit that ends in an I/O error may be in the database all the same: what it held is looked for, and no more."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from jobd.store import writer
from jobd.store.change import write as real_write

from .helpers import OWNER, Book, run_id

if TYPE_CHECKING:
    from pathlib import Path

    from jobd.store.batch import Batch


class Connection(sqlite3.Connection):
    """One whose next commits end in an error, and are done (or not) all the same; and the questions after that."""

    failing = 0
    failing_questions = 0
    done = True

    def execute(self, sql: str, *args: object) -> sqlite3.Cursor:
        if sql == "COMMIT" and Connection.failing:
            Connection.failing -= 1
            super().execute("COMMIT" if Connection.done else "ROLLBACK")
            raise io_error()
        if sql == "SELECT 1 FROM events WHERE seq = ?" and Connection.failing_questions:
            Connection.failing_questions -= 1
            raise io_error()
        return super().execute(sql, *args)  # type: ignore[arg-type]  # as they came


def io_error() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    return error


@pytest.fixture(autouse=True)
def connections(monkeypatch: pytest.MonkeyPatch) -> None:
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: real(*a, **k, factory=Connection))
    monkeypatch.setattr(writer, "RETRY_SEC", 0.001)
    monkeypatch.setattr(Connection, "failing", 0)
    monkeypatch.setattr(Connection, "failing_questions", 0)


@pytest.mark.parametrize("done", [True, False])
def test_one_of_several_that_are_written_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    def write(conn: sqlite3.Connection, batches: list[Batch]) -> None:
        if any(batch.tag == ("accept", run_id(2)) for batch in batches):
            raise ValueError("a mistake of ours")
        if any(batch.tag == ("accept", run_id(1)) for batch in batches) and not failed:
            failed.append(True)
            Connection.failing = 1
        real_write(conn, batches)

    failed: list[bool] = []
    monkeypatch.setattr(writer, "write", write)
    monkeypatch.setattr(Connection, "done", done)
    book = Book(tmp_path)
    store = book.store
    queue: list[Batch] = []

    def submit_all(_: sqlite3.Connection) -> None:
        """From the writer's own thread: it takes all three into one transaction."""
        for batch in queue:
            store.submit(batch)

    with monkeypatch.context() as patch:
        patch.setattr(store, "submit", queue.append)
        one, two, three = (book.accept(run_id(n), f"make-{n}") for n in (1, 2, 3))
    book.start()
    try:
        book.until_quiet()
        assert store._writer is not None
        store._writer.call(submit_all)
        book.durable(one)
        book.durable(three)
        assert isinstance(book.wait(two).error, Exception)
        assert failed
        assert store.run(OWNER, run_id(1)) is not None
    finally:
        store.close()


@pytest.mark.parametrize("done", [True, False])
def test_it_is_asked_for_until_there_is_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: bool) -> None:
    monkeypatch.setattr(Connection, "done", done)
    with Book(tmp_path) as book:
        book.until_quiet()
        Connection.failing, Connection.failing_questions = 1, 3
        book.durable(book.accept(run_id(1)))
        assert Connection.failing_questions == 0
