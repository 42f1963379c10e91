from __future__ import annotations

import os
from typing import TYPE_CHECKING

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
