"""`start` and `stop` of a `sleep` through jobctl, until the process is there and until it is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench import measure
from tests.bench.measure import Figure
from tests.system.program import Program, is_alive

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = measure.quick(40, 10)


def measure_all(root: Path) -> list[Figure]:
    with Program(root) as jobd:
        jobd.jobctl("run", "--name", "sleeper", "--", "sleep", "100000", check=True)
        jobd.jobctl("stop", "sleeper", check=True)
        pids: list[int] = []

        def start() -> float:
            took = measure.timed_process([measure.JOBCTL, "start", "sleeper"], jobd.env)
            pids.append(int(jobd.show("sleeper", "MainPID")))
            assert is_alive(pids[-1])
            return took

        def stop() -> float:
            took = measure.timed_process([measure.JOBCTL, "stop", "sleeper"], jobd.env)
            assert not is_alive(pids[-1])
            return took

        def python() -> float:
            return measure.timed_process([measure.PYTHON, "-I", "-S", "-c", "pass"], jobd.env)

        found = measure.medians(ROUNDS, {"start": start, "stop": stop, "python": python})
    return [
        Figure(
            name=f"jobctl {verb} of a sleep",
            value=found[verb] * 1000,
            unit="ms",
            reach=25,
            yardstick=f"python -I -S -c pass: {measure.milliseconds(found['python'])}",
        )
        for verb in ("start", "stop")
    ]
