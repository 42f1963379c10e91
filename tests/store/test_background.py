"""Work in the background: what a disk in trouble interrupts is begun anew, and a look that fails blames no file."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING, cast

import pytest

from jobd.store import background
from jobd.store.background import Background
from jobd.store.batch import StoreError
from jobd.store.connections import Connections
from jobd.store.retention import Policy, Purge

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jobd.store.writer import Writer

DEADLINE_SEC = 30.0


class Writing:
    """A writer that notes what it is told."""

    generation = 0

    def __init__(self) -> None:
        self.damage: list[str] = []
        self.calls = 0
        self.called = threading.Event()

    def call(self, _: object) -> None:
        self.calls += 1
        self.called.set()

    def report_damage(self, text: str, _: int) -> bool:
        self.damage.append(text)
        return False


@pytest.fixture
def writer() -> Writing:
    return Writing()


@pytest.fixture
def work(tmp_path: Path, writer: Writing, monkeypatch: pytest.MonkeyPatch) -> Iterator[Background]:
    monkeypatch.setattr(background, "RETRY_SEC", 0.001)
    found = Background(tmp_path / "state.db", "boot", cast("Writer", writer), lambda: None, Connections())
    yield found
    found.stop()


def test_a_purge_that_the_disk_interrupts_is_begun_anew(work: Background, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []
    done = threading.Event()

    def steps(what: type[Purge], _: Policy, __: int) -> None:
        tries.append(what)
        if len(tries) < 3:
            raise StoreError("unable to open database file")
        done.set()

    monkeypatch.setattr(work, "_run_steps", steps)
    work.purge(1)
    assert done.wait(DEADLINE_SEC)
    assert tries == [Purge] * 3


@pytest.mark.parametrize(
    ("code", "text", "damage"),
    [
        (sqlite3.SQLITE_IOERR, "disk I/O error", []),
        (sqlite3.SQLITE_NOMEM, "out of memory", []),
        (sqlite3.SQLITE_INTERRUPT, "interrupted", []),  # the connections were closed
        (sqlite3.SQLITE_CORRUPT, "malformed", ["malformed"]),
    ],
)
def test_only_damage_is_reported_as_such(
    work: Background, writer: Writing, monkeypatch: pytest.MonkeyPatch, code: int, text: str, damage: list[str]
) -> None:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    errors = [error]

    class Look:
        def __init__(self, *_: object) -> None:
            pass

        def run(self) -> str:
            if errors:
                raise errors.pop()
            return ""

        def stop(self) -> None:
            pass

    monkeypatch.setattr(background, "Check", Look)
    work.check()
    if damage:
        while not writer.damage:
            assert work.busy() or writer.damage
    else:
        assert writer.called.wait(DEADLINE_SEC), "it looks again"
    assert writer.damage == damage
