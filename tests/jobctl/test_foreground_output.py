"""One stream of a run: whatever its turns are, it comes to its end."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

import pytest

from jobctl import foreground_output
from jobctl.foreground_output import Stream
from jobctl.foreground_sink import Sink
from jobctl.logs_source import OUT
from jobd.wire import codec
from jobd.wire import messages as m
from tests.jobctl.fakes import frame, output_frame

if TYPE_CHECKING:
    import socket

    from jobctl.foreground_link import Link

RUN = bytes(16)
PIECES = [b"one", b"two" * 3000, b"", b"four"]


def greeted(link: Link, daemon: socket.socket) -> None:
    """The daemon has said its Hello."""
    daemon.sendall(codec.encode(m.Hello(version=1, software="x", uid=os.geteuid())))
    while not link.greeted:
        select.select([link], [], [])
        link.receive()
        link.next_message()


@pytest.mark.parametrize("turns", range(1, 12))
def test_its_last_turn_may_be_any(
    ends: tuple[Link, socket.socket], monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    monkeypatch.setattr(foreground_output, "MAX_TURNS", turns)
    link, daemon = ends
    greeted(link, daemon)
    reader, writer = os.pipe()
    stream = Stream(OUT, Sink(writer), 0, print)
    stream.ask(link, RUN)
    number = stream._asked
    daemon.sendall(frame(m.Item(id=number, body=m.LogRun(job="x", owner=0, run=RUN, number=1))))
    at = 0
    for data in PIECES:
        daemon.sendall(output_frame(number, RUN, OUT, at, data))
        at += len(data)
    daemon.sendall(frame(m.End(id=number)))
    while not stream.done:
        wanted: dict[int, int] = {}
        stream.wants(wanted)
        poller = select.poll()
        for fd, events in wanted.items():
            poller.register(fd, events)
        # All is sent: what is neither ready nor to be gone on with at once would wait for ever.
        ready = dict(poller.poll(0 if stream.goes_on else 5_000))
        assert ready or stream.goes_on
        stream.polled(ready)
    os.close(writer)
    with open(reader, "rb") as file:
        assert file.read() == b"".join(PIECES)
