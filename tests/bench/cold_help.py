"""`jobctl --help`, which loads every verb and not typer, against the bare interpreter doing nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.bench import measure
from tests.bench.measure import Figure

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = measure.quick(40, 10)


def measure_all(_root: Path) -> list[Figure]:
    env = dict(os.environ)
    found = measure.medians(
        ROUNDS,
        {
            "python": lambda: measure.timed_process([measure.PYTHON, "-I", "-S", "-c", "pass"], env),
            "--help": lambda: measure.timed_process([measure.JOBCTL, "--help"], env),
        },
    )
    return [
        Figure(
            name="jobctl --help",
            value=found["--help"] / found["python"],
            unit="x python -I -S -c pass",
            reach=10,
            ours=measure.milliseconds(found["--help"]),
            yardstick=measure.milliseconds(found["python"]),
        )
    ]
