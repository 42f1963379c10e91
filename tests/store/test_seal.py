"""What SQLite does not see is said: a bit that flips in a value, and changes that are gone from the log."""

from __future__ import annotations

import os
import shutil
import sqlite3
from typing import TYPE_CHECKING

import pytest

from jobd.store import seal
from jobd.store.batch import StoreTooNew
from jobd.store.db import Store
from jobd.store.wal import SIZE_BYTES

from .helpers import OWNER, Book, run_id
from .test_damage import fill, overwrite, put_aside

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOT_AS_CLOSED = "the database is not as it was when it was closed: what it says of the past may be wrong"
FRAME = 24 + 4096


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        (old,) = file.read(1)
        overwrite(at, bytes([old ^ 1]))(path)


def test_one_bit_in_a_name_is_told_and_nothing_is_thrown_away(tmp_path: Path) -> None:
    fill(tmp_path)
    at = (tmp_path / "state.db").read_bytes().index(b"make-7")
    flip(tmp_path / "state.db", at)
    with Book(tmp_path) as book:
        book.until_quiet()
        assert book.store.notices == [NOT_AS_CLOSED]
        assert len(book.store.live_runs()) == 3
    assert put_aside(tmp_path) == []


def test_it_is_told_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(tmp_path, 3)
    overwrite(0, b"x" * 100)(tmp_path / "state.db")
    with Book(tmp_path):
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "set aside" in caplog.text


def test_what_was_closed_and_is_the_same_is_not_spoken_of(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    for number in range(2):
        with Book(tmp_path) as book:
            book.durable(book.accept(run_id(800 + number), "more"))
            assert book.store.notices == []
        assert (tmp_path / "state.db.seal").exists()
    with Book(tmp_path) as book:
        assert book.store.notices == []
        assert not (tmp_path / "state.db.seal").exists()  # from here on it may change
        book.durable(book.accept(run_id(900), "new"))
        (tmp_path / "copy").mkdir()
        for part in ("", "-wal", "-shm"):
            shutil.copy(tmp_path / f"state.db{part}", tmp_path / "copy")
    with Book(tmp_path / "copy") as book:  # as a kill would leave it
        assert book.store.notices == []
        assert book.store.run(OWNER, run_id(900)) is not None


def test_a_store_that_was_never_started_is_sealed_as_well(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    Store.open(tmp_path).close()
    assert (tmp_path / "state.db.seal").exists()
    store = Store.open(tmp_path)
    assert store.notices == []
    store.close()


def test_a_note_that_an_older_jobd_has_left_does_not_count(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    note = (tmp_path / "state.db.seal").read_bytes()
    with Book(tmp_path) as book:
        book.durable(book.accept(run_id(800), "more"))
    (tmp_path / "state.db.seal").write_bytes(note)
    with Book(tmp_path) as book:
        assert book.store.notices == []


@pytest.mark.parametrize("text", [b"", b"1 2 3", b"2 1 1 1", b"1 a b c\n", b"\xff" * 9, b"1 2 3 4 5", b"9" * 400])
def test_a_damaged_note_does_not_count(tmp_path: Path, text: bytes) -> None:
    fill(tmp_path, 3)
    (tmp_path / "state.db.seal").write_bytes(text)
    assert seal.look(tmp_path / "state.db") is None
    with Book(tmp_path) as book:
        assert book.store.notices == []
        assert not (tmp_path / "state.db.seal").exists()


def test_what_a_newer_jobd_has_noted_stays(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    conn = sqlite3.connect(tmp_path / "state.db")
    conn.execute("PRAGMA user_version = 9")
    conn.close()
    with pytest.raises(StoreTooNew):
        Store.open(tmp_path)
    assert (tmp_path / "state.db.seal").exists()


def test_what_somebody_has_open_is_not_sealed(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    (tmp_path / "state.db.seal").unlink()
    (tmp_path / "state.db-wal").touch()
    seal.apply(tmp_path / "state.db", 1)
    assert not (tmp_path / "state.db.seal").exists()


# --- the log ----------------------------------------------------------------------------------------------------------
def killed(tmp_path: Path, copy: Path, runs: int, first: int = 1000) -> int:
    """A copy of a database in use, as a kill leaves it, with `runs` runs in its log. Returns how many pages of it."""
    with Book(tmp_path) as book:
        for number in range(runs):
            book.durable(book.accept(run_id(first + number), f"new-{number}"))
        for part in ("-shm", "-wal", ""):
            shutil.copy(tmp_path / f"state.db{part}", copy)
    data = (copy / "state.db-wal").read_bytes()
    return next(n for n in range(len(data)) if data[32 + n * FRAME :][8:16] != data[16:24])


def bit(at: Callable[[int], int]) -> Callable[[Path, int], None]:
    return lambda log, frames: flip(log, at(frames))


HARMS: dict[str, Callable[[Path, int], None]] = {
    "header": bit(lambda _: 9),
    "first page": bit(lambda _: 32 + 24 + 100),
    "page in between": bit(lambda frames: 32 + frames // 2 * FRAME + 24 + 4000),
    "last page": bit(lambda frames: 32 + (frames - 1) * FRAME + 24 + 4000),
    "last page's head": bit(lambda frames: 32 + (frames - 1) * FRAME + 10),
    "last page's commit": bit(lambda frames: 32 + (frames - 1) * FRAME + 7),
    "cut": lambda log, frames: os.truncate(log, 32 + (frames - 1) * FRAME),
    "cut to nothing": lambda log, _: os.truncate(log, 0),
    "zeros": lambda log, _: overwrite(0, bytes(SIZE_BYTES))(log),
    "gone": lambda log, _: log.unlink(),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS.keys())
def test_changes_that_are_gone_from_the_log_are_told(tmp_path: Path, harm: Callable[[Path, int], None]) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    fill(tmp_path, 3)
    frames = killed(tmp_path, copy, 5)
    log = copy / "state.db-wal"
    harm(log, frames)
    left = log.read_bytes() if log.exists() else None
    with Book(copy) as book:
        (told,) = book.store.notices
        assert "the log of the database was damaged" in told
        assert book.store.run(OWNER, run_id(1004)) is None
        assert len(book.store.live_runs()) >= 3  # what was in the database before
        book.until_quiet()
        assert book.store.generation == 0
    if left:
        (kept,) = put_aside(copy)
        assert str(kept) in told
        assert kept.read_bytes().rstrip(b"\0") == left.rstrip(b"\0")
        assert kept.stat().st_mode & 0o777 == 0o600


def test_a_log_that_a_kill_has_left_is_whole(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    fill(tmp_path, 3)
    frames = killed(tmp_path, copy, 5)
    # A change that was under way: it is in the log, and nobody was told of it.
    half = (copy / "state.db-wal").read_bytes()[32:][: FRAME - 1000]
    overwrite(32 + frames * FRAME, half)(copy / "state.db-wal")
    with Book(copy) as book:
        assert book.store.notices == []
        assert book.store.run(OWNER, run_id(1004)) is not None


def test_an_index_of_an_earlier_boot_says_nothing_of_another_log(tmp_path: Path) -> None:
    first, later = tmp_path / "first", tmp_path / "later"
    first.mkdir()
    later.mkdir()
    fill(tmp_path, 3)
    killed(tmp_path, first, 5)
    killed(tmp_path, later, 2, 2000)
    shutil.copy(first / "state.db-shm", later)  # it was never synced
    with Book(later, boot_id="boot-2") as book:
        assert book.store.notices == []
