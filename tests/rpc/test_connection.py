"""What one connection, and all of one uid, may hold in memory; and clients that do not read, or only speak no more."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from jobd.rpc import door, shares
from jobd.rpc.connection import HELLO_BYTES, STALL_SEC, Connection, Gone
from jobd.rpc.door import Door
from jobd.rpc.shares import LARGE_AT_ONCE, MAX_UNSENT, Share
from jobd.wire import codec, errors, frames
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trio.testing import MockClock

ALICE = 61001
ANSWER = codec.encode(m.Reply(id=1, body=m.Ok()))


@contextmanager
def pair(share: Share | None = None) -> Iterator[tuple[Connection, socket.socket]]:
    """The daemon's end, and the client's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        yield Connection(ours, share or Share(ALICE)), theirs


def fill(connection: Connection) -> None:
    """Until nothing more goes to the client, whole frames only."""
    while not connection.try_send(ANSWER):
        pass


def received(client: socket.socket) -> bytes:
    data = b""
    while True:
        try:
            piece = client.recv(1 << 16)
        except BlockingIOError:
            return data
        if not piece:
            return data
        data += piece


async def test_a_hello_may_not_be_large() -> None:
    with pair() as (connection, client):
        client.sendall((HELLO_BYTES + 1).to_bytes(4, "big"))
        with pytest.raises(codec.ProtocolError, match=f"the largest is {HELLO_BYTES}"):
            await connection.read_body()


async def test_large_frames_of_one_uid_come_in_a_few_at_a_time() -> None:
    share, got = Share(ALICE), []
    body = b"x" * frames.MAX

    async def read(connection: Connection) -> None:
        connection.greeted()
        got.append(await connection.read_body())

    async def write(client: socket.socket, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[client.send(view) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(client)

    with pair(share) as (last, late):
        pairs = [pair(share) for _ in range(LARGE_AT_ONCE)]
        ends = [one.__enter__() for one in pairs]
        async with trio.open_nursery() as nursery:
            for connection, client in ends:
                nursery.start_soon(read, connection)
                client.sendall(frames.header(frames.MAX) + body[: 80 << 10])
            await wait_all_tasks_blocked()
            nursery.start_soon(read, last)
            nursery.start_soon(write, late, frames.pack(body))
            await wait_all_tasks_blocked()
            assert got == []  # all places are taken
            await write(ends[0][1], body[80 << 10 :])
            while len(got) < 2:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert got == [body, body]
        for one in pairs:
            one.__exit__(None, None, None)


async def test_who_asks_on_and_reads_nothing_is_dropped_after_a_minute(autojump_clock: MockClock) -> None:
    with pair() as (connection, client):
        fill(connection)
        client.sendall(b"more")
        with pytest.raises(Gone, match="no answer was read for 60 s"):
            await connection.send(ANSWER, held_back=True)
        assert autojump_clock.current_time() == pytest.approx(STALL_SEC)
        assert connection.share.unsent == 0
        data = received(client)
        buffer = frames.FrameBuffer()
        buffer.feed(data)
        answers = []
        while (body := buffer.next()) is not None:
            answers.append(codec.decode_daemon(body))
        assert isinstance(answers[-1], m.Fault)
        assert answers[-1].code == errors.LAGGED


async def test_who_asks_nothing_more_may_take_his_time(autojump_clock: MockClock) -> None:
    with pair() as (connection, client):
        fill(connection)
        async with trio.open_nursery() as nursery:

            async def answer() -> None:
                await connection.send(ANSWER, held_back=True)

            nursery.start_soon(answer)
            await trio.sleep(100 * STALL_SEC)
            assert received(client).endswith(ANSWER)
        assert autojump_clock.current_time() >= 100 * STALL_SEC


async def test_answers_that_nobody_reads_are_bounded_for_a_uid() -> None:
    share = Share(ALICE)
    with pair(share) as (connection, client):
        fill(connection)
        share.unsent = MAX_UNSENT  # on other connections of his
        with pytest.raises(Gone, match="wait for uid 61001 to read them"):
            await connection.send(ANSWER)
        assert share.unsent == MAX_UNSENT
        assert b"lagged" in received(client)
        assert client.recv(1) == b""


@pytest.mark.parametrize("half", [False, True])
async def test_a_hangup_is_told_from_a_client_that_only_speaks_no_more(half: bool) -> None:
    with pair() as (connection, client):
        if half:
            client.shutdown(socket.SHUT_WR)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.hung_up)
            await wait_all_tasks_blocked()
            assert nursery.child_tasks
            client.close()


async def test_without_descriptors_who_waits_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "PAUSE_SEC", 0)
    taken: list[socket.socket] = []
    turned_away: list[socket.socket] = []
    complaints: list[str] = []

    class Short(socket.socket):
        """Has no descriptor for whoever comes first."""

        def __init__(self) -> None:
            super().__init__(socket.AF_UNIX)
            self.short = True

        def accept(self) -> tuple[socket.socket, object]:
            if self.short:
                self.short = False
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return super().accept()

    here = Door(taken.append, turned_away.append, complaints.append)
    with Short() as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
            first.connect(str(tmp_path / "s"))
            second.connect(str(tmp_path / "s"))
            async with trio.open_nursery() as nursery:
                await nursery.start(here.accept, listener)
                while not taken:
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
    for sock in (*taken, *turned_away):
        sock.close()
    assert (len(taken), len(turned_away)) == (1, 1)
    assert complaints == ["cannot accept a connection: Too many open files"]


def test_bounds_are_what_the_manual_says() -> None:
    assert (HELLO_BYTES, STALL_SEC, MAX_UNSENT, shares.MAX_CONNECTIONS) == (32 << 10, 60, 16 << 20, 2048)
