"""What the keeper tells of job files: names a part at a time, whose the directory is, and no way out of it."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from jobd.config import Config
from jobd.core.paths import SYSTEM, Paths, job_roots, socket_paths
from jobd.keeper import configdirs
from jobd.keeper.configdirs import ConfigDirs

if TYPE_CHECKING:
    from pathlib import Path

    from jobd.keeper.link import Message


class Base:
    guarded = False


class FakeKeeper:
    def __init__(self, config: Config) -> None:
        self.config = config
        self.base = Base()
        self.sent: list[Message] = []
        self.texts: list[bytes] = []

    def send(self, message: Message, fds: list[int] | tuple[int, ...] = ()) -> None:
        self.sent.append(message)
        self.texts += [os.read(fd, 100) for fd in fds]


@pytest.fixture
def keeper(tmp_path: Path) -> FakeKeeper:
    jobs = tmp_path / "config" / "jobs"
    (jobs / "web.toml.d").mkdir(parents=True)
    for name in ("b.toml", "a.toml", "c.txt"):
        (jobs / name).write_text(name)
    (jobs / "link.toml").symlink_to("/etc/passwd")
    (jobs / "web.toml.d" / "more.toml").write_text("x")
    (tmp_path / "outside").mkdir()
    (jobs / "out.toml.d").symlink_to(tmp_path / "outside")
    return FakeKeeper(Config(socket_paths(str(tmp_path / "s"), str(tmp_path / "state"), str(tmp_path / "config"))))


def ask(keeper: FakeKeeper, **fields: object) -> Message:
    ConfigDirs(keeper).list({"op": "list-dir", "tag": 1, "path": "jobs", "after": "", **fields}, {})  # type: ignore[arg-type]  # a double
    return keeper.sent[-1]


def test_names_a_part_at_a_time(keeper: FakeKeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configdirs, "MAX_NAMES", 2)
    found: list[object] = []
    after = ""
    while True:
        answer = ask(keeper, after=after)
        assert (answer["errno"], answer["uid"], answer["gid"]) == (0, os.geteuid(), os.getegid())
        entries = answer["names"]
        assert isinstance(entries, list)
        found += entries
        if not answer["more"]:
            break
        after = entries[-1][0]
    assert found == [
        ["a.toml", False], ["b.toml", False], ["c.txt", False], ["link.toml", False], ["out.toml.d", False],
        ["web.toml.d", True],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "number"),
    [("jobs/none", errno.ENOENT), ("jobs/a.toml", errno.ENOTDIR), ("jobs/../..", errno.EINVAL), ("/etc", errno.EINVAL)],
)
def test_what_cannot_be_listed(keeper: FakeKeeper, path: str, number: int) -> None:
    answer = ask(keeper, path=path)
    assert (answer["errno"], answer["names"]) == (number, [])


def test_a_linked_directory_is_not_listed(keeper: FakeKeeper) -> None:
    assert ask(keeper, path="jobs/out.toml.d")["errno"] in (errno.ELOOP, errno.ENOTDIR)


def test_only_job_files_of_the_other_directories(
    keeper: FakeKeeper, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "lib" / "jobs").mkdir(parents=True)
    (tmp_path / "lib" / "jobs" / "web.toml").write_text("of lib")
    (tmp_path / "lib" / "secret").write_text("secret")
    monkeypatch.setattr("jobd.core.paths.SYSTEM_JOB_DIRS", (str(tmp_path / "lib"),))
    keeper.config.mode = SYSTEM
    assert ask(keeper, root=1)["names"] == [["web.toml", False]]
    dirs = ConfigDirs(keeper)  # type: ignore[arg-type]  # a double
    dirs.open({"op": "open", "tag": 1, "path": "jobs/web.toml", "root": 1}, {})
    assert keeper.texts == [b"of lib"]
    for root, path in ((1, "secret"), (2, "jobs/web.toml"), (-1, "jobs/web.toml")):
        with pytest.raises(AssertionError):
            dirs.open({"op": "open", "tag": 1, "path": path, "root": root}, {})


def test_the_roots() -> None:
    assert job_roots(SYSTEM, "/etc/jobd") == ("/etc/jobd", "/run/jobd", "/usr/lib/jobd")
    where = Paths("user", "/s", "/state", "/home/a/.config/jobd")
    assert job_roots(where.mode, where.config_dir) == ("/home/a/.config/jobd",)
