"""Whether a logout would end a user's own daemon, by every way a distribution has it."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from types import SimpleNamespace

import pytest

from jobd.runtime import logout

MANAGER = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-r1.scope\n"
SESSION = "0::/user.slice/user-1000.slice/session-3.scope\n"
HYBRID = "5:memory:/user.slice\n1:name=systemd:/user.slice/user-1000.slice/session-c2.scope\n0::/user.slice\n"
DEBIAN = "[Login]\n#NAutoVTs=6\n#KillUserProcesses=no\n#KillExcludeUsers=root\n"
UPSTREAM = "[Login]\n#KillUserProcesses=yes\n#KillExcludeUsers=root\n"


@pytest.mark.parametrize(
    ("cgroup", "place"),
    [
        (MANAGER, "manager"),
        (SESSION, "session"),
        (HYBRID, "session"),
        ("0::/user.slice/user-1001.slice/user@1001.service/x.scope\n", ""),  # another user's: su
        ("0::/system.slice/cron.service\n", ""),
        ("0::/\n", ""),
        ("0::/docker/0123\n", ""),
        ("", ""),
    ],
)
def test_where(cgroup: str, place: str) -> None:
    assert logout.where(cgroup, 1000) == place


@pytest.mark.parametrize(
    ("place", "lingers", "conf", "says"),
    [
        ("manager", False, DEBIAN, "`loginctl enable-linger` lets them go on"),
        ("manager", True, UPSTREAM, ""),
        ("session", False, DEBIAN, ""),
        ("session", False, UPSTREAM, "`loginctl enable-linger`, followed by `jobctl shutdown`, lets them go on"),
        ("session", True, UPSTREAM, "started anew, after `jobctl shutdown`, jobd outlives that"),
        ("session", True, DEBIAN, ""),
        ("session", False, DEBIAN + "KillUserProcesses=yes\n", "enable-linger"),
        ("session", False, UPSTREAM + "KillUserProcesses = off\n", ""),
        ("session", False, UPSTREAM + "KillExcludeUsers=root alice\n", ""),
        ("session", False, UPSTREAM + "KillOnlyUsers=bob\n", ""),
        ("session", False, UPSTREAM + "KillOnlyUsers=bob alice\n", "enable-linger"),
        ("session", False, "", "enable-linger"),  # as systemd is built unless told otherwise
        ("", False, UPSTREAM, ""),
    ],
)
def test_words(place: str, lingers: bool, conf: str, says: str) -> None:
    text = logout.words(place, "alice", lingers=lingers, conf=logout.logind_settings([conf]))
    assert bool(text) == bool(says)
    assert says in text


def test_later_files_win_and_what_is_set_wins_over_how_it_was_built() -> None:
    found = logout.logind_settings([DEBIAN, "[Login]\nKillUserProcesses=yes\n", "#KillUserProcesses=no\n; x=y\n"])
    assert found["KillUserProcesses"] == "yes"
    assert found["KillExcludeUsers"] == "root"


def test_drop_ins_by_name_and_the_first_directory_hides_the_others(tmp_path: Path) -> None:
    first, second = tmp_path / "etc", tmp_path / "lib"
    for directory in (first, second):
        (directory / "logind.conf.d").mkdir(parents=True)
    (second / "logind.conf").write_text("main of lib")
    (second / "logind.conf.d/10-a.conf").write_text("hidden")
    (first / "logind.conf.d/10-a.conf").write_text("a")
    (second / "logind.conf.d/20-b.conf").write_text("b")
    (first / "logind.conf.d/30-c.txt").write_text("no drop-in")
    directories = (str(first), str(second))
    assert logout._conf_texts(directories) == ["main of lib", "a", "b"]
    (first / "logind.conf").write_text("main of etc")
    assert logout._conf_texts(directories) == ["main of etc", "a", "b"]
    assert logout._conf_texts((str(tmp_path / "none"),)) == []


@pytest.fixture
def alice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Somebody below her user's manager, who does not linger; her state directory."""
    (tmp_path / "linger").mkdir()
    (tmp_path / "state").mkdir()
    (tmp_path / "cgroup").write_text(MANAGER)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(pwd, "getpwuid", lambda _: SimpleNamespace(pw_name="alice"))
    monkeypatch.setattr(logout, "LINGER_DIR", str(tmp_path / "linger"))
    real = Path

    def path(name: str) -> Path:
        return real(tmp_path / "cgroup" if name == "/proc/self/cgroup" else name)

    monkeypatch.setattr(logout, "Path", path)
    return tmp_path / "state"


def test_hint_is_left_until_it_was_told(alice: Path) -> None:
    logout.leave_hint(alice)
    assert "enable-linger" in (alice / logout.HINT).read_text()
    (alice / logout.HINT).rename(alice / "logout-hint.told")
    logout.leave_hint(alice)
    assert not (alice / logout.HINT).exists()


def test_hint_goes_when_it_is_not_true_any_more_and_may_come_again(alice: Path) -> None:
    logout.leave_hint(alice)
    (alice.parent / "linger/alice").touch()
    (alice / "logout-hint.told").touch()
    logout.leave_hint(alice)
    assert list(alice.iterdir()) == []


def test_neither_root_nor_somebody_without_account_is_told(alice: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: int) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    logout.leave_hint(alice)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (alice.parent / "cgroup").write_text(MANAGER.replace("1000", "0"))
    logout.leave_hint(alice)
    assert list(alice.iterdir()) == []
