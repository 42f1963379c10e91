"""A connection that never waits: what it sends is what the daemon reads, however the socket takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobctl.exits import ConnectionLostError, Fault
from jobd.wire import codec, errors, frames
from jobd.wire import messages as m

if TYPE_CHECKING:
    import socket

    from jobctl.foreground_link import Link


def requests(daemon: socket.socket, link: Link, count: int) -> list[m.FromClient]:
    """What was sent, the Hello left out."""
    buffer = frames.FrameBuffer()
    found: list[m.FromClient] = []
    while len(found) < count + 1:
        link.flush()
        buffer.feed(daemon.recv(10_000))
        while (body := buffer.next()) is not None:
            found.append(codec.decode_client(body))
    assert isinstance(found[0], m.Hello)
    return found[1:]


def test_requests_are_numbered_and_arrive(ends: tuple[Link, socket.socket]) -> None:
    link, daemon = ends
    run = bytes(16)
    assert [link.send({"type": "attach", "run": run}), link.send({"type": "wait", "runs": [run]})] == [1, 2]
    assert requests(daemon, link, 2) == [m.Attach(id=1, run=run), m.Wait(id=2, runs=[run])]


def test_an_input_of_any_size_arrives_whatever_the_socket_takes(ends: tuple[Link, socket.socket]) -> None:
    link, daemon = ends
    sizes = [0, 1, 255, 65_536, *[m.MAX_INPUT_BYTES] * 20]
    blocks = [bytes([n]) * size for n, size in enumerate(sizes)]
    at = 0
    for block in blocks:
        link.send_input(7, at, memoryview(block), eof=block is blocks[-1])
        at += len(block)
    assert not link.idle
    found = requests(daemon, link, len(sizes))
    assert link.idle
    offset = 0
    for n, (request, block) in enumerate(zip(found, blocks, strict=True)):
        assert isinstance(request, m.Input)
        assert (request.id, request.request, request.offset) == (n + 1, 7, offset)
        assert request.data == block
        assert request.eof == (n == len(sizes) - 1)
        offset += len(block)


def test_messages_come_whole_and_the_hello_is_seen_to(ends: tuple[Link, socket.socket]) -> None:
    link, daemon = ends
    end = codec.encode(m.End(id=3))
    data = codec.encode(m.Hello(version=1, software="x", uid=4)) + end + end
    assert not link.receive()
    for byte in data[:-1]:
        daemon.sendall(bytes([byte]))
        assert link.receive()
    assert link.next_message() == {"type": "end", "id": 3}
    assert (link.greeted, link.uid) == (True, 4)
    assert link.next_message() is None
    daemon.sendall(data[-1:])
    link.receive()
    assert link.next_message() == {"type": "end", "id": 3}


def test_a_daemons_last_words_are_heard_before_its_end(ends: tuple[Link, socket.socket]) -> None:
    link, daemon = ends
    daemon.sendall(codec.encode(m.Fault(code=errors.LIMIT, message="cannot serve more")))
    daemon.close()
    link.send({"type": "attach", "run": bytes(16)})
    link.receive()
    with pytest.raises(Fault, match="cannot serve more"):
        link.next_message()
    with pytest.raises(ConnectionLostError):
        link.receive()


def test_another_protocol_and_an_endless_frame_are_refused(ends: tuple[Link, socket.socket]) -> None:
    link, daemon = ends
    daemon.sendall(codec.encode(m.Hello(version=99, software="jobd 9")))
    link.receive()
    with pytest.raises(Fault, match="jobd 9: it speaks version 99"):
        link.next_message()
    daemon.sendall(b"\x7f\xff\xff\xff")
    link.receive()
    with pytest.raises(Fault, match="a frame of 2147483647 bytes"):
        link.next_message()


@pytest.mark.parametrize("said", [b"\0\0\0\5hello", b"\0\0\0\1\x80", b"\0\0\0\1\x90", b"\0\0\0\1\xc0"])
def test_what_is_no_jobd_is_said_to_be_none(ends: tuple[Link, socket.socket], said: bytes) -> None:
    link, daemon = ends
    daemon.sendall(said)
    link.receive()
    with pytest.raises(Fault, match=r"cannot understand what answers at .*: it is no jobd"):
        link.next_message()
