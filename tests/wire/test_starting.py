"""What the user's own daemon is started with, and a user manager that fails, hangs or is not there."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from typing import TYPE_CHECKING

import pytest

from jobd.core import mounts
from jobd.wire import starting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Write = Callable[[str, str], None]

UID = os.geteuid()


# --- the environment --------------------------------------------------------------------------------------------
def test_environment_says_who_and_where_and_nothing_of_this_client(tmp_path: Path) -> None:
    kept = {
        "HOME": "/home/alice",
        "USER": "alice",
        "PATH": "/bin",
        "LANG": "C.UTF-8",
        "LC_MESSAGES": "de_DE.UTF-8",
        "TZ": "UTC",
        "XDG_STATE_HOME": "/s",
        "XDG_RUNTIME_DIR": str(tmp_path),
        "JOBD_IDLE_EXIT": "1min",
    }
    gone = {
        "AWS_SECRET_ACCESS_KEY": "x",
        "SSH_AUTH_SOCK": "/tmp/agent",
        "NOTIFY_SOCKET": "/run/notify",
        "LISTEN_FDS": "1",
        "INVOCATION_ID": "0",
        "JOBD_RUN": "1",
        "JOBD_JOB": "web",
        "JOBD_SOCKET": "/other",
        "TERM": "xterm",
        "XDG_SESSION_ID": "3",
        "LD_PRELOAD": "/x.so",
        "PWD": "/home/alice/secret",
    }
    assert starting.environment({**kept, **gone}, UID) == kept


def test_runtime_directory_is_the_users_own_or_none(tmp_path: Path) -> None:
    nobody = 4_000_000_000  # has no /run/user either
    assert starting.environment({"XDG_RUNTIME_DIR": str(tmp_path)}, nobody) == {}


# --- the ways ---------------------------------------------------------------------------------------------------
@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Programs in place of systemd-run and of the interpreter; a user manager seems to be there."""
    (tmp_path / "systemd").mkdir()
    (tmp_path / "systemd/private").touch()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))

    def program(name: str, text: str) -> None:
        path = tmp_path / name
        path.write_text(f'#!/bin/sh\necho {name} >> "{tmp_path}/log"\n{textwrap.dedent(text)}')
        path.chmod(0o755)

    program("python", "touch up")
    program("systemd-run", 'while [ "$1" != -- ]; do shift; done\nshift\nexec "$@"')
    monkeypatch.chdir(tmp_path)
    return program


def begin(path: Path) -> None:
    starting.start(str(path / "socket"), str(path / "state"), (path / "up").exists)


def log(path: Path) -> list[str]:
    return (path / "log").read_text().split()


@pytest.mark.usefixtures("write")
def test_scope_where_there_is_a_user_manager(tmp_path: Path) -> None:
    begin(tmp_path)
    assert log(tmp_path) == ["systemd-run", "python"]
    begin(tmp_path)
    assert log(tmp_path) == ["systemd-run", "python"]  # it is up


@pytest.mark.usefixtures("write")
def test_without_one_a_session_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "systemd/private").unlink()
    begin(tmp_path)
    assert log(tmp_path) == ["python"]


def test_user_manager_that_refuses(write: Write, tmp_path: Path) -> None:
    write("systemd-run", 'echo "Failed to start transient scope unit: Access denied" >&2; exit 1')
    begin(tmp_path)
    assert log(tmp_path) == ["systemd-run", "python"]


@pytest.mark.usefixtures("write")
def test_systemd_run_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "systemd-run").unlink()
    monkeypatch.setenv("PATH", "/nowhere")
    (tmp_path / "python").write_text(f"#!/bin/sh\n: > '{tmp_path}/up'")
    begin(tmp_path)


def test_user_manager_that_hangs(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "MANAGER_SEC", 0.3)
    write("systemd-run", "echo $$ > pid\nread x < never")
    os.mkfifo(tmp_path / "never")
    begun = time.monotonic()
    begin(tmp_path)
    assert time.monotonic() - begun < starting.READY_SEC  # it has not waited for all it would have for a jobd
    assert log(tmp_path) == ["systemd-run", "python"]
    assert not os.path.exists(f"/proc/{(tmp_path / 'pid').read_text().strip()}")


def test_slow_start_under_the_manager_is_not_cut_short(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "MANAGER_SEC", 0.2)
    write("python", "sleep 0.5; touch up")
    begin(tmp_path)
    assert log(tmp_path) == ["systemd-run", "python"]


def test_jobd_that_is_never_ready(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "systemd/private").unlink()
    monkeypatch.setattr(starting, "READY_SEC", 0.2)
    write("python", "read x < gate")
    os.mkfifo(tmp_path / "gate")
    with pytest.raises(starting.StartError, match=f"not ready after 0.2 s; see {tmp_path}/state/jobd.log"):
        begin(tmp_path)
    (tmp_path / "gate").write_text("go\n")
    assert log(tmp_path) == ["python"]  # and no second one beside it


def test_what_jobd_says_is_said_and_not_tried_again(write: Write, tmp_path: Path) -> None:
    write("python", 'echo "jobd: cannot start: the disk is full" >&2; exit 1')
    with pytest.raises(starting.StartError) as info:
        begin(tmp_path)
    assert str(info.value) == "cannot start your daemon: the disk is full"
    assert log(tmp_path) == ["systemd-run", "python"]


# --- the place --------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("write")
def test_state_on_a_network_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mountinfo").write_text(f"41 22 0:45 / {tmp_path} rw - nfs4 server:/home rw\n")
    monkeypatch.setattr(mounts, "MOUNTINFO", str(tmp_path / "mountinfo"))
    with pytest.raises(starting.StartError, match=r"cannot start your daemon: .*/state is on NFS \(nfs4\).*XDG_STATE"):
        begin(tmp_path)
    assert not (tmp_path / "log").exists()
    assert not (tmp_path / "state/start.lock").exists()
    monkeypatch.setenv(mounts.ANYWAY, "yes")
    begin(tmp_path)


@pytest.mark.usefixtures("write")
def test_lock_that_cannot_be_had_is_an_error_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(starting, "flock", refuse)
    with pytest.raises(starting.StartError, match=r"/state: Function not implemented; XDG_STATE_HOME can name"):
        begin(tmp_path)
