"""The tables fit the records, and every old file still opens."""

from __future__ import annotations

import shutil
import sqlite3
from typing import TYPE_CHECKING

import pytest

from jobd.store import rows, schema

from .data import make
from .helpers import Book, assert_rows_equal_replay, run_id

if TYPE_CHECKING:
    from pathlib import Path

    from jobd.core.records import RunRow

OLD = sorted(make.HERE.glob("state-v*.db"))


def columns(conn: sqlite3.Connection, table: str) -> list[str]:
    return [name for (name,) in conn.execute("SELECT name FROM pragma_table_info(?)", (table,))]


def test_the_tables_have_the_records_fields(tmp_path: Path) -> None:
    conn = schema.open_database(tmp_path / "state.db")
    try:
        assert sorted(columns(conn, "runs")) == sorted([*rows.RUN_FIELDS, "tail"])
        assert sorted(columns(conn, "jobs")) == sorted([*rows.JOB_FIELDS, "event", "base", "suffix"])
        assert ", ".join(columns(conn, "events")) == rows.EVENT_COLUMNS
        assert conn.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
        assert conn.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert conn.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    finally:
        conn.close()


def test_there_is_an_old_file_of_every_version() -> None:
    assert [path.name for path in OLD] == [f"state-v{n + 1}.db" for n in range(schema.VERSION)]


@pytest.mark.parametrize("old", OLD, ids=lambda path: path.name)
def test_an_old_file_opens_with_everything_in_it(old: Path, tmp_path: Path) -> None:
    (tmp_path / "expected").mkdir()
    with Book(tmp_path / "expected") as model:
        expected = make.fill(model)
    shutil.copy(old, tmp_path / "state.db")
    with Book(tmp_path) as book:
        assert book.store.notices == []
        found: list[RunRow] = sorted(book.store.runs_page().rows, key=lambda row: row.seq)
        assert found == expected
        assert {(job.owner, job.job): job for job in book.store.jobs_page(every=True)} == model.jobs
        assert_rows_equal_replay(book.store)
        book.durable(book.accept(run_id(100), "new-1"))
        assert_rows_equal_replay(book.store)


def test_a_migration_that_fails_leaves_the_old_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.db"
    schema.open_database(path).close()
    broken = (*schema.MIGRATIONS, ("CREATE TABLE more (x)", "CREATE NONSENSE"))
    monkeypatch.setattr(schema, "MIGRATIONS", broken)
    monkeypatch.setattr(schema, "VERSION", len(broken))
    with pytest.raises(sqlite3.OperationalError, match="NONSENSE"):
        schema.open_database(path)
    monkeypatch.undo()
    conn = schema.open_database(path)
    assert columns(conn, "more") == []
    conn.close()


def test_the_end_of_an_id_is_a_range() -> None:
    assert rows.tail_of(bytes.fromhex("00000000000070008000000000000001")) == 0x10000000
    assert rows.tail_of(bytes.fromhex("0000000000007000800000001234abcd")) == 0xDCBA4321
