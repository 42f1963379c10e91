"""The log is at its full size from the start, and nothing of the database changes by that."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from jobd.store import wal

if TYPE_CHECKING:
    from pathlib import Path


def test_a_log_with_commits_in_it_keeps_them_and_those_to_come(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("CREATE TABLE t (n)")
    writer.execute("INSERT INTO t VALUES (1)")
    wal.grow(path)
    assert (tmp_path / "state.db-wal").stat().st_size == wal.SIZE_BYTES
    writer.execute("INSERT INTO t VALUES (2)")
    copies = {name: (tmp_path / name).read_bytes() for name in ("state.db", "state.db-wal")}
    writer.close()
    for name, data in copies.items():  # as after a kill: the log is read from its file alone
        (tmp_path / f"again-{name}").write_bytes(data)
    again = sqlite3.connect(tmp_path / "again-state.db")
    assert again.execute("SELECT n FROM t ORDER BY n").fetchall() == [(1,), (2,)]
    assert again.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    again.close()


def test_a_log_of_zeros_is_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    first = sqlite3.connect(path, isolation_level=None)
    first.execute("PRAGMA journal_mode = WAL")
    first.execute("CREATE TABLE t (n)")
    first.close()
    (tmp_path / "state.db-wal").write_bytes(bytes(wal.SIZE_BYTES))
    again = sqlite3.connect(path, isolation_level=None)
    again.execute("INSERT INTO t VALUES (3)")
    assert again.execute("SELECT n FROM t").fetchall() == [(3,)]
    again.close()


def test_without_a_log_nothing_is_made(tmp_path: Path) -> None:
    wal.grow(tmp_path / "state.db")
    assert list(tmp_path.iterdir()) == []
