"""Status requests on one connection, one after another, with 1 and with 1,000 jobs, beside a bare echo of the bytes."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

from jobd.wire import codec
from jobd.wire import messages as m
from tests.bench import measure
from tests.bench.measure import Figure
from tests.bench.memory import start_sleepers, stop_sleepers
from tests.system.program import Program
from tests.system.raw import Raw

if TYPE_CHECKING:
    from pathlib import Path


REQUESTS = measure.quick(10_000, 2000)
ROUNDS = 5
JOBS = measure.quick(1000, 200)
REACH_PER_SEC = 7000


def status_rate(jobd: Program) -> float:
    """Requests a second; the frames are made beforehand, the answers read but not decoded."""
    with Raw(jobd.socket) as raw:
        ask(raw.sock, codec.encode(m.Get(id=1, names=["sleep-0"])), 100)
        return REQUESTS / measure.timed(lambda: ask(raw.sock, codec.encode(m.Get(id=1, names=["sleep-0"])), REQUESTS))


def ask(sock: socket.socket, frame: bytes, count: int) -> None:
    for _ in range(count):
        sock.sendall(frame)
        answer = sock.recv(1 << 16)
        while len(answer) < 4 + int.from_bytes(answer[:4], "big"):
            answer += sock.recv(1 << 16)


def echo_rate() -> float:
    """The same traffic with a thread that sends back an answer of about the same size."""
    ours, theirs = socket.socketpair()
    answer = (400).to_bytes(4, "big") + bytes(400)

    def serve() -> None:
        while theirs.recv(1 << 16):
            theirs.sendall(answer)

    server = threading.Thread(target=serve)
    server.start()
    took = measure.timed(lambda: ask(ours, bytes(40), REQUESTS))
    ours.close()
    server.join()
    theirs.close()
    return REQUESTS / took


def measure_all(root: Path) -> list[Figure]:
    with Program(root) as jobd:
        start_sleepers(jobd, 1)
        one = measure.medians(ROUNDS, {"jobd": lambda: status_rate(jobd), "echo": echo_rate})
        start_sleepers(jobd, JOBS - 1, first=1)
        time.sleep(1)  # the commits of the last starts
        many = measure.medians(ROUNDS, {"jobd": lambda: status_rate(jobd), "echo": echo_rate})
        stop_sleepers(jobd, JOBS)
    return [
        Figure(
            name=f"status requests, {count} jobs",
            value=found["jobd"],
            unit="/s",
            reach=REACH_PER_SEC,
            higher_is_better=True,
            ours=f"{1e6 / found['jobd']:.0f} µs each",
            yardstick=f"bare echo between two threads: {found['echo']:.0f}/s",
        )
        for count, found in ((1, one), (JOBS, many))
    ]
