"""An error of the disk while a damaged database is set aside: the writer finishes that, and nothing is lost."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from jobd.store import damage, writer
from jobd.store.change import write as real_write

from .helpers import OWNER, Book, run_id

if TYPE_CHECKING:
    from pathlib import Path

    from jobd.store.batch import Batch

STEPS = [*(f"rename {part or 'database'}" for part in damage.PARTS), "sync", "rename new", "sync new"]


class FailingDisk:
    """Fails a move at one of its steps, so many times."""

    def __init__(self, step: int, times: int) -> None:
        self.step, self.times = step, times
        self.done = 0
        self.rename, self.sync = os.rename, damage.sync_directory

    def _step(self) -> None:
        if self.done == self.step and self.times:
            self.times -= 1
            raise OSError(errno.EIO, "Input/output error")
        self.done += 1

    def fail_rename(self, source: Path, target: Path) -> None:
        self._step()
        assert not target.exists(), "written over"
        self.rename(source, target)

    def fail_sync(self, directory: Path) -> None:
        self._step()
        self.sync(directory)


def runs_in(path: Path) -> set[bytes]:
    with closing(sqlite3.connect(path)) as conn:
        return {run for (run,) in conn.execute("SELECT run FROM runs")}


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("step", range(len(STEPS)), ids=STEPS)
def test_it_is_finished_before_anything_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, times: int
) -> None:
    monkeypatch.setattr(writer, "RETRY_SEC", 0.001)
    failures = [found_error()]

    def write(conn: sqlite3.Connection, batches: list[Batch]) -> None:
        if batches[0].tag == ("accept", run_id(3)) and failures:
            raise failures.pop()
        real_write(conn, batches)

    monkeypatch.setattr(writer, "write", write)
    disk = FailingDisk(step, times)
    with Book(tmp_path) as book:
        book.accept(run_id(1))
        book.durable(book.finish(run_id(1)))
        book.durable(book.accept(run_id(2), "make-2"))
        session = sqlite3.connect(tmp_path / "state.db")  # so that there is a log to be moved
        assert session.execute("SELECT count(*) FROM runs").fetchone() == (2,)
        monkeypatch.setattr(os, "rename", disk.fail_rename)
        monkeypatch.setattr(damage, "sync_directory", disk.fail_sync)
        book.durable(book.accept(run_id(3), "make-3"))
        assert disk.times == 0
        assert disk.done >= len(STEPS) - step
        assert book.store.generation == 1, "who reads opens the new one"
        assert len(book.store.notices) == 1
        assert [run.run for run in book.store.live_runs()] == [run_id(2), run_id(3)]
        session.close()
    (aside,) = [path for path in tmp_path.iterdir() if ".damaged-" in path.name and path.name.endswith("Z")]
    with Book(tmp_path) as book:
        assert book.store.notices == []
        assert book.store.run(OWNER, run_id(3)) is not None
    assert runs_in(aside) == {run_id(1), run_id(2)}
    assert not (tmp_path / "state.db.moving").is_symlink()


def found_error() -> sqlite3.DatabaseError:
    """What we find ourselves: there is no second look."""
    error = sqlite3.DatabaseError("database disk image is malformed: an event cannot be read")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def test_what_has_come_after_it_is_not_moved(tmp_path: Path) -> None:
    """As if the link had come back, or its removal had failed."""
    path = tmp_path / "state.db"
    for name in ("state.db", "state.db-wal", "state.db.damaged-then"):
        (tmp_path / name).write_text(name)
    (tmp_path / "state.db.new").write_text("stale")
    (tmp_path / "state.db.moving").symlink_to("state.db.damaged-then")
    damage.finish_move(path)
    for name in ("state.db", "state.db-wal", "state.db.damaged-then"):
        assert (tmp_path / name).read_text() == name
    assert not (tmp_path / "state.db.moving").is_symlink()
