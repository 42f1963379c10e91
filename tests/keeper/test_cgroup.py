"""Cgroups: where they are, and that none is left behind."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from jobd.keeper import cgroup, release
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


# --- a cgroup that a service manager has given us: with files, as no test may ask the kernel for controllers --------
@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that looks like a delegated cgroup in which we are."""
    unit = tmp_path / "jobd.service"
    for path in (unit, unit / "keeper"):
        path.mkdir()
        for name in ("cgroup.procs", "cgroup.subtree_control"):
            (path / name).write_text("")
    (unit / "cgroup.controllers").write_text("cpu io memory pids\n")
    monkeypatch.setattr(cgroup, "own_cgroup", lambda: str(unit))
    monkeypatch.setattr(os, "getxattr", lambda path, _: b"1" if path == str(unit) else b"0")
    return unit


def based(unit: Path) -> Cgroups:
    """The cgroups of a keeper there, with the file that a kernel would make."""
    cgroups = Cgroups(str(unit.parent / "state"))
    with open(cgroups.base + "/cgroup.procs", "w"), open(cgroups.base + "/cgroup.subtree_control", "w"):
        pass
    return Cgroups(str(unit.parent / "state"))


def test_keeper_and_daemon_live_beside_the_runs_which_get_controllers(unit: Path) -> None:
    written: list[tuple[str, str]] = []
    cgroups = based(unit)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cgroup, "write", lambda path, text: written.append((path, text)))
        assert cgroups.settle() == ""
    base = cgroups.base
    assert base.startswith(f"{unit}/jobd-")
    assert written == [
        (f"{unit}/keeper/cgroup.procs", "0"),
        *((f"{path}/cgroup.subtree_control", f"+{name}") for name in cgroup.CONTROLLERS for path in (unit, base)),
    ]
    (unit.parent / base / "cgroup.subtree_control").write_text("memory pids\n")
    assert cgroups.controllers == ["memory", "pids"]


def test_a_keeper_that_was_started_in_its_leaf_finds_the_same_runs(unit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = based(unit).base
    monkeypatch.setattr(cgroup, "own_cgroup", lambda: f"{unit}/keeper")
    again = Cgroups(str(unit.parent / "state"))
    assert again.base == base
    assert again.settle() == ""
    assert (unit / "keeper" / "cgroup.procs").read_text() == ""  # it is there already


def test_controllers_come_when_whoever_waits_in_the_unit_has_left(unit: Path) -> None:
    busy = True
    written: list[str] = []

    def write(path: str, text: str) -> None:
        if path == f"{unit}/cgroup.subtree_control" and busy:
            raise OSError(errno.EBUSY, "busy")
        written.append(text)

    cgroups = based(unit)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cgroup, "write", write)
        assert cgroups.settle() == ""
        assert written == ["0"]
        busy = False
        cgroups.tidy()
        assert written == ["0", *(f"+{name}" for name in cgroup.CONTROLLERS for _ in range(2))]
        cgroups.tidy()
        assert len(written) == 1 + 2 * len(cgroup.CONTROLLERS)


def test_a_keeper_that_may_not_move_says_so_and_goes_on(unit: Path) -> None:
    cgroups = based(unit)

    def write(*_: str) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cgroup, "write", write)
        assert "cannot move to" in cgroups.settle()
    assert cgroups.usable


def test_what_nobody_has_given_us_is_left_as_it_is(unit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: str) -> bytes:
        raise OSError(errno.ENODATA, "No data available")

    monkeypatch.setattr(os, "getxattr", nothing)
    cgroups = based(unit)
    assert cgroups.settle() == ""
    assert (unit / "cgroup.subtree_control").read_text() == ""


def test_between_two_keepers_the_controllers_are_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = tmp_path / "jobd.service"
    inner = unit / "jobd-1" / "run" / "made by the job"
    inner.mkdir(parents=True)
    for path in (inner.parent, inner.parent.parent, unit):
        (path / "cgroup.subtree_control").write_text("memory pids\n")
    off: list[str] = []
    monkeypatch.setattr(cgroup, "write", lambda path, text: off.append(f"{os.path.dirname(path)} {text}"))
    assert release.release(str(unit)) == []
    assert off == [
        f"{path} -{name}" for path in (inner.parent, inner.parent.parent, unit) for name in ("memory", "pids")
    ]
    monkeypatch.setattr(os, "getxattr", lambda path, _: b"1" if path == str(unit) else b"0")
    assert release.unit_of(f"{unit}/.control") == str(unit)
    assert release.unit_of("/") == ""
