"""A socket that a service manager passes: taken when it is what clients come to, refused with the reason otherwise."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.keeper.harness import DAEMON, DEADLINE_SEC, KEEPER, KeeperProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

pytestmark = pytest.mark.slow

# Passes descriptor 3 as systemd does, and executes the keeper: the pid is this one.
PASS = """
import os, sys
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": sys.argv[1], "LISTEN_FDNAMES": "jobd.socket"}
os.execv(sys.executable, [sys.executable, "-I", "-c", *sys.argv[2:]])
"""


class Activated(KeeperProcess):
    """A keeper whose socket was made before it."""

    def __init__(self, directory: Path, count: str = "1") -> None:
        super().__init__(directory)
        self.count = count
        self.socket.parent.mkdir()
        self.sock: socket.socket | IO[bytes] = self.bound()

    def bound(self, kind: int = socket.SOCK_STREAM, listen: bool = True) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, kind)
        sock.bind(str(self.socket))
        if listen:
            sock.listen(16)
        return sock

    def start(self) -> subprocess.Popen[bytes]:
        def pass_on() -> None:
            os.dup2(self.sock.fileno(), 3)

        argv = [sys.executable, "-I", "-c", PASS, self.count, KEEPER]
        argv += [str(self.socket), str(self.state_dir), DAEMON, self._path]
        env = {**os.environ, "JOBD_TRACKING": "process"}
        with (self.directory / "log").open("ab") as log:
            process = subprocess.Popen(
                argv, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[3], preexec_fn=pass_on
            )
        self.processes.append(process)
        return process


def test_the_socket_stays_at_the_end_and_is_bound_anew_only_when_its_path_has_vanished(tmp_path: Path) -> None:
    keeper = Activated(tmp_path)
    inode = keeper.socket.stat().st_ino
    with keeper, socket.socket(socket.AF_UNIX) as client:
        daemon = keeper.daemon()
        welcome, fds = daemon.expect("welcome")
        assert welcome["activated"]
        assert not welcome["supervised"]
        client.connect(str(keeper.socket))
        assert select.select([fds["listener"]], [], [], DEADLINE_SEC)[0]
        assert b"LISTEN_" not in Path(f"/proc/{daemon.pid}/environ").read_bytes()
        for fd in fds.values():
            os.close(fd)
        daemon.send("ready")
        daemon.send("rebind")  # a daemon's wish, which goes for our own sockets alone
        os.kill(keeper.processes[0].pid, signal.SIGTERM)
        daemon.expect("shutdown")
        daemon.send("bye")
        daemon.kill()
        assert keeper.processes[0].wait(DEADLINE_SEC) == 0
        assert keeper.socket.stat().st_ino == inode
        keeper.start()
        daemon = keeper.ready_daemon()
        keeper.socket.unlink()
        keeper.start().wait(DEADLINE_SEC)  # refused, and the first looks at the path
        _, fds = daemon.expect("listener")
        client.close()
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(str(keeper.socket))
            assert select.select([fds["listener"]], [], [], DEADLINE_SEC)[0]
        os.close(fds["listener"])
    keeper.sock.close()


def test_a_daemon_that_was_made_to_wait_for_a_client_goes_on(tmp_path: Path) -> None:
    keeper = Activated(tmp_path)
    assert isinstance(keeper.sock, socket.socket)
    assert keeper.sock.getblocking()
    waiting = subprocess.Popen(
        [sys.executable, "-I", "-c", "import socket; socket.socket(fileno=0).accept()"], stdin=keeper.sock.fileno()
    )
    with keeper:
        keeper.ready_daemon()
        assert waiting.wait(DEADLINE_SEC) == 0
    keeper.sock.close()


def pair(_: Activated) -> socket.socket:
    ours, theirs = socket.socketpair()
    ours.close()
    return theirs


def elsewhere(keeper: Activated) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(keeper.socket) + "2")
    sock.listen()
    return sock


def abstract(keeper: Activated) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(f"\0jobd-test-{keeper.directory}")
    sock.listen()
    return sock


def internet(_: Activated) -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def datagrams(keeper: Activated) -> socket.socket:
    keeper.socket.unlink()
    return keeper.bound(socket.SOCK_DGRAM, listen=False)


def nothing(_: Activated) -> IO[bytes]:
    return Path(os.devnull).open("rb")


def deaf(keeper: Activated) -> socket.socket:
    keeper.socket.unlink()
    return keeper.bound(listen=False)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (pair, "is a connection, and does not listen (Accept=no)"),
        (deaf, "is a connection, and does not listen (Accept=no)"),
        (elsewhere, "listens on "),
        (abstract, "has no path; clients come to "),
        (internet, "is no Unix stream socket (ListenStream= with a path makes one)"),
        (datagrams, "is no Unix stream socket (ListenStream= with a path makes one)"),
        (nothing, "what was passed as descriptor 3 is no socket"),
    ],
)
def test_anything_else_is_refused(
    tmp_path: Path, make: Callable[[Activated], socket.socket | IO[bytes]], why: str
) -> None:
    keeper = Activated(tmp_path)
    with keeper.sock, make(keeper) as keeper.sock:
        assert keeper.start().wait(DEADLINE_SEC) == 1
    assert why in keeper.log
    keeper.__exit__(None, None, None)


def test_two_are_too_many(tmp_path: Path) -> None:
    keeper = Activated(tmp_path, count="2")
    with keeper.sock:
        assert keeper.start().wait(DEADLINE_SEC) == 1
    assert f"cannot start: 2 sockets were passed, and jobd takes one: {keeper.socket}" in keeper.log
    keeper.__exit__(None, None, None)


def test_what_was_passed_to_somebody_else_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", "1")
    monkeypatch.setenv("LISTEN_FDS", "1")
    with KeeperProcess(tmp_path) as keeper:
        assert not keeper.daemon().expect("welcome")[0]["activated"]
