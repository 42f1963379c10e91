"""What a service manager is told, and when."""

from __future__ import annotations

import errno
import os
import re
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, NoReturn, cast

import pytest

from jobd.keeper import notify
from jobd.keeper.notify import Notifier
from jobd.keeper.shutdown import Shutdown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jobd.keeper.link import Message
    from jobd.keeper.loop import Keeper

EXTEND = b"EXTEND_TIMEOUT_USEC=30000000"


class Manager:
    """The socket of one."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.sock.bind("\0" + path[1:] if path.startswith("@") else path)

    def heard(self) -> list[bytes]:
        """What it was told since the last time."""
        said = []
        while True:
            try:
                said.append(self.sock.recv(4096))
            except BlockingIOError:
                return said


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify") if request.param == "path" else f"@jobd-test-{os.getpid()}")
    yield manager
    manager.sock.close()


def test_the_environment_says_whom_to_tell_and_does_not_go_on_to_children() -> None:
    environment = {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid()), "A": "b"}
    notifier = Notifier.from_environment(environment)
    assert (notifier.path, notifier.watchdog_sec, environment) == ("/run/n", 2.0, {"A": "b"})
    assert notifier.present
    assert Notifier.from_environment({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}).watchdog_sec == 0
    assert Notifier.from_environment({"WATCHDOG_USEC": "soon"}).watchdog_sec == 0
    assert not Notifier.from_environment({}).present


def test_a_life(manager: Manager) -> None:
    notifier = Notifier(manager.path, watchdog_sec=30)
    now = notifier._born
    assert notifier.tick(now, 0, hopeless=False) == now + notify.EXTEND_EVERY_SEC
    assert manager.heard() == []
    notifier.tick(now + 5, 0, hopeless=False)
    assert manager.heard() == [b"WATCHDOG=1\n" + EXTEND]
    notifier.reloading()  # nothing is up yet: no reload either
    assert manager.heard() == []
    notifier.ready()
    notifier.ready()
    assert manager.heard() == [b"READY=1"]
    assert notifier.tick(now + 6, 3, hopeless=False) == now + 16
    assert manager.heard() == [b"WATCHDOG=1\nSTATUS=3 runs"]
    notifier.tick(now + 11, 4, hopeless=False)
    assert manager.heard() == []
    notifier.tick(now + 16, 3, hopeless=False)
    assert manager.heard() == [b"WATCHDOG=1"]
    notifier.reloading()
    [said] = manager.heard()
    assert re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=\d+", said)
    notifier.ready()
    assert manager.heard() == [b"READY=1"]
    notifier.stopping()
    notifier.ready()
    assert manager.heard() == [b"STOPPING=1\n" + EXTEND]
    notifier.tick(now + 21, 1, hopeless=False)
    assert manager.heard() == [b"WATCHDOG=1\n" + EXTEND + b"\nSTATUS=1 run"]


@pytest.mark.parametrize(
    ("runs", "hopeless", "after_sec", "extended"),
    [
        (0, False, 1, False),
        (0, False, 5, True),
        (0, True, 5, False),
        (0, False, 601, False),
        (1, True, 601, True),
        (1, False, 0, True),
    ],
)
def test_a_start_is_given_up_only_when_it_costs_no_job(
    manager: Manager, runs: int, hopeless: bool, after_sec: int, extended: bool
) -> None:
    notifier = Notifier(manager.path)
    notifier.tick(notifier._born + after_sec, runs, hopeless)
    assert manager.heard() == ([EXTEND] if extended else [])


def test_without_a_manager_nothing_wakes_the_keeper() -> None:
    notifier = Notifier()
    notifier.ready()
    assert notifier.tick(0, 1, hopeless=False) is None


def test_a_manager_that_is_busy_is_told_later(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    notifier = Notifier(manager.path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as other:
        full = 0
        while full >= 0:
            try:
                other.sendto(b"x", manager.path)
                full += 1
            except BlockingIOError:
                break
        notifier.ready()
        assert notifier.tick(notifier._born, 0, hopeless=False) == notifier._born + notify.RETRY_SEC
        assert manager.heard().count(b"READY=1") == 0
    notifier.tick(notifier._born + 1, 0, hopeless=False)
    assert manager.heard()[0] == b"READY=1"
    manager.sock.close()


@pytest.mark.parametrize("number", [errno.ENFILE, errno.ENOMEM])
def test_over_a_shortage_the_manager_is_told_later(
    manager: Manager, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    notifier = Notifier(manager.path)
    with monkeypatch.context() as patch:
        patch.setattr(notify, "socket", refuse)
        notifier.ready()
        assert notifier.tick(notifier._born, 0, hopeless=False) == notifier._born + notify.RETRY_SEC
    notifier.tick(notifier._born + 1, 0, hopeless=False)
    assert manager.heard()[0] == b"READY=1"
    assert not notifier.error


def test_what_a_manager_cannot_be_told_keeps_no_daemon_from_being_told() -> None:
    """The keeper took that for a daemon that does not answer, and stopped the runs without their own timeouts."""

    def refuse() -> NoReturn:
        raise MemoryError

    said: list[Message] = []
    double = SimpleNamespace(table={}, log=lambda _: None, send=said.append, notifier=SimpleNamespace(stopping=refuse))
    double.daemon = SimpleNamespace(ready=True)
    with pytest.raises(MemoryError):
        Shutdown(cast("Keeper", double)).begin("SIGTERM")
    assert said == [{"op": "shutdown", "why": "SIGTERM"}]


def test_a_manager_that_is_gone_is_one_line_in_the_log(tmp_path: Path) -> None:
    notifier = Notifier(str(tmp_path / "nobody"))
    notifier.ready()
    assert notifier.error == f"cannot tell {tmp_path}/nobody how jobd is: No such file or directory"
    assert notifier.tick(notifier._born, 0, hopeless=False) is not None


def test_the_next_code_of_the_same_process_goes_on(manager: Manager) -> None:
    notifier = Notifier(manager.path, 3.0)
    notifier.ready()
    again = Notifier.load(notifier.plain())
    assert (again.path, again.watchdog_sec, again.stage) == (manager.path, 3.0, notify.UP)
    manager.heard()
    again.tick(again._born, 0, hopeless=False)
    assert manager.heard() == [b"WATCHDOG=1\nSTATUS=0 runs"]
    assert not Notifier.load(None).present
