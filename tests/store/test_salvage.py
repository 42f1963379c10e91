"""What moves on from a damaged database when rows of it are gone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from .helpers import OWNER, Book, assert_rows_equal_replay, run_id

if TYPE_CHECKING:
    from pathlib import Path


def damaged(state_dir: Path, *statements: str) -> None:
    with closing(sqlite3.connect(state_dir / "state.db", isolation_level=None)) as conn:
        for sql in (*statements, "DROP TABLE events"):
            conn.execute(sql)


def test_a_live_run_without_its_job_has_one_made_up(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        book.accept(run_id(1), "make-1")
        book.durable(book.accept(run_id(2), "make-2"))
        before = book.store.job(OWNER, "make-1")
        assert before is not None
    damaged(tmp_path, "DELETE FROM jobs WHERE job = 'make-1'")
    with Book(tmp_path) as book:
        assert [row.job for row in book.store.live_runs()] == ["make-1", "make-2"]
        found = book.store.job(OWNER, "make-1")
        assert found is not None
        assert (found.latest, found.runs, found.active, found.sub) == (run_id(1), 1, "activating", "queued")
        assert (found.spec, found.env) == (before.spec, before.env)
        assert_rows_equal_replay(book.store)


@pytest.mark.parametrize("name", ["", "-x", "ma\u0001ke", "x" * 65])
def test_a_run_of_no_name_is_left_behind(tmp_path: Path, name: str) -> None:
    with Book(tmp_path) as book:
        book.accept(run_id(1), "make-1")
        book.durable(book.accept(run_id(2), "make-2"))
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as conn:
        conn.execute("UPDATE runs SET job = ? WHERE number = 1 AND job = 'make-1'", (name,))
    damaged(tmp_path)
    with Book(tmp_path) as book:
        assert [row.job for row in book.store.live_runs()] == ["make-2"]
