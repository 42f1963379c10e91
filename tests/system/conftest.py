"""Fixtures of the system tests: a fresh jobd a test where it is hurt, one jobd for all tests that only use it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.system.clients import Clients
from tests.system.program import Impatient, Program
from tests.system.sshd import running_sshd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.system.sshd import Sshd


@pytest.fixture
def jobd(tmp_path: Path) -> Iterator[Program]:
    """A jobd of this test's own. It is ended, and nothing it started may be left."""
    program = Program(tmp_path)
    try:
        program.start()
        yield program
    finally:
        program.close()


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Program]:
    """The same, whose keeper does not wait long for its daemon."""
    program = Impatient(tmp_path)
    try:
        program.start()
        yield program
    finally:
        program.close()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """One jobd for all tests that leave it as they found it, but for finished jobs."""
    program = Program(tmp_path_factory.mktemp("shared"))
    try:
        program.start()
        yield program
    finally:
        program.close()


@pytest.fixture(scope="session")
def far() -> Iterator[Sshd]:
    """A host to reach by ssh, for all tests that leave it as they found it; they skip where there can be none."""
    with running_sshd() as made:
        yield made


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A job name of this test's own."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", request.node.name)[-64:].strip("-.")


@pytest.fixture
def clients(shared: Program) -> Iterator[Clients]:
    """Starts jobctl on pipes, for the shared jobd."""
    made = Clients(shared)
    yield made
    made.close()
