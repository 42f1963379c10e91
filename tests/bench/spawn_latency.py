"""From the moment a submission is sent to the first instruction of the job, against posix_spawn."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.bench import measure
from tests.bench.measure import Figure
from tests.system.program import Program
from tests.system.raw import Raw, started

ROUNDS = measure.quick(200, 40)


def measure_all(root: Path) -> list[Figure]:
    stamp = measure.compiled(Path(__file__).with_name("stamp.c"), root)
    jobd = Program(root / "jobd")
    times = root / "times"

    def first_instruction() -> int:
        text = times.read_text()
        times.unlink()
        return int(text)

    def through_spawn() -> float:
        began = time.monotonic_ns()
        pid = os.posix_spawn(stamp, [str(stamp), str(times)], {})
        os.waitpid(pid, 0)
        return (first_instruction() - began) / 1e9

    with jobd, Raw(jobd.socket) as raw:

        def through_jobd() -> float:
            began = time.monotonic_ns()
            run = started(raw.run([os.fsencode(stamp), os.fsencode(times)], env={b"A": b"1"})).run
            raw.wait(run)
            return (first_instruction() - began) / 1e9

        found = measure.medians(ROUNDS, {"jobd": through_jobd, "spawn": through_spawn})
    return [
        Figure(
            name="submission to first instruction",
            value=found["jobd"] / found["spawn"],
            unit="x posix_spawn",
            reach=4,
            ours=f"{found['jobd'] * 1000:.2f} ms, its commit included",
            yardstick=f"{found['spawn'] * 1000:.2f} ms",
        )
    ]
