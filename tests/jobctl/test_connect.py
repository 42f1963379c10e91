"""Which daemon is spoken to, whom it may belong to, and starting the user's own."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from jobctl.connect import Target, open_target
from jobctl.exits import NoDaemonError
from jobd.core import paths
from jobd.wire import endpoint
from tests.jobctl.fakes import FakeDaemon, jobctl, table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.jobctl.fakes import Script

    Make = Callable[[Script], FakeDaemon]


def reached(target: Target) -> str:
    connection, path = open_target(target, start=False)
    connection.close()
    return path


@pytest.fixture
def places(daemon: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, FakeDaemon]:
    """A system's daemon, a user's and another, all fakes that belong to us."""
    made = {name: daemon(table()) for name in ("system", "user", "other")}
    monkeypatch.delenv("JOBD_SOCKET", raising=False)
    monkeypatch.setattr(paths, "SYSTEM_SOCKET", made["system"].path)
    place = paths.Paths(paths.USER, made["user"].path, str(tmp_path), str(tmp_path))
    monkeypatch.setattr(paths, "user_paths", lambda: place)
    return made


def test_the_order_of_daemons(places: dict[str, FakeDaemon], monkeypatch: pytest.MonkeyPatch) -> None:
    system, user, other = (places[name].path for name in ("system", "user", "other"))
    assert reached(Target()) == system
    assert reached(Target(paths.USER)) == user
    assert reached(Target("", other)) == other
    monkeypatch.setenv("JOBD_SOCKET", other)
    assert reached(Target()) == other
    assert reached(Target(paths.SYSTEM)) == system
    assert reached(Target(paths.USER)) == user
    monkeypatch.delenv("JOBD_SOCKET")
    os.unlink(system)
    assert reached(Target()) == user
    with pytest.raises(NoDaemonError, match="cannot connect to jobd at"):
        reached(Target(paths.SYSTEM))
    os.unlink(user)
    with pytest.raises(NoDaemonError, match="No such file"):
        reached(Target())


def test_once_found_it_is_reconnected_to_and_no_other(places: dict[str, FakeDaemon]) -> None:
    target = Target()
    assert reached(target) == places["system"].path
    os.unlink(places["system"].path)
    with pytest.raises(NoDaemonError, match="No such file"):
        reached(target)
    assert reached(Target()) == places["user"].path


def test_a_squatted_socket_is_not_spoken_to(places: dict[str, FakeDaemon], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "unpack", lambda *_: (1, os.geteuid() + 1, 1))
    for target in (Target(), Target(paths.SYSTEM)):
        with pytest.raises(NoDaemonError, match=f"cannot trust the daemon at .*user {os.geteuid() + 1}"):
            reached(target)
    assert all(fake.hellos == [] for fake in places.values())


def test_only_one_daemon_can_be_named() -> None:
    for line in (["--user", "--system"], ["--user", "--socket", "/s"]):
        result = jobctl("/s", "list", *line)
        assert result.returncode == 2
        assert b"only one of --user, --system and --socket" in result.stderr


STARTER = """#!/bin/sh
. "$0.settings"
echo "$@" >> "$LOG"
[ -z "$FAIL" ] || { echo "$FAIL" >&2; exit 1; }
mv "$AWAY" "$SOCKET"
"""


@pytest.fixture
def starter(daemon: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A stand-in for the interpreter that would start jobd: brings the socket back."""
    fake = daemon(table())
    os.rename(fake.path, fake.path + ".away")
    program = tmp_path / "python"
    program.write_text(STARTER)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(paths, "SYSTEM_SOCKET", str(tmp_path / "none"))
    place = paths.Paths(paths.USER, fake.path, str(tmp_path), str(tmp_path))
    monkeypatch.setattr(paths, "user_paths", lambda: place)
    settings = {"LOG": tmp_path / "log", "AWAY": fake.path + ".away", "SOCKET": fake.path, "FAIL": ""}
    (tmp_path / "python.settings").write_text("".join(f"{name}='{value}'\n" for name, value in settings.items()))
    for name in ("JOBD_SOCKET", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "log"


def test_the_users_own_daemon_is_started_when_needed(starter: Path) -> None:
    connection, _ = open_target(Target(), start=True)
    connection.close()
    assert starter.read_text() == "-I -m jobd --user --daemonize\n"


def test_it_is_not_started_where_another_is_meant(starter: Path) -> None:
    for target, start in ((Target(paths.SYSTEM), True), (Target("", "/nowhere"), True), (Target(), False)):
        with pytest.raises(NoDaemonError):
            open_target(target, start)
    assert not starter.exists()


def test_why_it_could_not_be_started_is_said(starter: Path) -> None:
    with (starter.parent / "python.settings").open("a") as settings:
        settings.write("FAIL='jobd: cannot start: cannot write /state: Read-only file system'\n")
    with pytest.raises(NoDaemonError, match="cannot start your daemon: cannot write /state: Read-only file system"):
        open_target(Target(), start=True)
    assert starter.exists()


def test_a_user_manager_gives_it_a_scope(starter: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "systemd").mkdir()
    (tmp_path / "systemd" / "private").touch()
    (tmp_path / "systemd-run").write_text(
        f'#!/bin/sh\necho scope >> "{starter}"\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n'
    )
    (tmp_path / "systemd-run").chmod(0o755)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path) + ":" + os.environ["PATH"])
    connection, _ = open_target(Target(paths.USER), start=True)
    connection.close()
    assert starter.read_text() == "scope\n-I -m jobd --user --daemonize\n"
