from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from jobd.core import paths

if TYPE_CHECKING:
    from pathlib import Path

UID = os.geteuid()


def test_system() -> None:
    found = paths.system_paths()
    assert (found.mode, found.socket) == ("system", "/run/jobd/jobd.sock")
    assert (found.state_dir, found.config_dir) == ("/var/lib/jobd", "/etc/jobd")


def test_user_with_a_runtime_directory(tmp_path: Path) -> None:
    environ = {"HOME": "/home/alice", "XDG_RUNTIME_DIR": f"{tmp_path}/"}
    found = paths.user_paths(environ, UID)
    assert found.mode == "user"
    assert found.socket == f"{tmp_path}/jobd/jobd.sock"
    assert found.state_dir == f"/home/alice/.local/state/jobd/{paths.machine_id()}"
    assert found.config_dir == "/home/alice/.config/jobd"


def test_xdg_directories_win_and_relative_ones_are_ignored(tmp_path: Path) -> None:
    environ = {"HOME": "/h", "XDG_RUNTIME_DIR": str(tmp_path), "XDG_STATE_HOME": "/s/", "XDG_CONFIG_HOME": "c"}
    found = paths.user_paths(environ, UID)
    assert found.state_dir.startswith("/s/jobd/")
    assert found.config_dir == "/h/.config/jobd"


def test_somebody_elses_or_missing_runtime_directory_is_not_used(tmp_path: Path) -> None:
    nobody = 4_000_000_000  # has no /run/user either
    assert paths.runtime_dir({"XDG_RUNTIME_DIR": str(tmp_path)}, nobody) == ""
    found = paths.user_paths({"HOME": "/h", "XDG_RUNTIME_DIR": str(tmp_path / "gone")}, nobody)
    assert found.socket == found.state_dir + "/run/jobd.sock"


def test_home_comes_from_passwd_when_not_set() -> None:
    assert paths.home_dir({}, 0) == "/root"
    assert paths.home_dir({"HOME": "relative"}, 0) == "/root"
    assert paths.home_dir({}, 4_000_000_000) == ""  # state goes below /, as for nobody's home


def test_explicit_paths_are_made_absolute() -> None:
    found = paths.socket_paths("s", "/d/../state", "c")
    assert (found.mode, found.socket) == ("socket", os.path.join(os.getcwd(), "s"))
    assert (found.state_dir, found.config_dir) == ("/state", os.path.join(os.getcwd(), "c"))


def test_machine_id_is_one_path_component() -> None:
    name = paths.machine_id()
    assert name
    assert "/" not in name
    assert not name.startswith(".")


@pytest.mark.parametrize(
    ("text", "used"),
    [
        ("0123456789abcdef0123456789abcdef\n", True),
        ("0123456789abcdef0123456789abcdef", True),
        ("", False),
        ("uninitialized\n", False),
        ("0" * 32 + "\n", False),
        ("0123456789ABCDEF0123456789abcdef\n", False),
        ("../../../../../../../../../../..", False),
        ("0123456789abcdef\n", False),
    ],
)
def test_machine_id_that_is_none_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, used: bool
) -> None:
    (tmp_path / "id").write_text(text)
    monkeypatch.setattr(paths, "MACHINE_ID_FILES", (str(tmp_path / "gone"), str(tmp_path / "id")))
    assert paths.machine_id() == (text.strip() if used else os.uname().nodename)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make another user's directory")
def test_root_makes_no_files_in_another_users_directories(tmp_path: Path) -> None:
    os.chown(tmp_path, 61001, 61001)
    theirs = {"HOME": str(tmp_path), "XDG_STATE_HOME": f"{tmp_path}/not/yet", "XDG_CONFIG_HOME": str(tmp_path)}
    found = paths.user_paths(theirs, 0)
    assert (found.state_dir, found.config_dir) == (
        f"/root/.local/state/jobd/{paths.machine_id()}",
        "/root/.config/jobd",
    )
    assert paths.user_paths(theirs, 61001).state_dir.startswith(f"{tmp_path}/not/yet/jobd/")
    assert paths.user_paths({"HOME": "/nowhere/at/all"}, 0).config_dir == "/nowhere/at/all/.config/jobd"
