"""The link: codec and sockets, whole, large, crowded, and with bytes that nobody agreed on."""

from __future__ import annotations

import errno
import os
import random
from _socket import AF_UNIX, SOCK_SEQPACKET, socketpair
from typing import TYPE_CHECKING

import pytest

from jobd.keeper.link import MAX_FDS, MAX_INLINE, Link, LinkClosed, LinkCodec, LinkError
from jobd.runtime.linkcodec import FastCodec
from jobd.wire.plainpack import packb

if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Iterator

CODECS = [LinkCodec(), FastCodec()]


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(params=CODECS, ids=["keeper", "daemon"])
def codec(request: pytest.FixtureRequest) -> LinkCodec:
    assert isinstance(request.param, LinkCodec)
    return request.param


@pytest.fixture(params=[(LinkCodec, FastCodec), (FastCodec, LinkCodec)], ids=["to the daemon", "to the keeper"])
def links(request: pytest.FixtureRequest) -> Iterator[tuple[Link, Link]]:
    ends = zip(socketpair(AF_UNIX, SOCK_SEQPACKET), request.param, strict=True)
    a, b = (Link(sock, codec=codec) for sock, codec in ends)
    yield a, b
    a.close()
    b.close()


def test_messages_of_one_flush_share_a_datagram(links: tuple[Link, Link]) -> None:
    a, b = links
    a.send({"op": "one", "run": b"\0\xff" * 8})
    a.send({"op": "two", "n": -(1 << 40), "list": [None, True, "ü", b"\0"]})
    assert a.flush()
    assert b.receive() == [
        ({"op": "one", "run": b"\0\xff" * 8}, {}),
        ({"op": "two", "n": -(1 << 40), "list": [None, True, "ü", b"\0"]}, {}),
    ]
    assert b.receive() == []


def test_descriptors_arrive_under_their_names_and_close_on_exec(links: tuple[Link, Link]) -> None:
    a, b = links
    reader, writer = os.pipe()
    a.send({"op": "x", "fds": ["in"]}, [reader])
    a.send({"op": "y", "fds": ["out", "again"]}, [writer, writer])
    os.close(reader)
    os.close(writer)
    assert a.flush()
    (_, first), (_, second) = b.receive()
    os.write(second["out"], b"hi")
    assert os.read(first["in"], 9) == b"hi"
    assert not any(os.get_inheritable(fd) for fd in (*first.values(), *second.values()))
    for fd in (*first.values(), *second.values()):
        os.close(fd)


def test_large_body_travels_as_a_memfd(links: tuple[Link, Link]) -> None:
    a, b = links
    before = open_fds()
    body = os.urandom(768 * 1024)
    null = os.open(os.devnull, os.O_RDONLY)
    a.send({"op": "small"})
    a.send({"op": "big", "data": body, "fds": ["stdin"]}, [null])
    os.close(null)
    assert a.flush()
    (small, _), (big, fds) = b.receive()
    assert small["op"] == "small"
    assert big["data"] == body
    os.close(fds["stdin"])
    assert open_fds() == before


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_bodies_around_the_inline_limit(links: tuple[Link, Link], extra: int) -> None:
    a, b = links
    overhead = len(packb([{"op": "x", "data": bytes(MAX_INLINE // 2)}])) - MAX_INLINE // 2
    data = bytes(MAX_INLINE - overhead + extra)
    a.send({"op": "x", "data": data})
    assert a.flush()
    assert b.receive() == [({"op": "x", "data": data}, {})]


def test_six_hundred_entries_go_in_datagrams_of_at_most_250_descriptors(codec: LinkCodec) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    names = ["pidfd", "out", "err"]
    chunks = [[{"run": bytes([i]) * 16, "fds": names} for _ in range(80)] for i in range(8)]
    items = [({"op": "entries", "entries": chunk, "last": False}, [null] * 240) for chunk in chunks]
    datagrams = codec.encode(items)
    assert len(datagrams) == 8
    assert all(len(fds) <= MAX_FDS for _, fds in datagrams)
    for data, _ in datagrams:
        copies = [os.dup(null) for _ in range(240)]
        ((message, fds),) = codec.decode(data, copies)
        entries = message["entries"]
        assert isinstance(entries, list)
        assert len(entries) == 80
        assert list(fds)[:4] == ["0.pidfd", "0.out", "0.err", "1.pidfd"]
        assert list(fds.values()) == copies
        for fd in copies:
            os.close(fd)
    os.close(null)


def test_a_full_link_never_blocks_and_loses_nothing(links: tuple[Link, Link]) -> None:
    a, b = links
    before = open_fds()
    null = os.open(os.devnull, os.O_RDONLY)
    for i in range(200):
        a.send({"op": "x", "i": i, "data": bytes(30_000), "fds": ["f"]}, [null])
        a.flush()
    os.close(null)
    assert a.unsent
    got: list[object] = []
    while len(got) < 200:
        for message, fds in b.receive():
            got.append(message["i"])
            os.close(fds["f"])
        a.flush()
    assert got == list(range(200))
    assert not a.unsent
    assert open_fds() == before


def test_the_other_end_closing_is_told_after_the_last_message(links: tuple[Link, Link]) -> None:
    a, b = links
    b.send({"op": "never read"})
    b.flush()
    a.send({"op": "last words"})
    a.flush()
    a.close()  # with something unread, which the kernel reports as a reset ahead of the last words
    assert b.receive() == [({"op": "last words"}, {})]
    with pytest.raises(LinkClosed):
        b.receive()
    b.send({"op": "to nobody"})
    assert b.flush()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        packb({"op": "x"}),
        packb([1]),
        packb([{}]),
        packb([{"op": 1}]),
        packb([{"op": "x", "fds": ["missing"]}]),
        packb([{"op": "x", "fds": 3}]),
        packb([{"op": "x", "entries": [1]}]),
        packb([{"op": "x", "entries": [{"fds": 1}]}]),
        packb({"op": "memfd"}),
        packb([{"op": "x"}])[:-1],
        packb([{"op": "x"}]) + b"\0",
    ],
)
def test_what_is_not_ours_raises(codec: LinkCodec, body: bytes) -> None:
    with pytest.raises(LinkError):
        codec.decode(body, [])


@pytest.mark.parametrize("body", [packb([{"op": "x", "fds": ["a", "a"]}]), packb([{"op": "x"}]), b"junk"])
def test_refused_datagrams_leak_no_descriptor(codec: LinkCodec, body: bytes) -> None:
    before = open_fds()
    with pytest.raises(LinkError):
        codec.decode(body, [os.dup(0), os.dup(0)])
    assert open_fds() == before


def test_a_memfd_that_is_no_file_raises(codec: LinkCodec) -> None:
    reader, writer = os.pipe()
    os.close(writer)
    with pytest.raises(LinkError):
        codec.decode(packb({"op": "memfd"}), [reader])
    with pytest.raises(OSError, match="Bad file"):
        os.close(reader)


def test_hostile_bytes_decode_or_raise(codec: LinkCodec) -> None:
    chance = random.Random(7)
    sample = packb([{"op": "spawn", "run": bytes(16), "argv": [b"a", b"b"], "fds": ["x"], "entries": [{"fds": []}]}])
    for _ in range(3000):
        data = bytearray(sample)
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        fds = [os.dup(0)]
        try:
            messages = codec.decode(bytes(data), fds)
        except LinkError:
            continue
        assert [fd for _, own in messages for fd in own.values()] == fds
        os.close(fds[0])


def test_too_many_descriptors_in_one_message_are_refused(codec: LinkCodec) -> None:
    with pytest.raises(LinkError, match="cannot send 250 descriptors"):
        codec.encode([({"op": "x", "fds": ["f"] * 250}, [0] * 250)])


class Refusing:
    """A socket of which the next send or receive fails."""

    def __init__(self, sock: socket) -> None:
        self.sock = sock
        self.error = 0

    def __getattr__(self, name: str) -> object:
        if self.error and name in ("sendmsg", "recvmsg"):
            number, self.error = self.error, 0
            raise OSError(number, os.strerror(number))
        return getattr(self.sock, name)


@pytest.fixture
def refusing(links: tuple[Link, Link]) -> Refusing:
    """Of the first end."""
    found = Refusing(links[0].sock)
    links[0].sock = found  # type: ignore[assignment]
    return found


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.ENOBUFS, errno.ETOOMANYREFS, errno.EMFILE])
def test_what_a_shortage_keeps_from_being_sent_is_sent_later(
    links: tuple[Link, Link], refusing: Refusing, number: int
) -> None:
    a, b = links
    a.send({"op": "x"})
    refusing.error = number
    assert (a.flush(), a.crowded, a.unsent) == (False, True, True)
    assert (a.flush(), a.crowded, a.unsent) == (True, False, False)
    assert b.receive() == [({"op": "x"}, {})]


@pytest.mark.parametrize("name", ["memfd_create", "write"])
def test_what_finds_no_room_for_its_body_is_sent_later(
    links: tuple[Link, Link], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """All that waited with it was lost, and its descriptors were never closed."""
    a, b = links
    before, real, calls = open_fds(), getattr(os, name), list[int]()

    def second_fails(*args: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))
        return real(*args)

    monkeypatch.setattr(os, name, second_fails)
    a.send({"op": "exited", "fds": ["f"]}, [0])
    for op in ("one", "two"):
        a.send({"op": op, "data": bytes(MAX_INLINE)})
    assert (a.flush(), a.crowded, a.unsent) == (False, True, True)
    assert open_fds() == before + 1
    assert (a.flush(), a.crowded, a.unsent) == (True, False, False)
    got = [found for _ in range(3) for found in b.receive()]
    assert [message["op"] for message, _ in got] == ["exited", "one", "two"]
    os.close(got[0][1]["f"])
    assert open_fds() == before


def test_what_finds_no_room_holds_up_nothing_that_came_before(
    links: tuple[Link, Link], refusing: Refusing, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = links
    a.send({"op": "first"})
    refusing.error = errno.ENOBUFS
    a.flush()
    a.send({"op": "large", "data": bytes(MAX_INLINE)})
    with monkeypatch.context() as patch:
        patch.setattr(os, "memfd_create", lambda _: os.open("/nowhere", os.O_RDONLY))
        assert not a.flush()
    assert [message["op"] for message, _ in b.receive()] == ["first"]
    assert a.flush()


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.ENOBUFS])
def test_what_a_shortage_keeps_from_being_received_comes_later(
    links: tuple[Link, Link], refusing: Refusing, number: int
) -> None:
    a, b = links
    b.send({"op": "x"})
    b.flush()
    refusing.error = number
    assert a.receive() == []
    assert a.receive() == [({"op": "x"}, {})]


def test_an_end_that_nothing_can_be_sent_to_is_left(links: tuple[Link, Link], refusing: Refusing) -> None:
    a, _ = links
    a.send({"op": "x"})
    refusing.error = errno.EMSGSIZE
    assert not a.flush()
    assert a.broken
    for act in (a.flush, a.receive):
        with pytest.raises(LinkError):
            act()


def test_a_receive_that_fails_for_good_is_no_death_of_the_other_end(
    links: tuple[Link, Link], refusing: Refusing
) -> None:
    refusing.error = errno.EIO
    with pytest.raises(LinkError):
        links[0].receive()
