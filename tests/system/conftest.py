"""Fixtures of the system tests: a fresh jobd a test where it is hurt, one jobd for those of a file that only use it."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.system import container
from tests.system.clients import Clients
from tests.system.container import Unable
from tests.system.machine import ROOT, Machine, install
from tests.system.program import Impatient, Program
from tests.system.sshd import running_sshd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.system.sshd import Sshd


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a short name, wherever pytest's own directory is: the path of a socket has 107 bytes (unix(7))."""
    return tmp_path_factory.mktemp("t")


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


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """One jobd for those tests of a file that leave it as they found it, but for finished jobs.

    Not for all files: which of them a worker has is not always the same, and two may have jobs of one name.
    """
    with Program(tmp_path_factory.mktemp("shared")) as program:
        yield program


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


# --- a machine with systemd ---------------------------------------------------------------------------------------
@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make install-system` puts in place, below a directory."""
    if why := container.missing():
        pytest.skip(why)
    stage = tmp_path_factory.mktemp("stage")
    try:
        install(stage)
    except Unable as e:
        pytest.skip(str(e))
    return stage


@pytest.fixture(scope="module")
def booted(stage: Path) -> Iterator[Machine]:
    """One for the tests of a module."""
    try:
        machine = Machine(stage, ROOT)
    except Unable as e:
        pytest.skip(str(e))
    try:
        machine.run("useradd", "--create-home", "--shell", "/bin/sh", "alice")
        said = machine.run(f"{ROOT}/scripts/install-system", "files").stdout
        assert said.startswith("installed; 'systemctl enable --now jobd' starts it.")
        yield machine
    finally:
        machine.close()


@pytest.fixture
def machine(booted: Machine) -> Iterator[Machine]:
    """The machine, with jobd running at the start and stopped at the end, without a job."""
    booted.run("systemctl", "start", "jobd.service")
    yield booted
    booted.run("systemctl", "stop", "jobd.socket", "jobd.service", check=False)  # the last test has removed them
    booted.run("systemctl", "reset-failed")
    shutil.rmtree(booted.path("/var/lib/jobd"))
