"""`kill -9` of the daemon to the next answered request, with jobs running; and what clients see meanwhile."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from jobd.wire import messages as m
from tests.bench import measure
from tests.bench.measure import Figure
from tests.bench.memory import start_sleepers, stop_sleepers
from tests.system.program import BIN, Program
from tests.system.raw import Raw

if TYPE_CHECKING:
    from pathlib import Path


ROUNDS = measure.quick(30, 8)
JOBS = 20
DEADLINE_SEC = 30.0
IMPORTS = "import trio, msgspec, sqlite3"


class Recovery:
    """Kills and asks again, counting what a client would call an error."""

    def __init__(self, jobd: Program) -> None:
        self.jobd = jobd
        self.errors = 0

    def once(self) -> float:
        pid = self.jobd.daemon_pid()
        time.sleep(0.2)  # it has come to rest
        began = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        while time.perf_counter() - began < DEADLINE_SEC:
            try:
                with Raw(self.jobd.socket) as raw:
                    assert isinstance(raw.ask(m.Get(id=1, names=["sleep-0"])), m.Reply)
                    return time.perf_counter() - began
            except (EOFError, ConnectionResetError, BrokenPipeError):
                continue  # a connection that had reached the dead daemon
            except OSError:
                self.errors += 1
        raise RuntimeError("no daemon answers any more")


def measure_all(root: Path) -> list[Figure]:
    jobd = Program(root)
    recovery = Recovery(jobd)
    with jobd:
        start_sleepers(jobd, JOBS)
        python = str(BIN / "python")
        found = measure.medians(
            ROUNDS,
            {
                "jobd": recovery.once,
                "imports": lambda: measure.timed_process([python, "-I", "-c", IMPORTS], jobd.env),
            },
        )
        stop_sleepers(jobd, JOBS)
    return [
        Figure(
            name="kill -9 of the daemon to the next answer",
            value=found["jobd"] * 1000,
            unit="ms",
            reach=300,
            ours=f"{found['jobd'] / found['imports']:.1f} x an interpreter that imports what it needs",
            yardstick=f"python -I -c '{IMPORTS}': {measure.milliseconds(found['imports'])}",
        ),
        Figure(name="errors of clients meanwhile", value=recovery.errors, unit="", reach=0, ours=f"{ROUNDS} kills"),
    ]
