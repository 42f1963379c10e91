"""A sound database that SQLite calls malformed, as after a read that had failed: nothing is set aside for it."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from jobd.store import damage, trouble, writer
from jobd.store.change import write as real_write

from .helpers import OWNER, Book, run_id

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jobd.store.batch import Batch

MALFORMED = "database disk image is malformed"


def error(text: str, code: int) -> sqlite3.DatabaseError:
    found = sqlite3.DatabaseError(text)
    found.sqlite_errorcode = code
    return found


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has the next writes fail so."""
    failures: list[sqlite3.DatabaseError] = []

    def write(conn: sqlite3.Connection, batches: list[Batch]) -> None:
        if failures:
            raise failures.pop()
        real_write(conn, batches)

    def add(text: str, times: int = 1) -> None:
        failures.extend([error(text, sqlite3.SQLITE_CORRUPT)] * times)

    monkeypatch.setattr(writer, "write", write)
    return add


def aside(tmp_path: Path) -> list[str]:
    return [path.name for path in tmp_path.iterdir() if ".damaged-" in path.name]


def test_a_sound_file_is_opened_anew_and_the_change_is_made(tmp_path: Path, fail: Callable[..., None]) -> None:
    with Book(tmp_path) as book:
        book.durable(book.accept(run_id(1)))
        fail(MALFORMED)
        book.durable(book.accept(run_id(2)))
        assert book.store.generation == 1, "who reads takes a new connection, too"
        assert book.store.run(OWNER, run_id(1)) is not None
        assert book.store.run(OWNER, run_id(2)) is not None
    assert not aside(tmp_path)


@pytest.mark.parametrize("more", [0, 1])
def test_what_is_called_damaged_again_and_again_is(tmp_path: Path, fail: Callable[..., None], more: int) -> None:
    with Book(tmp_path) as book:
        book.durable(book.accept(run_id(1)))
        fail(MALFORMED, writer.MOST_LOOKS + more)
        book.durable(book.accept(run_id(2)))
    assert bool(aside(tmp_path)) is bool(more)


def test_a_look_that_failed_was_none(
    tmp_path: Path, fail: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "RETRY_SEC", 0.001)
    failures: list[sqlite3.DatabaseError] = []
    look = damage.Check.run

    def run(check: damage.Check) -> str:
        if failures:
            raise failures.pop()
        return look(check)

    monkeypatch.setattr(damage.Check, "run", run)
    with Book(tmp_path) as book:
        book.durable(book.accept(run_id(1)))
        book.until_quiet()
        failures.append(error("disk I/O error", sqlite3.SQLITE_IOERR))
        fail(MALFORMED, 2)
        book.durable(book.accept(run_id(2)))
        assert not failures
    assert not aside(tmp_path)


def test_what_we_have_found_ourselves_is_not_looked_at_again(tmp_path: Path, fail: Callable[..., None]) -> None:
    with Book(tmp_path) as book:
        book.durable(book.accept(run_id(1)))
        fail(f"{MALFORMED}: an event cannot be read")
        book.durable(book.accept(run_id(2)))
    assert aside(tmp_path)


@pytest.mark.parametrize(("code", "sound"), [(sqlite3.SQLITE_CORRUPT, False), (sqlite3.SQLITE_IOERR, None)])
def test_a_look_that_fails_says_damage_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, sound: bool | None
) -> None:
    def run(_: damage.Check) -> str:
        raise error("failed", code)

    monkeypatch.setattr(damage.Check, "run", run)
    with Book(tmp_path):
        if sound is None:
            with pytest.raises(sqlite3.DatabaseError):
                damage.is_sound(tmp_path / "state.db", MALFORMED)
        else:
            assert damage.is_sound(tmp_path / "state.db", MALFORMED) is sound


@pytest.mark.parametrize(
    ("text", "unread"),
    [
        ("Page 19: unable to get the page. error code=8458", True),  # SQLITE_IOERR_CORRUPTFS: what is said after an EIO
        (f"Page 19: unable to get the page. error code={sqlite3.SQLITE_IOERR_READ}", True),
        ("Page 19: unable to get the page. error code=7", True),
        ("Page 19: unable to get the page. error code=11", False),
        ("On tree page 47 cell 0: failed to get page 43", True),
        ("Main freelist: failed to get page 43", True),
        ("On tree page 47 cell 0: invalid page number 4300", False),
        ("On tree page 47 cell 0: 2nd reference to page 43", False),
        ("Failed to read ptrmap key=43", False),
    ],
)
def test_a_page_that_could_not_be_read_is_not_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, unread: bool
) -> None:

    class Connection:
        def execute(self, _: str) -> list[tuple[str]]:
            return [(text,)]

        def close(self) -> None:
            pass

    with Book(tmp_path) as book:
        book.until_quiet()
        check = damage.Check(tmp_path / "state.db")
        monkeypatch.setattr(check, "_conn", Connection())
        if unread:
            with pytest.raises(sqlite3.OperationalError, match=text) as caught:
                check.run()
            assert trouble.kind(caught.value) == "disk"
        else:
            assert check.run() == text
