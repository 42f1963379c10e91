"""Whose process the daemon is to be, and that it is."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

import pytest

from jobd import config as configuration
from jobd.config import Config, UsageError
from jobd.core import paths
from jobd.keeper import kernel, unprivileged
from jobd.keeper.sockets import StartError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has a user to give up")
PLACES = ("--socket", "/tmp/s", "--state-dir", "/tmp/d")


def entry(name: str, uid: int, gid: int) -> pwd.struct_passwd:
    return pwd.struct_passwd((name, "x", uid, gid, "", "/", "/bin/sh"))


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch) -> dict[str, pwd.struct_passwd]:
    """The passwd of a machine: name to entry."""
    found: dict[str, pwd.struct_passwd] = {"root": entry("root", 0, 0)}
    monkeypatch.setattr(pwd, "getpwnam", lambda name: found[name])
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: {one.pw_uid: one for one in found.values()}[uid])
    return found


def config(*, user: str = "", mode: str = paths.SYSTEM) -> Config:
    made = Config(paths.Paths(mode, "/s", "/d", "/c"))
    made.shared, made.daemon_user = mode != paths.USER, user
    return made


def test_the_account_is_taken_where_there_is_one(accounts: dict[str, pwd.struct_passwd]) -> None:
    made = config()
    assert "runs as root" in unprivileged.find(made)
    assert (made.daemon_uid, made.daemon_gid) == (0, 0)
    accounts["jobd"] = entry("jobd", 990, 991)
    assert unprivileged.find(made) == "the daemon runs as jobd (uid 990)"
    assert (made.daemon_uid, made.daemon_gid) == (990, 991)
    del accounts["jobd"]  # it vanishes
    unprivileged.find(made)
    assert unprivileged.user_of(made) is None


def test_who_may_be_named(accounts: dict[str, pwd.struct_passwd]) -> None:
    accounts["jobd"] = entry("jobd", 990, 991)
    accounts["other"] = entry("other", 7, 8)
    for word, uid, gid in (("root", 0, 0), ("0", 0, 0), ("other", 7, 8), ("7", 7, 8), ("61999", 61999, 61999)):
        made = config(user=word)
        unprivileged.find(made)
        assert (made.daemon_uid, made.daemon_gid) == (uid, gid), word
    made = config(mode=paths.SOCKET)
    assert unprivileged.find(made) == ""
    assert made.daemon_uid == 0, "only with --daemon-user"


@pytest.mark.parametrize("word", ["nobody-such", "0day", "-1", "4294967295", "65534", "rooted"])
def test_who_may_not(accounts: dict[str, pwd.struct_passwd], word: str) -> None:
    accounts["rooted"] = entry("rooted", 55, 0)  # root's group reads what root's eyes are for
    with pytest.raises(StartError, match="cannot start"):
        unprivileged.find(config(user=word))


def test_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    made = configuration.parse([*PLACES, "--daemon-user", "jobd"])
    assert isinstance(made, Config)
    assert made.daemon_user == "jobd"
    assert Config.load(made.plain()).daemon_user == "jobd"
    old = {name: value for name, value in made.plain().items() if not name.startswith("daemon_u")}
    assert Config.load(old).daemon_uid == 0, "a keeper of before went on"
    for words in (["--user", "--daemon-user", "jobd"], ["--daemon-user"]):
        with pytest.raises(UsageError):
            configuration.parse(words)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UsageError, match="root's"):
        configuration.parse([*PLACES, "--daemon-user", "jobd"])


def outcome(act: Callable[[], None]) -> int:
    """The exit status of a child: 0 when `act` returned, 13 when it was refused."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            act()
            status = 0
        except PermissionError:
            status = 13
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


USER = unprivileged.User(61999, 61998, "x", "/")


@only_root
def test_what_is_left_of_root() -> None:
    def act() -> None:
        unprivileged.become(USER)
        assert (os.getresuid(), os.getresgid(), os.getgroups()) == ((61999,) * 3, (61998,) * 3, [])
        assert not kernel.capabilities()
        with pytest.raises(PermissionError):
            os.setresuid(0, 0, 0)
        with pytest.raises(PermissionError):
            os.chown("/", 0, 0)

    assert outcome(act) == 0


@only_root
@pytest.mark.parametrize("call", ["setresuid", "setresgid"])
def test_a_call_that_does_nothing_is_seen(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    monkeypatch.setattr(os, call, lambda *_: None)
    assert outcome(lambda: unprivileged.become(USER)) == 13


def test_the_environment_is_not_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name in ("SECRET", "LANG", "LC_ALL", "TZ", "JOBD_LOG_LEVEL", "LD_PRELOAD", "PYTHONPATH", "HOME"):
        monkeypatch.setenv(name, "x")
    assert unprivileged.environment(USER) == {
        "LANG": "x", "LC_ALL": "x", "TZ": "x", "JOBD_LOG_LEVEL": "x", "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": "/", "USER": "x", "LOGNAME": "x",
    }  # fmt: skip


@only_root
def test_code_that_is_not_for_him(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o700)

    def act() -> None:
        places = ["/usr", str(tmp_path / "closed")]
        unprivileged.become(USER)
        assert unprivileged.unreadable(places) == str(tmp_path / "closed") or not os.access(tmp_path, os.X_OK)
        assert unprivileged.unreadable(["/usr"]) == ""

    assert outcome(act) == 0
