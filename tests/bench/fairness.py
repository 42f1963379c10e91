"""What one user feels of another's attack: p99 of a status request on a connection of its own, beside a quiet p99.

Both are taken in turns in the same run, so that whatever else the machine does is in both. The attacker is one process
with as many connections as it likes; more of them would measure how the kernel shares the processors out.
"""

from __future__ import annotations

import os
import socket
import statistics
import time
from functools import partial
from typing import TYPE_CHECKING

from jobd.wire import codec
from jobd.wire import messages as m
from tests.bench import measure
from tests.bench.measure import CannotMeasureError, Figure
from tests.system.attacks import ATTACKS, HELLO
from tests.system.crowd import ALICE, BOB, User, for_everybody, users
from tests.system.raw import Raw, started

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.program import Program

SEC = measure.quick(4, 2)  # of asking at a time
ROUNDS = measure.quick(3, 1)
REACH = 5.0
ASK = HELLO + codec.encode(m.Get(id=1, names=["quiet"]))
PAUSE_SEC = 0.001  # a person's script, not a flood of its own


def status(path: str) -> float:
    """Seconds from connect to the answer."""
    began = time.perf_counter()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        sock.settimeout(20)
        sock.sendall(ASK)
        data = b""
        while b"reply" not in data:
            piece = sock.recv(1 << 16)
            assert piece, f"no answer: {data!r}"
            data += piece
    return time.perf_counter() - began


def ask_for(path: str, sec: float) -> list[float]:
    """Status requests for so long; how long each took."""
    end = time.monotonic() + sec
    found = []
    while time.monotonic() < end:
        found.append(status(path))
        time.sleep(PAUSE_SEC)
    return found


def p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


def words(values: list[float]) -> str:
    return f"p99 {measure.milliseconds(p99(values))}, median {measure.milliseconds(statistics.median(values))}"


def asked(path: str) -> list[float]:
    found = User(BOB, partial(ask_for, path, SEC)).result()
    assert isinstance(found, list)
    return found


def begin_job(path: str, name: str, argv: list[bytes]) -> None:
    with Raw(path) as raw:
        started(raw.run(argv, name=name))


def prepare(jobd: Program) -> None:
    path = str(jobd.socket)
    os.environ["JOBD_TEST_MARK"] = jobd.mark  # of what the users start
    User(BOB, partial(begin_job, path, "quiet", [b"sleep", b"600"])).result()
    chatty = b"yes 0123456789 | head -c 4000000; exec sleep 600"
    User(ALICE, partial(begin_job, path, "chatty", [b"sh", b"-c", chatty])).result()


def measure_all(_root: Path) -> list[Figure]:
    if os.geteuid() != 0:
        raise CannotMeasureError("only root can be several users")
    figures = []
    with for_everybody("fairness") as jobd:
        prepare(jobd)
        path = str(jobd.socket)
        with users(ALICE, compute, os.cpu_count() or 1):
            computing = asked(path)
        for name, attack in ATTACKS.items():
            quiet: list[float] = []
            busy: list[float] = []
            for _ in range(ROUNDS):
                quiet += asked(path)
                with users(ALICE, partial(attack, path)):
                    time.sleep(0.3)
                    busy += asked(path)
                settle(path)
            figures.append(
                Figure(
                    name=f"p99 of a status request during another's {name}",
                    value=p99(busy) / p99(quiet),
                    unit="times quiet",
                    reach=REACH,
                    ours=words(busy),
                    yardstick=f"quiet: {words(quiet)}; while he only computes: {words(computing)}",
                )
            )
    return figures


def compute() -> None:
    """What takes the processors and nothing of jobd."""
    while True:
        pass


def settle(path: str) -> None:
    """Return when what an attack has left in the daemon has been seen to."""
    end = time.monotonic() + 30
    with Raw(path) as raw:
        while time.monotonic() < end:
            answer = raw.ask(m.DaemonStatus(id=raw.next_id()))
            assert isinstance(answer, m.Reply)
            assert isinstance(answer.body, m.Daemon)
            if answer.body.running <= 2 and answer.body.queued == 0 and answer.body.connections <= 1:
                return
            time.sleep(0.05)
