"""What more clients cost: those that are only connected, those that ask at the same time, and those that follow."""

from __future__ import annotations

import selectors
from contextlib import ExitStack
from typing import TYPE_CHECKING

from jobd.wire import codec
from jobd.wire import messages as m
from tests.bench import measure
from tests.bench.memory import start_sleepers, stop_sleepers
from tests.bench.scale.line import Line, Lines, least, life_cycle, memory, request
from tests.fault.probing import settle
from tests.system.program import Program
from tests.system.raw import Raw

if TYPE_CHECKING:
    from pathlib import Path


COUNTS = (1, 10, 100, 900) if not measure.QUICK else (1, 10, 100)  # of the 1,024 that a daemon has places for
REQUESTS = measure.quick(2000, 500)
STATUS = m.Get(id=1, names=["sleep-0"])


def asking(clients: list[Raw]) -> float:
    """Milliseconds of the daemon for each of many requests, of which every client has one under way."""
    frame = codec.encode(STATUS)
    left, rests = max(REQUESTS, 2 * len(clients)), [b""] * len(clients)
    with selectors.DefaultSelector() as selector:
        for at, raw in enumerate(clients):
            selector.register(raw.sock, selectors.EVENT_READ, at)

        def all_of_them() -> None:
            asked = answered = 0
            for raw in clients:
                raw.sock.sendall(frame)
                asked += 1
            while answered < asked:
                for key, _ in selector.select():
                    data = rests[key.data] + clients[key.data].sock.recv(1 << 16)
                    if len(data) < 4 + int.from_bytes(data[:4], "big"):
                        rests[key.data] = data
                        continue
                    rests[key.data] = b""
                    answered += 1
                    if asked < left:
                        clients[key.data].sock.sendall(frame)
                        asked += 1

        return least(5, lambda: measure.timed(all_of_them)) / left * 1000


def follow(raw: Raw) -> None:
    """Follow the events from now on. What comes stays in the socket: it is less than that holds."""
    raw.send(m.Events(id=1, follow=True, lines=0))
    first = raw.receive()
    assert isinstance(first, m.Item), first


def connected(root: Path) -> list[Line]:
    lines = Lines("clients")
    with Program(root) as jobd:
        start_sleepers(jobd, 1)
        for count in COUNTS:
            with ExitStack() as stack:
                clients = [stack.enter_context(Raw(jobd.socket)) for _ in range(count)]
                lines.add("memory of keeper and daemon", "MiB", "linear", count, memory(jobd))
                lines.add("a status request beside them", "ms", "flat", count, request(jobd, STATUS))
                lines.add("a status request of all at once", "ms", "flat", count, asking(clients))
                for raw in clients:
                    follow(raw)
                lines.add("a run's life, followed by all", "ms", "linear", count, life_cycle(jobd))
            settle(jobd, ours=1)
        stop_sleepers(jobd, 1)
    return lines.all()
