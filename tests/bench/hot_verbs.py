"""The verbs that people and scripts type most, end to end, against the bare interpreter doing nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench import measure
from tests.bench.measure import Figure
from tests.system.program import Program

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = measure.quick(60, 15)


def measure_all(root: Path) -> list[Figure]:
    with Program(root) as jobd:
        jobd.jobctl("run", "--name", "up", "--", "sleep", "1000", check=True)
        jobd.jobctl("run", "--wait", "--name", "lines", "--", "seq", "1000", check=True)
        jobd.jobctl("run", "--wait", "--name", "again", "--", "true", check=True)

        def verb(*args: str) -> float:
            return measure.timed_process([measure.JOBCTL, *args], jobd.env)

        found = measure.medians(
            ROUNDS,
            {
                "python": lambda: measure.timed_process([measure.PYTHON, "-I", "-S", "-c", "pass"], jobd.env),
                "is-active": lambda: verb("is-active", "up"),
                "status": lambda: verb("status", "up"),
                "start": lambda: verb("start", "up"),
                "logs -n 20": lambda: verb("logs", "-n", "20", "lines"),
            },
        )
    bare = found.pop("python")
    return [
        Figure(
            name=f"jobctl {name}",
            value=took / bare,
            unit="x python -I -S -c pass",
            reach=1.8,
            ours=measure.milliseconds(took),
            yardstick=measure.milliseconds(bare),
        )
        for name, took in found.items()
    ]
