"""The keeper's own files where somebody else writes too, and what it opens for the daemon."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from jobd.keeper import files, kernel

if TYPE_CHECKING:
    from pathlib import Path

PLANTS = ("symlink", "dangling", "fifo", "hard link", "directory", "socket")

STRANGER = 61999


def plant(kind: str, path: Path, victim: Path) -> None:
    """What a daemon that was taken over might put in the place of a file of ours."""
    if kind == "symlink":
        path.symlink_to(victim)
    elif kind == "dangling":
        path.symlink_to(victim.parent / "made-by-root")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "hard link":
        path.hardlink_to(victim)
    elif kind == "directory":
        path.mkdir()
        (path / "in it").write_text("x")
    else:
        import socket

        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim"
    path.write_text("precious")
    return path


@pytest.mark.parametrize("kind", PLANTS)
def test_what_is_planted_is_neither_followed_nor_waited_for(tmp_path: Path, victim: Path, kind: str) -> None:
    path = tmp_path / "ours"
    plant(kind, path, victim)
    fd = files.open_own(str(path), os.O_RDWR)
    os.write(fd, b"mine")
    os.close(fd)
    assert files.read_own(str(path), 100) == b"mine"
    assert victim.read_text() == "precious"
    assert not (tmp_path / "made-by-root").exists()


@pytest.mark.parametrize("kind", PLANTS)
def test_a_file_is_replaced_whatever_is_in_its_place_or_beside_it(tmp_path: Path, victim: Path, kind: str) -> None:
    path = tmp_path / "ours"
    plant(kind, path, victim)
    plant(kind, tmp_path / "ours.new", victim)
    files.replace_own(str(path), b"whole")
    assert files.read_own(str(path), 100) == b"whole"
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("kind", [kind for kind in PLANTS if kind != "directory"])
def test_what_is_planted_is_not_read(tmp_path: Path, victim: Path, kind: str) -> None:
    path = tmp_path / "ours"
    plant(kind, path, victim)
    with pytest.raises(FileNotFoundError):
        files.read_own(str(path), 100)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's file")
def test_a_file_of_somebody_else_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "ours"
    path.write_text("theirs")
    os.chown(path, 61999, 61999)
    with pytest.raises(FileNotFoundError):
        files.read_own(str(path), 100)
    os.close(files.open_own(str(path), os.O_RDWR))
    assert (path.stat().st_uid, path.read_bytes()) == (0, b"")


def test_a_lock_with_a_second_name_is_left_alone(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "lock").hardlink_to(victim)
    with pytest.raises(OSError, match="hard link"):
        files.open_own(str(tmp_path / "lock"), os.O_RDWR, keep_linked=True)
    assert (tmp_path / "lock").read_text() == "precious"


# --- below a directory --------------------------------------------------------------------------------------------
@pytest.fixture
def config(tmp_path: Path, victim: Path) -> Path:
    directory = tmp_path / "config"
    (directory / "jobs").mkdir(parents=True)
    (directory / "jobd.toml").write_text("ok")
    (directory / "jobs" / "web.toml").write_text("web")
    (directory / "leaf").symlink_to(victim)
    (directory / "zero").symlink_to("/dev/zero")
    (directory / "parent").symlink_to(directory / "jobs")
    os.mkfifo(directory / "fifo")
    with (directory / "huge").open("wb") as file:
        file.truncate(10 << 30)  # sparse
    return directory


@pytest.fixture(params=["openat2", "by steps"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "by steps":
        monkeypatch.setattr(kernel, "open_beneath", kernel._walk)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(("path", "text"), [("jobd.toml", b"ok"), ("jobs/web.toml", b"web")])
def test_a_file_below_is_opened(config: Path, path: str, text: bytes) -> None:
    fd = files.open_below(str(config), path)
    assert os.read(fd, 100) == text
    os.close(fd)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("missing", errno.ENOENT),
        ("leaf", errno.ELOOP),
        ("zero", errno.ELOOP),
        ("parent/web.toml", errno.ELOOP),
        ("fifo", errno.EINVAL),
        ("jobs", errno.EISDIR),
        ("huge", errno.EFBIG),
        ("../victim", errno.EINVAL),
        ("jobs/../jobd.toml", errno.EINVAL),
        ("/etc/passwd", errno.EINVAL),
        ("", errno.EINVAL),
        ("jobs//web.toml", errno.EINVAL),
        ("jobd.toml\0x", errno.EINVAL),
    ],
)
def test_nothing_else_is(config: Path, path: str, number: int) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=r"\[Errno") as failed:
        files.open_below(str(config), path)
    if path == "parent/web.toml":
        assert failed.value.errno in (errno.ELOOP, errno.ENOTDIR)
    else:
        assert failed.value.errno == number
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's files")
@pytest.mark.parametrize("planted", ["link", "directory", "parent"])
def test_a_configuration_that_the_daemon_has_planted(tmp_path: Path, planted: str) -> None:
    """Where its directory is in the state directory, and was not there yet, the daemon can make one."""
    state, secret = tmp_path / "state", tmp_path / "secret"
    state.mkdir()
    secret.mkdir()
    (secret / "jobd.toml").write_text("of root's")
    where = state / "config"
    if planted == "link":
        where.symlink_to(secret)
        os.chown(where, STRANGER, STRANGER, follow_symlinks=False)
    elif planted == "parent":
        where.symlink_to(tmp_path)
        where = where / "secret"
    else:
        where.mkdir()
        os.chown(where, STRANGER, STRANGER)
        os.link(secret / "jobd.toml", where / "jobd.toml")
    with pytest.raises(OSError, match=r"\[Errno"):
        files.open_below(str(where), "jobd.toml", str(state))


def test_a_configuration_in_the_state_directory_that_is_ours(tmp_path: Path) -> None:
    (tmp_path / "config" / "jobs").mkdir(parents=True)
    (tmp_path / "config").chmod(0o755)
    (tmp_path / "config" / "jobs" / "web.toml").write_text("x")
    os.close(files.open_below(str(tmp_path / "config"), "jobs/web.toml", str(tmp_path)))
    (tmp_path / "config").chmod(0o775)
    with pytest.raises(PermissionError):
        files.open_below(str(tmp_path / "config"), "jobs/web.toml", str(tmp_path))
