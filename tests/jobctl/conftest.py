"""A fake daemon for each test that asks for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.jobctl.fakes import FakeDaemon, Script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


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
