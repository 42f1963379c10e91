"""Cgroups: where they are, and that none is left behind."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from jobd.keeper import cgroup
from jobd.keeper.cgroup import Cgroups
from tests.keeper.conftest import has_cgroups

if TYPE_CHECKING:
    from pathlib import Path

RUN = b"\1" * 16


def test_without_a_parent_there_are_none(tmp_path: Path) -> None:
    assert not Cgroups(str(tmp_path), "").usable
    assert not Cgroups(str(tmp_path), str(tmp_path / "file" / "no" / "cgroup")).usable or os.geteuid() == 0


def test_the_environment_can_do_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cgroup.TRACKING_VARIABLE, "process")
    assert not Cgroups(str(tmp_path)).usable


@pytest.mark.skipif(not has_cgroups(), reason="no writable cgroup v2 hierarchy here")
def test_what_a_killed_keeper_left_is_removed(tmp_path: Path) -> None:
    first = Cgroups(str(tmp_path))
    path, fd = first.make(RUN)
    os.close(fd)
    os.mkdir(path + "/made by the job")
    again, fd = first.make(RUN)
    os.close(fd)
    assert again != path
    assert not cgroup.populated(path)
    assert list(cgroup.processes(path)) == []
    second = Cgroups(str(tmp_path))
    second.find_leftovers()
    assert not os.path.exists(path)
    assert not os.path.exists(again)
    second.close()
    assert not os.path.exists(second.base)
    third, fd = second.make(RUN)  # an administrator removed the directory of a keeper that lives
    os.close(fd)
    second.leave(third)
    second.close()
