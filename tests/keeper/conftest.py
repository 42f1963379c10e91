"""A real keeper for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobd.keeper.cgroup import own_cgroup
from tests.keeper.harness import KeeperProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def has_cgroups() -> bool:
    """Whether this machine lets us make cgroups."""
    import os

    own = own_cgroup()
    return bool(own) and os.access(own, os.W_OK)


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a short name, wherever pytest's own directory is: keepers have sockets in it."""
    return tmp_path_factory.mktemp("k")


@pytest.fixture(params=["process", "cgroup"])
def tracking(request: pytest.FixtureRequest) -> str:
    """Both ways to follow a tree."""
    if request.param == "cgroup" and not has_cgroups():
        pytest.skip("no writable cgroup v2 hierarchy here")
    return str(request.param)


@pytest.fixture
def keeper(tmp_path: Path, tracking: str) -> Iterator[KeeperProcess]:
    """A running keeper, once with each tracking."""
    with KeeperProcess(tmp_path, tracking) as keeper:
        yield keeper


@pytest.fixture
def plain_keeper(tmp_path: Path) -> Iterator[KeeperProcess]:
    """A running keeper for what has nothing to do with trees."""
    with KeeperProcess(tmp_path) as keeper:
        yield keeper
