"""A damaged database is set aside, whole, whenever it is found; live runs move on; the store works again."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from typing import TYPE_CHECKING

import pytest

from jobd.core.records import QUEUE_ADDED, QueueRow
from jobd.store import change, damage, schema
from jobd.store.batch import Batch, StoreError, StoreTooNew
from jobd.store.db import Store

from .helpers import BLOBS, DEADLINE_SEC, OWNER, Book, assert_rows_equal_replay, run_id

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


QUEUE = QueueRow(owner=OWNER, name="build", slots=4, created_at=5, state="paused")


def fill(state_dir: Path, runs: int = 40) -> None:
    """A closed database: finished runs, three that are queued, and a queue."""
    with Book(state_dir) as book:
        book.queue(QUEUE_ADDED, QUEUE)
        for n in range(runs):
            book.accept(run_id(n), f"make-{n}")
            last = book.finish(run_id(n))
        for n in range(runs, runs + 3):
            last = book.accept(run_id(n), f"make-{n}")
        book.durable(last)


def put_aside(state_dir: Path) -> list[Path]:
    return sorted(p for p in state_dir.iterdir() if ".damaged-" in p.name)


def overwrite(offset: int, data: bytes) -> Callable[[Path], None]:
    def harm(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(data)

    return harm


def cut(size: int) -> Callable[[Path], None]:
    def harm(path: Path) -> None:
        os.truncate(path, size)

    return harm


def drop_table(path: Path) -> None:
    conn = sqlite3.connect(path)
    conn.execute("DROP TABLE events")
    conn.commit()
    conn.close()


HARMS = {
    "header": overwrite(0, b"\0" * 100),
    "not a database": overwrite(0, b"hello, world: " * 300),
    "first page": overwrite(100, os.urandom(3996)),
    "cut in the first page": cut(1000),
    "cut after it": cut(4096),
    "no events table": drop_table,
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS.keys())
def test_damage_found_at_open(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    fill(tmp_path)
    harm(tmp_path / "state.db")
    before = (tmp_path / "state.db").read_bytes()
    with Book(tmp_path) as book:
        assert len(book.store.notices) == 1
        assert "was damaged" in book.store.notices[0]
        (aside,) = [p for p in put_aside(tmp_path) if not p.name.endswith(("-wal", "-shm"))]
        assert aside.read_bytes() == before
        assert str(aside) in book.store.notices[0]
        book.durable(book.accept(run_id(1000), "new"))
        assert_rows_equal_replay(book.store)
    with Book(tmp_path) as book:
        assert book.store.notices == []
        assert book.store.run(OWNER, run_id(1000)) is not None


def test_live_runs_and_their_jobs_move_on(tmp_path: Path) -> None:
    fill(tmp_path)
    drop_table(tmp_path / "state.db")
    with Book(tmp_path) as book:
        assert [r.run for r in book.store.live_runs()] == [run_id(n) for n in (40, 41, 42)]
        assert [j.job for j in book.store.jobs_page(every=True)] == ["make-40", "make-41", "make-42"]
        assert book.store.blob(BLOBS[0][0]) == BLOBS[0][1]
        assert "3 live runs and 3 jobs" in book.store.notices[0]
        assert book.store.queues() == [QUEUE]
        assert book.store.next_run_seq() == 44
        for row in book.store.live_runs():
            book.runs[row.run] = row
            job = book.store.job(OWNER, row.job)
            assert job is not None
            book.jobs[OWNER, row.job] = job
        book.durable(book.finish(run_id(41)))
        assert assert_rows_equal_replay(book.store) == (3, 3)


def test_two_damaged_databases_in_one_second_are_both_kept(tmp_path: Path) -> None:
    for _ in range(3):
        fill(tmp_path, 1)
        overwrite(0, b"x" * 100)(tmp_path / "state.db")
    Store.open(tmp_path).close()
    assert len([p for p in put_aside(tmp_path) if not p.name.endswith(("-wal", "-shm"))]) == 3


@pytest.mark.parametrize("parts", [0, 1, 2, 3])
def test_a_kill_in_the_exchange_loses_no_live_run(tmp_path: Path, parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)
    drop_table(tmp_path / "state.db")
    for part in damage.PARTS[:2]:
        (tmp_path / f"state.db{part}").touch()
    done: list[Path] = []

    def rename(source: Path, target: Path) -> None:
        if len(done) == parts:
            raise KeyboardInterrupt  # nothing of ours catches it: as good as a kill
        done.append(source)
        os.replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("os.rename", rename)
        with pytest.raises(KeyboardInterrupt):
            Store.open(tmp_path)
    with Book(tmp_path) as book:
        assert [r.run for r in book.store.live_runs()] == [run_id(n) for n in (40, 41, 42)]
        assert_rows_equal_replay(book.store)
    assert not (tmp_path / "state.db.new").exists()
    assert len([p for p in put_aside(tmp_path) if p.name.endswith("Z")]) == 1


@pytest.mark.parametrize("moved", [(), ("-wal",), ("-wal", "-shm"), ("-wal", "-shm", "")])
def test_a_move_that_a_kill_interrupted_is_finished(tmp_path: Path, moved: tuple[str, ...]) -> None:
    for part in damage.PARTS:
        (tmp_path / f"state.db{part}").write_text(part)
    (tmp_path / "state.db.moving").symlink_to("state.db.damaged-then")
    for part in moved:
        (tmp_path / f"state.db{part}").rename(tmp_path / f"state.db.damaged-then{part}")
    with Book(tmp_path) as book:
        book.durable(book.accept(run_id(1)))
        for part in damage.PARTS:
            assert (tmp_path / f"state.db.damaged-then{part}").read_text() == part
        assert not (tmp_path / "state.db.moving").is_symlink()


def harm_while_open(book: Book) -> None:
    """Overwrite every page but the first, in the file and in no cache."""
    path = book.store.state_dir / "state.db"
    conn = sqlite3.connect(path)
    conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    conn.close()
    size = path.stat().st_size
    overwrite(4096, b"\xff" * (size - 4096))(path)


def until_replaced(book: Book) -> None:
    deadline = time.monotonic() + DEADLINE_SEC
    while book.store.generation == 0:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_damage_found_by_the_first_read(tmp_path: Path) -> None:
    fill(tmp_path, 400)
    with Book(tmp_path) as book:
        book.durable(book.accept(run_id(2000), "new"))
        harm_while_open(book)
        for n in range(0, 400, 7):
            book.store.run(OWNER, run_id(n))
        until_replaced(book)
        assert len(book.store.notices) == 1
        assert book.store.run(OWNER, run_id(5)) is None
        book.durable(book.accept(run_id(2001), "newer"))
        assert put_aside(tmp_path)
        assert_rows_equal_replay(book.store)


def test_damage_found_by_a_write(tmp_path: Path) -> None:
    fill(tmp_path, 400)
    with Book(tmp_path) as book:
        harm_while_open(book)
        batches = [book.accept(run_id(n), f"new-{n}") for n in range(2000, 2040)]
        book.wait(batches[-1])
        assert [b.error for b in batches] == [None] * 40
        assert book.store.generation == 1
        assert [r.run for r in book.store.live_runs()] == [run_id(n) for n in range(2000, 2040)]
        assert_rows_equal_replay(book.store)


def test_a_new_boot_has_the_file_checked_in_the_background(tmp_path: Path) -> None:
    fill(tmp_path, 400)
    path = tmp_path / "state.db"
    conn = sqlite3.connect(path)
    (page,) = conn.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'runs_by_env'").fetchone()
    conn.close()
    overwrite((page - 1) * 4096 + 8, os.urandom(2000))(path)
    (tmp_path / "state.db.seal").unlink()  # as if it had not been closed
    with Book(tmp_path, boot_id="boot-1") as book:  # the same boot: nobody looks
        book.until_quiet()
        assert book.store.notices == []
    with Book(tmp_path, boot_id="boot-2") as book:  # and it was noted as it is
        book.until_quiet()
        assert book.store.generation == 1
        assert len(book.store.notices) == 1
        assert [r.run for r in book.store.live_runs()] == [run_id(n) for n in range(400, 403)]


def test_a_good_file_is_checked_once_a_boot(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    with Book(tmp_path, boot_id="boot-2") as book:
        book.until_quiet()
        assert book.store.last_boot_id == "boot-1"
    with Book(tmp_path, boot_id="boot-2") as book:
        assert book.store.last_boot_id == "boot-2"
        assert not book.store.busy_in_background()


def test_a_check_ends_when_the_store_closes(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    check = damage.Check(tmp_path / "state.db")
    stopper = threading.Thread(target=check.stop)
    stopper.start()
    stopper.join()
    assert check.run() == ""  # an interrupt before the start is forgotten by SQLite: the file is small, or is checked
    check.stop()  # and one after the end does no harm


def test_a_database_of_a_newer_jobd_is_left_alone(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    conn = sqlite3.connect(tmp_path / "state.db")
    conn.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    conn.close()
    before = (tmp_path / "state.db").read_bytes()
    with pytest.raises(StoreTooNew, match=r"^cannot open .*made by a newer jobd"):
        Store.open(tmp_path)
    assert (tmp_path / "state.db").read_bytes() == before
    assert put_aside(tmp_path) == []


@pytest.mark.slow
def test_random_harm_is_survived(tmp_path: Path) -> None:
    rng = random.Random(20261122)
    fill(tmp_path, 200)
    good = (tmp_path / "state.db").read_bytes()
    for case in range(30):
        state = tmp_path / str(case)
        state.mkdir()
        bad = bytearray(good)
        for _ in range(rng.choice((1, 20, 500))):
            bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        if case % 5 == 0:
            del bad[rng.randrange(len(bad)) :]
        (state / "state.db").write_bytes(bad)
        with Book(state, boot_id="boot-2") as book:
            batch = book.accept(run_id(5000), "after")
            book.until_quiet()
            book.wait(batch)
            assert batch.error is None, case
            row = book.store.run(OWNER, run_id(5000))
            assert row == batch.runs[0], case
            book.store.runs_page()
            book.store.jobs_page(every=True)


def test_a_blob_that_is_not_what_its_hash_says_is_damage(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    path = tmp_path / "state.db"
    overwrite(path.read_bytes().index(BLOBS[0][1]), b"A")(path)
    (tmp_path / "state.db.seal").unlink()
    with Book(tmp_path) as book:
        assert book.store.blob(BLOBS[0][0]) is None
        assert book.store.generation == 1
        assert "not what its hash says" in book.store.notices[0]
        assert len(book.store.live_runs()) == 3


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE queues SET slots = 'many'",
        "UPDATE runs SET exit_code = x'00'",
        "UPDATE jobs SET changed_at = 'now'",
        "UPDATE jobs SET runs = -1.5",
    ],
)
def test_values_of_other_types_are_not_taken_over(tmp_path: Path, sql: str) -> None:
    fill(tmp_path, 2)
    path = tmp_path / "state.db"
    conn = sqlite3.connect(path, isolation_level=None)
    conn.execute("PRAGMA writable_schema = ON")
    conn.execute("UPDATE sqlite_schema SET sql = replace(sql, ' NOT NULL', '') WHERE type = 'table'")
    conn.close()
    conn = sqlite3.connect(path, isolation_level=None)
    conn.execute(sql)
    conn.close()
    with Book(tmp_path) as book:  # its tables are not those of this schema
        assert len(book.store.notices) == 1
        book.durable(book.accept(run_id(1000), "new"))
        assert_rows_equal_replay(book.store)


def test_a_salvage_that_fails_leaves_an_empty_database_and_not_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, 2)
    drop_table(tmp_path / "state.db")

    def write(conn: sqlite3.Connection, batches: list[Batch]) -> None:
        if batches[0].runs:
            raise TypeError("a mistake of ours")
        change.write(conn, batches)

    monkeypatch.setattr("jobd.store.salvage.write", write)
    with Book(tmp_path) as book:
        assert "0 live runs and 0 jobs" in book.store.notices[0]
        assert "a mistake of ours" in caplog.text
        book.durable(book.accept(run_id(1000), "new"))


def test_damage_that_cannot_be_mended_ends_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, 2)
    with Book(tmp_path) as book:
        assert book.store._writer is not None
        monkeypatch.setattr(book.store._writer, "_begin_anew", None)  # not to be called: a mistake of ours
        began = time.monotonic()
        assert not book.store._writer.report_damage("hello", 0)
        assert time.monotonic() - began < 5  # it is answered, and nobody waits
        batch = book.wait(book.accept(run_id(1000), "new"))
        assert batch.error is not None


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE runs SET queue = x'00' WHERE number = 1",
        "UPDATE runs SET exit_code = 'none' WHERE state <> 'queued'",
    ],
)
def test_a_row_that_no_row_can_be_is_damage_when_it_is_read(tmp_path: Path, sql: str) -> None:
    with Book(tmp_path) as book:
        book.accept(run_id(1), "make-1")
        book.finish(run_id(1))
        book.durable(book.accept(run_id(2), "make-2"))
        assert book.store.runs_page().rows
        conn = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
        conn.execute(sql)
        conn.close()
        book.store.runs_page()
        assert book.store.generation == 1
        assert "no row can have" in book.store.notices[0]
        assert book.store.live_runs() is not None


@pytest.mark.parametrize("sql", ["UPDATE runs SET state = 'quuued'", "UPDATE runs SET number = x'00'"])
def test_a_sum_that_cannot_be_is_damage(tmp_path: Path, sql: str) -> None:
    def ask() -> tuple[object, ...]:
        return book.store.counts(), book.store.highest_number(OWNER, "make-1")

    with Book(tmp_path) as book:
        book.durable(book.accept(run_id(1), "make-1"))
        conn = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
        conn.execute(sql)
        conn.close()
        with pytest.raises(StoreError, match="cannot read"):
            ask()
        assert book.store.generation == 1
        assert ask()


@pytest.mark.parametrize("data", [b"", b"\x07", b"\x81\xa3ab", b"\x81\xa1\xff\x01", b"\x81\x81\x01\x01\x01", b"\xc1"])
def test_an_event_that_cannot_be_read_is_damage_and_not_for_good(tmp_path: Path, data: bytes) -> None:
    with Book(tmp_path) as book:
        book.accept(run_id(1), "make-1")
        book.durable(book.finish(run_id(1)))
        book.durable(book.accept(run_id(2), "make-2"))
        assert book.store.events_page()
        conn = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
        conn.execute("UPDATE events SET data = ? WHERE seq = 4", (data,))
        conn.close()
        with pytest.raises(StoreError, match="an event cannot be read"):
            book.store.events_page()
        assert "an event cannot be read" in book.store.notices[0]
        assert [event.kind for event in book.store.events_page()] == ["salvaged", "salvaged"]
