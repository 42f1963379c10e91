"""`/bin/true` jobs through one connection, accepted durably to exit recorded, against a posix_spawn-and-wait loop."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from jobd.core.ids import new_run_id
from jobd.wire import messages as m
from tests.bench import measure
from tests.bench.measure import Figure
from tests.system.program import Program
from tests.system.raw import Raw, started

if TYPE_CHECKING:
    from pathlib import Path


JOBS = measure.quick(1500, 300)
ROUNDS = measure.quick(5, 3)
WINDOW = 64  # submissions that wait for their answer
SPAWN_LOOP = """
import os, sys, time
began = time.perf_counter()
for _ in range(int(sys.argv[1])):
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
print(time.perf_counter() - began)
"""


def submit(raw: Raw, count: int) -> list[bytes]:
    """Submit `count` jobs, WINDOW at a time under way; their ids once all are accepted."""
    runs = [new_run_id() for _ in range(count)]
    sent = 0
    for answered in range(count):
        while sent < count and sent - answered < WINDOW:
            request = m.Run(
                id=raw.next_id(), run=runs[sent], argv=[b"/bin/true"], env=[b"A=1"], cwd=b"/", exec_wait=False
            )
            raw.send(request)
            sent += 1
        answer = raw.receive()
        assert isinstance(answer, m.Reply | m.Fault), answer
        started(answer)
    return runs


def through_jobd(jobd: Program) -> float:
    with Raw(jobd.socket) as raw:

        def all_of_it() -> None:
            ended = raw.wait(*submit(raw, JOBS))
            assert {view.exit_code for view in ended.values()} == {0}
            assert len(ended) == JOBS

        return JOBS / measure.timed(all_of_it)


def through_spawn() -> float:
    done = subprocess.run([measure.PYTHON, "-I", "-S", "-c", SPAWN_LOOP, str(JOBS)], capture_output=True, check=True)
    return JOBS / float(done.stdout)


def measure_all(root: Path) -> list[Figure]:
    with Program(root) as jobd:
        found = measure.medians(ROUNDS, {"jobd": lambda: through_jobd(jobd), "spawn": through_spawn})
    return [
        Figure(
            name="jobs through one connection",
            value=found["jobd"] / found["spawn"],
            unit="x posix_spawn and wait",
            reach=0.4,
            higher_is_better=True,
            ours=f"{found['jobd']:.0f} jobs/s, {os.cpu_count()} cores",
            yardstick=f"{found['spawn']:.0f}/s",
        )
    ]
