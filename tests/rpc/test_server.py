"""Connections that come too fast or bring their bytes too slowly."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from jobd.rpc.access import Access
from jobd.rpc.connection import BODY_SEC, HELLO_SEC, Connection
from jobd.rpc.server import Server
from jobd.rpc.serving import failure
from jobd.rpc.shares import TURN
from jobd.wire import codec, errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from trio.testing import MockClock

ENDLESS = 2000  # more connections than are accepted in one turn


class Flood(socket.socket):
    """A listener at which somebody always waits, who is gone when he is accepted."""

    def __init__(self) -> None:
        super().__init__(socket.AF_UNIX)
        self.accepted = 0

    def accept(self) -> tuple[socket.socket, object]:
        self.accepted += 1
        assert self.accepted < ENDLESS, "nobody else gets a turn"
        ours, theirs = socket.socketpair()
        theirs.close()
        return ours, ""


async def test_a_flood_of_connections_does_not_starve_those_that_are_there() -> None:
    server = Server(None, Access())  # type: ignore[arg-type]  # nobody gets as far as a request
    with Flood() as listener:
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve)
            await nursery.start(server.accept, listener)
            while listener.accepted < ENDLESS // 2:
                await trio.lowlevel.checkpoint()
            assert server.connections < ENDLESS // 4  # those that left were seen to
            nursery.cancel_scope.cancel()
    assert server.connections == 0


@pytest.mark.parametrize("hello", [True, False])
async def test_a_frame_has_no_more_time_for_coming_byte_by_byte(autojump_clock: MockClock, hello: bool) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    within = HELLO_SEC if hello else float("inf")
    with ours, theirs:
        async with trio.open_nursery() as nursery:

            async def drip() -> None:
                theirs.sendall(b"\0\0\1\0")
                while True:
                    await trio.sleep(BODY_SEC * 0.3)
                    theirs.sendall(b".")

            nursery.start_soon(drip)
            with pytest.raises(codec.ProtocolError, match=f"within {BODY_SEC:g} s"):
                await Connection(ours).read_body(first_within=within)
            assert autojump_clock.current_time() == pytest.approx(BODY_SEC)
            nursery.cancel_scope.cancel()


async def test_a_hello_that_never_begins(autojump_clock: MockClock) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        with pytest.raises(codec.ProtocolError, match="a hello did not come within 5 s"):
            await Connection(ours).read_body(first_within=HELLO_SEC)
        assert autojump_clock.current_time() == pytest.approx(HELLO_SEC)


# --- leaving ----------------------------------------------------------------------------------------------------
@asynccontextmanager
async def listening(path: Path) -> AsyncIterator[Server]:
    """A server on a socket of its own."""
    server = Server(None, Access())  # type: ignore[arg-type]  # nobody gets as far as a request
    with listen(path) as listener:
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve)
            await nursery.start(server.accept, listener)
            await trio.testing.wait_all_tasks_blocked()
            yield server
            nursery.cancel_scope.cancel()


def listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


def connect(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    try:
        client.connect(str(path))
    except BaseException:
        client.close()
        raise
    return client


async def test_a_flood_of_what_has_no_answer_does_not_starve_others(tmp_path: Path) -> None:
    flood = codec.encode(m.Hello(version=m.PROTOCOL_VERSION, software="test 0"))
    flood += codec.encode(m.Cancel(id=1, request=2)) * ENDLESS
    async with listening(tmp_path / "s") as server:
        with connect(tmp_path / "s") as client:
            client.settimeout(20)
            client.sendall(flood)
            client.shutdown(socket.SHUT_WR)
            turns = 0
            while not server.connections:
                await trio.lowlevel.checkpoint()
            while server.connections:
                await trio.lowlevel.checkpoint()
                turns += 1
        assert turns >= ENDLESS / TURN


async def test_the_door_shuts_for_good_when_nobody_is_there(tmp_path: Path) -> None:
    async with listening(tmp_path / "s") as server:
        assert server.close_door()
        with pytest.raises(ConnectionRefusedError):
            connect(tmp_path / "s")
        await trio.testing.wait_all_tasks_blocked()  # and nothing spins over the dead listener


async def test_the_door_stays_open_for_those_who_are_there(tmp_path: Path) -> None:
    async with listening(tmp_path / "s") as server:
        with connect(tmp_path / "s"):
            await trio.testing.wait_all_tasks_blocked()
            assert server.connections == 1
            assert not server.close_door()
            connect(tmp_path / "s").close()


async def test_who_waits_in_the_backlog_as_the_door_shuts_is_served(tmp_path: Path) -> None:
    async with listening(tmp_path / "s") as server:
        # Nothing runs between this and the closing, so these two are in the backlog.
        with connect(tmp_path / "s") as first, connect(tmp_path / "s") as second:
            assert not server.close_door()
            assert server.connections == 2
            with pytest.raises(ConnectionRefusedError):
                connect(tmp_path / "s")
            os.unlink(tmp_path / "s")
            with listen(tmp_path / "s") as fresh, connect(tmp_path / "s") as third:
                server.replace_listener(fresh)
                for client in (first, second, third):
                    client.settimeout(20)
                    client.sendall(codec.encode(m.Hello(version=m.PROTOCOL_VERSION, software="test 0")))
                    await trio.testing.wait_all_tasks_blocked()
                    assert b"hello" in client.recv(1000)


async def test_clients_are_told_of_a_shutdown(tmp_path: Path) -> None:
    async with listening(tmp_path / "s") as server:
        with connect(tmp_path / "s") as client:
            await trio.testing.wait_all_tasks_blocked()
            server.say_goodbye()
            client.settimeout(20)
            answer = codec.decode_daemon(client.recv(1000)[4:])
    assert answer == m.Fault(code="unavailable", message="jobd has been shut down")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.EMFILE, "Too many open files"), errors.LIMIT),
        (ExceptionGroup("from tasks", [OSError(errno.ENFILE, "Too many open files in system")]), errors.LIMIT),
        (ValueError("x"), errors.INTERNAL),
        (OSError(errno.EIO, "Input/output error"), errors.INTERNAL),
    ],
)
def test_a_shortage_is_no_bug_of_ours(error: Exception, code: str) -> None:
    assert failure(m.DaemonStatus(id=1), error)[0] == code
