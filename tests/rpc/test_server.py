"""Connections that come too fast or bring their bytes too slowly."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio

from jobd.rpc.access import Access
from jobd.rpc.connection import BODY_SEC, HELLO_SEC, Connection
from jobd.rpc.server import Server
from jobd.wire import codec

if TYPE_CHECKING:
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
