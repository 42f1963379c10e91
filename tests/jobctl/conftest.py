"""A fake daemon for each test that asks for one."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from jobctl.connect import Target
from jobctl.foreground_link import Link
from tests.jobctl.fakes import FakeDaemon, Script
from tests.jobctl.foreground_fakes import FakeRun, RunDaemon
from tests.terminals import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def editor(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does nothing, and no person is needed for."""
    monkeypatch.setenv("JOBD_EDITOR", "true")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Callable[[Script], FakeDaemon]]:
    """Makes fake daemons; they are closed, and their own failures raised, when the test is over."""
    made: list[FakeDaemon] = []

    def make(script: Script) -> FakeDaemon:
        directory = tmp_path / f"d{len(made)}"
        directory.mkdir()
        made.append(FakeDaemon(directory, script))
        return made[-1]

    yield make
    for fake in made:
        fake.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[FakeRun], RunDaemon]]:
    """Makes daemons of one run each; they are closed, and their own failures raised, when the test is over."""
    made: list[RunDaemon] = []

    def make(run: FakeRun) -> RunDaemon:
        made.append(RunDaemon(tmp_path, run))
        return made[-1]

    yield make
    for fake in made:
        fake.close()


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """A terminal; whatever is left at it when the test is over is killed."""
    with Terminal(rows=31, columns=99) as made:
        yield made


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[tuple[Link, socket.socket]]:
    """A link, and the daemon's end of it."""
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        link = Link(Target(socket=path), start=False)
        daemon, _ = listener.accept()
        daemon.settimeout(20)
        with daemon:
            yield link, daemon
        link.close()
