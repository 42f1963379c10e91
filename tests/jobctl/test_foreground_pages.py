"""A flood passed on in its pages: the same bytes as by copying, wherever the connection is lost."""

from __future__ import annotations

import os
import random
import socket
from typing import TYPE_CHECKING

import pytest

from jobctl import foreground_pages as fp
from jobctl.foreground_feed import TAKEN, InputLostError
from jobctl.foreground_pages import PASS_AFTER_BYTES, Pages, PassingFeed
from jobctl.foreground_stdin import Stdin
from jobctl.logs_raw import widen_pipe

if TYPE_CHECKING:
    from collections.abc import Iterator

WINDOW = 4 << 20


@pytest.fixture(autouse=True)
def _pipes() -> None:
    try:
        Pages().close()
    except OSError as e:
        pytest.skip(f"no two large pipes for us now: {e}")


class Daemon:
    """Reads what is announced from one end of a connection; the feed writes to the other."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.theirs.setblocking(False)

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()

    def receive(self) -> bytes:
        found = b""
        try:
            while True:
                found += self.theirs.recv(1 << 20)
        except BlockingIOError:
            return found


class Rig:
    """A writer, our stdin, the feed, and a daemon that may be lost."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stdin: int, writer: int) -> None:
        self.stdin, self.writer = stdin, writer
        self.feed = PassingFeed()
        self.feed.attached(0, WINDOW, is_open=True)
        monkeypatch.setattr("jobctl.foreground_stdin.STDIN", stdin)
        self.reader = Stdin(self.feed, lambda _: None)
        self.daemon = Daemon()
        self.got = bytearray()

    def read(self, data: bytes) -> None:
        """`data` come on stdin, and are taken as far as there is room."""
        os.write(self.writer, data)
        while self.feed.room():
            try:
                self.reader.read()
            except BlockingIOError:
                return

    def send(self, at_most: int = 1 << 30) -> None:
        """Send what can be sent; of the last piece only `at_most` bytes."""
        while (piece := self.feed.next_piece()) is not None:
            offset, data, _ = piece
            if isinstance(data, Pages):
                data.announced, rest = min(at_most, data.announced), max(0, data.announced - at_most)
                while data:
                    data.send(self.daemon.ours.fileno())
                    self._take(self.daemon.receive(), offset)
                    offset = len(self.got)
                data.announced = rest
                if rest:
                    return
            else:
                self._take(bytes(data), offset)

    def _take(self, data: bytes, offset: int) -> None:
        new = data[len(self.got) - offset :]
        assert offset <= len(self.got)
        self.got += new

    def say(self, received: int | None = None) -> None:
        at = len(self.got) if received is None else received
        self.feed.fed(at, at + WINDOW, is_open=True, taken=False)

    def lose(self) -> None:
        """The connection is lost, and another one made."""
        self.daemon.close()
        self.daemon = Daemon()
        self.feed.attached(len(self.got), len(self.got) + WINDOW, is_open=True)

    def pass_on(self) -> bytes:
        """What it takes until pages are passed on."""
        data = random.Random(1).randbytes(PASS_AFTER_BYTES)
        for at in range(0, len(data), 64 << 10):
            self.read(data[at : at + (64 << 10)])
            self.send()
        self.say()
        assert self.feed.room()
        assert self.feed.passes
        return data


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    stdin, writer = os.pipe2(os.O_NONBLOCK)
    widen_pipe(writer)
    made = Rig(monkeypatch, stdin, writer)
    yield made
    made.daemon.close()
    made.feed.close()
    os.close(stdin)
    os.close(writer)


def test_a_flood_arrives_as_it_was_written(rig: Rig) -> None:
    data = rig.pass_on()
    source = random.Random(2)
    for _ in range(60):
        piece = source.randbytes(source.choice([1, 100, 4096, 65_537, 300_000, 1 << 20]))
        rig.read(piece)
        rig.send()
        rig.say()
        data += piece
    assert rig.feed.passes
    assert bytes(rig.got) == data


@pytest.mark.parametrize("sent", [0, 1, 5000, 1 << 30])
def test_what_was_not_safe_goes_out_again(rig: Rig, sent: int) -> None:
    data = rig.pass_on()
    source = random.Random(3)
    for safe in (0, 1, 77_777, 400_000):
        piece = source.randbytes(400_000)
        data += piece
        rig.read(piece)
        before = len(rig.got)
        rig.send(at_most=sent)
        del rig.got[min(len(rig.got), before + safe) :]  # the daemon was killed with the rest on its way
        rig.lose()
        assert not rig.feed.passes
        rig.read(b"more")
        data += b"more"
        rig.send()
        rig.say()
    assert bytes(rig.got) == data


def test_on_a_broken_connection_nothing_follows_half_a_frame(rig: Rig) -> None:
    """The link forgets what it was to send; that it is broken is found out later, by reading."""
    data = rig.pass_on()
    piece = random.Random(5).randbytes(600_000)
    rig.read(piece)
    assert rig.feed.next_piece() is not None
    assert rig.feed.next_piece() is None
    rig.lose()
    rig.send()
    assert bytes(rig.got) == data + piece


def test_after_a_loss_a_long_stream_is_passed_on_again(rig: Rig) -> None:
    data = rig.pass_on()
    rig.lose()
    data += rig.pass_on()
    assert bytes(rig.got) == data


def test_no_more_is_taken_than_can_be_kept(rig: Rig) -> None:
    rig.pass_on()
    at = len(rig.got)
    rig.read(bytes(1 << 20))
    rig.send()
    rig.read(bytes(1 << 20))
    rig.send()
    assert rig.feed.sent == at + (1 << 20)
    assert rig.feed.room() == 0
    rig.say(at + (256 << 10))
    rig.send()
    assert rig.feed.sent == at + (1 << 20) + (256 << 10)


def test_the_end_follows_the_last_byte(rig: Rig) -> None:
    rig.pass_on()
    os.write(rig.writer, b"last")
    os.close(rig.writer)
    rig.writer = os.dup(rig.stdin)
    assert rig.reader.read() == 4
    assert rig.reader.read() == 0
    rig.reader.finish()
    piece = rig.feed.next_piece()
    assert piece is not None
    assert piece[2]
    assert len(piece[1]) == 4


def test_small_pieces_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe is full of 256 of them, however small: a writer in packets is not to wait for each few KiB."""
    stdin, writer = os.pipe2(os.O_NONBLOCK | os.O_DIRECT)
    widen_pipe(writer)
    rig = Rig(monkeypatch, stdin, writer)
    data = rig.pass_on()
    for n in range(600):
        rig.read(b"%04d" % n)
        data += b"%04d" % n
        rig.send()
    assert not rig.feed.passes
    assert bytes(rig.got) == data
    rig.daemon.close()
    for fd in (stdin, writer):
        os.close(fd)


def test_where_there_is_no_tee_everything_is_copied(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise ImportError

    monkeypatch.setattr(fp, "_find_tee", none)
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(AssertionError):
        rig.pass_on()
    assert set(os.listdir("/proc/self/fd")) <= before
    rig.read(b"x")
    rig.send()
    assert len(rig.got) == PASS_AFTER_BYTES + 1


def test_who_has_lost_the_run_to_another_takes_nothing_more(rig: Rig) -> None:
    rig.pass_on()
    rig.feed.fed(len(rig.got), WINDOW, is_open=True, taken=True)
    assert rig.feed.state == TAKEN
    assert rig.feed.room() == 0


def test_a_daemon_that_has_less_than_it_said_is_found_out(rig: Rig) -> None:
    rig.pass_on()
    with pytest.raises(InputLostError):
        rig.feed.attached(5, WINDOW, is_open=True)
