"""Descriptors that output goes to: none of them makes us wait, and each says when nobody reads."""

from __future__ import annotations

import os
import signal
import socket
from select import POLLERR, POLLHUP, POLLNVAL
from typing import TYPE_CHECKING

import pytest

from jobctl.foreground_sink import GoneError, HangupError, Sink
from jobctl.terminal import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = memoryview(bytes(65_536))


@pytest.fixture(autouse=True)
def without_sigpipe() -> Iterator[None]:
    """As `Signals` has it."""
    before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGPIPE, before)


def fill(sink: Sink) -> int:
    """Write until no more is taken; how many bytes were. The kernel may soon make more room in a terminal."""
    total = 0
    while count := sink.write(BLOCK, 0):
        total += count
    return total


def pair(kind: str) -> tuple[int, int]:
    """A descriptor to read from, and one to write to."""
    if kind == "pipe":
        return os.pipe()
    if kind == "terminal":
        return os.openpty()
    one, other = socket.socketpair()
    return one.detach(), other.detach()


@pytest.mark.parametrize("kind", ["pipe", "socket", "terminal"])
def test_a_full_one_takes_nothing_and_does_not_wait(kind: str) -> None:
    read, write = pair(kind)
    sink = Sink(write)
    assert fill(sink) > 1_000
    assert not os.get_blocking(sink.fd) or os.get_blocking(write)
    assert os.get_blocking(write)  # the descriptor itself is shared with others, and stays as it was
    while os.read(read, 65_536) and not sink.ready():
        pass
    assert sink.write(memoryview(b"x"), 0) == 1
    sink.close()
    os.close(read)
    os.close(write)


@pytest.mark.parametrize(("kind", "error"), [("pipe", GoneError), ("socket", GoneError), ("terminal", HangupError)])
def test_one_that_nobody_reads_says_so(kind: str, error: type[Exception]) -> None:
    read, write = pair(kind)
    sink = Sink(write)
    os.close(read)
    with pytest.raises(error):
        sink.write(memoryview(b"x"), 0)
    with pytest.raises(error):
        sink.check(POLLERR)
    sink.close()
    os.close(write)


def test_a_full_disk_is_told() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(OutputError, match="cannot write to standard error: No space left"):
        Sink(full).write(memoryview(b"x"), 0)
    os.close(full)


def test_what_cannot_be_watched_is_not() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    sink = Sink(null)
    assert not sink.check(POLLNVAL)
    assert not sink.check(POLLHUP)
    assert sink.write(BLOCK, 0) == len(BLOCK)
    os.close(null)
