"""What the kernel refuses for once ends neither the keeper nor a run that it has, and leaves no child untended."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from tests.keeper.harness import KEEPER, KeeperProcess, alive, close_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A keeper of which one call fails, when a file of its name is there: with the errno that is in it.
FAILING = """
import os, select, sys, _socket
def due(name):
    path = sys.argv[2] + "/../fail-" + name
    try:
        with open(path) as file:
            number, *stays = file.read().split()
        number = int(number)
        if not stays:
            os.unlink(path)
    except FileNotFoundError:
        return
    raise OSError(number, os.strerror(number))
def failing(name, real):
    def call(*args):
        due(name)
        return real(*args)
    return call
class Epoll:
    def __init__(self):
        real = self.real = os_epoll()
        self.poll, self.register = failing("poll", real.poll), failing("register", real.register)
        self.unregister, self.modify = real.unregister, real.modify
class Socket(_socket.socket):
    send, recv = failing("send", _socket.socket.send), failing("recv", _socket.socket.recv)
def pair(*args):
    ours, theirs = _socket.socketpair(*args)
    return Socket(*args, 0, ours.detach()), theirs
os_epoll, select.epoll, os.wait4 = select.epoll, Epoll, failing("wait4", os.wait4)
from jobd.keeper import spawn, tree
spawn.socketpair, tree.group_exists = pair, failing("look", tree.group_exists)
"""
FIRST, SECOND = b"\1" * 16, b"\2" * 16


@pytest.fixture
def keeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeeperProcess]:
    monkeypatch.setattr("tests.keeper.harness.KEEPER", FAILING + KEEPER)
    with KeeperProcess(tmp_path) as process:
        yield process


def fail(keeper: KeeperProcess, name: str, number: int, word: str = "") -> None:
    """Have the next call of this name fail, or ("stays") all of them."""
    fresh = keeper.directory / "fail"
    fresh.write_text(f"{number} {word}")
    fresh.rename(keeper.directory / f"fail-{name}")


def is_due(keeper: KeeperProcess, name: str) -> bool:
    return (keeper.directory / f"fail-{name}").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("poll", errno.ENOMEM),
        ("wait4", errno.ENOMEM),
        ("look", errno.ENFILE),  # at what it leaves
        ("recv", errno.ENOMEM),
        ("send", errno.ENOBUFS),
    ],
)
def test_a_call_that_fails_once_is_made_again(keeper: KeeperProcess, name: str, number: int) -> None:
    daemon = keeper.ready_daemon()
    assert daemon.spawn(FIRST, b"sh", b"-c", b"exit 7")[0]["op"] == "spawned"
    fail(keeper, name, number)
    daemon.send("go", run=FIRST)
    assert daemon.answer(FIRST, "execd", "exec-failed")[0]["op"] == "execd"
    assert daemon.expect("exited", run=FIRST)[0]["status"] == 7 << 8
    assert not is_due(keeper, name)
    assert alive(keeper.processes[0].pid)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "number", "op"), [("register", errno.ENOSPC, "spawn-failed"), ("send", errno.EIO, "exec-failed")]
)
def test_a_child_that_cannot_be_tended_never_runs(keeper: KeeperProcess, name: str, number: int, op: str) -> None:
    daemon = keeper.ready_daemon()
    mark = keeper.directory / "ran"
    fail(keeper, name, number)
    message, fds = daemon.spawn(FIRST, b"touch", os.fsencode(mark))
    close_all(fds)
    if message["op"] == "spawned":
        daemon.send("go", run=FIRST)
        message, _ = daemon.answer(FIRST, "execd", "exec-failed")
    assert message["op"] == op
    assert not is_due(keeper, name)
    daemon.start(SECOND, b"true")
    assert daemon.expect("exited", run=SECOND)[0]["status"] == 0
    assert not mark.exists()


@pytest.mark.slow
def test_what_fails_for_long_keeps_nothing_else_from_being_done(keeper: KeeperProcess) -> None:
    """An end that could not be looked at came before all answers, and before all that was due."""
    daemon = keeper.ready_daemon()
    close_all(daemon.start(FIRST, b"true")[1])
    close_all(daemon.start(SECOND, b"sleep", b"1000")[1])
    fail(keeper, "look", errno.ENFILE, "stays")
    daemon.send("kill-tree", run=SECOND, o="kill-1")
    keeper.wait_log("Too many open files in system")
    daemon.send("run-of", tag=7, pids=[1])
    assert daemon.expect("run-of", tag=7)[0]["runs"] == [None]
    (keeper.directory / "fail-look").unlink()
    assert daemon.expect("exited", run=SECOND)[0]["status"] == 9
    assert keeper.log.count("going on after an error") <= 2  # when it came, and in each later round
