"""Several connections in one stream: each byte once, each reader for himself, and ends where they belong."""

from __future__ import annotations

import os
import socket
import struct
from select import POLLIN, POLLOUT, poll
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobctl import channels
from jobctl.channels import Channels, WireEndedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MANY_TURNS = 10_000


class Side:
    """One side of the stream, turned by hand."""

    def __init__(self, wire: socket.socket) -> None:
        self.wire = wire
        wire.setblocking(False)
        self.taken: list[tuple[int, int, bytes]] = []
        self.channels = Channels(wire.recv, lambda data: wire.sendmsg(data), lambda *words: self.taken.append(words))

    def add(self, number: int) -> socket.socket:
        """A new channel; whoever uses it gets the other end."""
        near, far = socket.socketpair()
        self.channels.add(number, far)
        near.setblocking(False)
        return near

    def turn(self) -> bool:
        """One turn without waiting; whether there was anything to do."""
        wanted = {self.wire.fileno(): POLLIN | (POLLOUT if self.channels.wants_to_send else 0)}
        self.channels.wants(wanted)
        poller = poll()
        for fd, events in wanted.items():
            poller.register(fd, events)
        ready = dict(poller.poll(0))
        if ready.get(self.wire.fileno(), 0) & POLLIN:
            self.channels.receive()
        self.channels.polled(ready)
        self.channels.flush()
        return bool(ready)


class Pair:
    def __init__(self) -> None:
        one, two = socket.socketpair()
        self.sides = Side(one), Side(two)
        self.socks: list[socket.socket] = [one, two]

    def channel(self, number: int) -> tuple[socket.socket, socket.socket]:
        ends = self.sides[0].add(number), self.sides[1].add(number)
        self.socks += ends
        return ends

    def turn(self) -> bool:
        one, two = self.sides
        return one.turn() | two.turn()

    def settle(self, done: Callable[[], bool] = lambda: False) -> None:
        """Until nothing is left to do; a stream that never rests is a busy loop."""
        for _ in range(MANY_TURNS):
            if not self.turn() or done():
                return
        raise AssertionError("it never rests")

    def close(self) -> None:
        for side in self.sides:
            side.channels.close()
        for sock in self.socks:
            sock.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.close()


def received(sock: socket.socket) -> bytes:
    """All that is there; a final b"END" stands for the end."""
    found = b""
    while True:
        try:
            piece = sock.recv(1 << 20)
        except BlockingIOError:
            return found
        except ConnectionResetError:  # closed with something unread
            piece = b""
        if not piece:
            return found + b"END"
        found += piece


def test_bytes_of_several_channels_both_ways(pair: Pair) -> None:
    ends = [pair.channel(number) for number in (1, 2, 70_000)]
    for i, (here, there) in enumerate(ends):
        here.send(b"up %d" % i)
        there.send(b"down %d" % i)
    pair.settle()
    for i, (here, there) in enumerate(ends):
        assert (received(there), received(here)) == (b"up %d" % i, b"down %d" % i)


def test_a_reader_who_stops_stops_his_channel_alone(pair: Pair) -> None:
    (here, _), (other, far) = pair.channel(1), pair.channel(2)
    sent = 0
    for _ in range(MANY_TURNS):
        try:
            sent += here.send(bytes(1 << 16))
        except BlockingIOError:
            if not pair.turn():
                break
    assert channels.WINDOW_BYTES <= sent < 2 * channels.WINDOW_BYTES  # what waits over there is bounded
    other.send(b"a key")
    pair.settle()
    assert received(far) == b"a key"


def test_an_end_of_sending_is_one_and_no_more(pair: Pair) -> None:
    here, there = pair.channel(1)
    here.send(b"all of it")
    here.shutdown(socket.SHUT_WR)
    pair.settle()
    assert received(there) == b"all of itEND"
    there.send(b"the answer")
    pair.settle()
    assert received(here) == b"the answer"
    there.close()
    pair.settle()
    assert received(here) == b"END"
    assert [len(side.channels) for side in pair.sides] == [0, 0]


def test_a_channel_that_is_closed_gives_all_it_had(pair: Pair) -> None:
    here, there = pair.channel(1)
    there.send(bytes(100_000))
    there.close()
    pair.settle()
    assert received(here) == bytes(100_000) + b"END"
    assert [len(side.channels) for side in pair.sides] == [0, 0]


def test_a_user_of_a_channel_who_goes_leaves_it_closed_over_there(pair: Pair) -> None:
    here, there = pair.channel(1)
    there.send(b"nobody reads this")
    here.close()
    pair.settle()
    assert received(there) == b"END"
    assert [len(side.channels) for side in pair.sides] == [0, 0]


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">BII", ord("D"), 1, channels.DATA_BYTES + 1),
        struct.pack(">BII", ord("Q"), 1, channels.WORDS_BYTES + 1),
        struct.pack(">BII", ord("X"), 1, 0),
        struct.pack(">BII", ord("R"), 1, 3) + b"abc",
        (struct.pack(">BII", ord("D"), 1, 1 << 16) + bytes(1 << 16)) * 40,
        struct.pack(">BII", ord("E"), 1, 0) + struct.pack(">BII", ord("D"), 1, 1) + b"x",
    ],
    ids=["long data", "long words", "unknown type", "short room", "more than there is room for", "data behind the end"],
)
def test_what_is_not_to_be_said_ends_it(pair: Pair, data: bytes) -> None:
    pair.channel(1)
    with pytest.raises(WireEndedError):
        pair.sides[0].channels.feed(data)


def test_frames_for_a_channel_that_is_gone_are_passed_over(pair: Pair) -> None:
    for kind, words in (("D", b"x"), ("E", b""), ("C", b""), ("R", b"\0\0\0\1")):
        pair.sides[0].channels.feed(struct.pack(">BII", ord(kind), 9, len(words)) + words)


def test_an_end_of_the_stream_is_one(pair: Pair) -> None:
    pair.socks[0].close()
    with pytest.raises(WireEndedError):
        pair.sides[1].channels.receive()


@settings(max_examples=50, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 3000), max_size=60), sizes=st.lists(st.integers(1, 100_000), min_size=1, max_size=4)
)
def test_frames_may_come_in_any_pieces(cuts: list[int], sizes: list[int]) -> None:
    pair = Pair()
    try:
        here, _ = pair.channel(1)
        payload = [os.urandom(size)[: channels.DATA_BYTES] for size in sizes]
        stream = b"".join(struct.pack(">BII", ord("D"), 1, len(each)) + each for each in payload)
        stream += struct.pack(">BII", ord("A"), 5, 2) + b"ok"
        at, found = 0, b""
        for cut in [*cuts, len(stream)]:
            pair.sides[0].channels.feed(stream[at : at + cut])
            at += cut
            found += received(here)
            pair.sides[0].turn()
        pair.sides[0].turn()
        assert found + received(here) == b"".join(payload)
        assert pair.sides[0].taken == [(ord("A"), 5, b"ok")]
    finally:
        pair.close()
