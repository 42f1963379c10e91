"""What all benchmarks share: medians of rounds in which every contender takes its turn, and figures with a verdict.

Round-robin, so that whatever else the machine does hits all contenders alike; a ratio of medians, so that a figure
means the same on a slow machine.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from tests.system.program import BIN, memory_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

QUICK = bool(os.environ.get("BENCH_QUICK"))
# The interpreter itself: never a pyenv shim, which is a shell script, and not the virtual environment's link.
PYTHON = os.path.realpath(sys.executable)
JOBCTL = str(BIN / "jobctl")


class Figure(NamedTuple):
    """One line of the table. `value` is compared with `reach`; `yardstick` is what the ratio, if any, is against."""

    name: str
    value: float
    unit: str
    reach: float
    higher_is_better: bool = False
    ours: str = ""  # the measurement itself, in words
    yardstick: str = ""

    @property
    def reached(self) -> bool:
        return self.value >= self.reach if self.higher_is_better else self.value <= self.reach


class CannotMeasureError(Exception):
    """This machine cannot run the benchmark; the text says what is missing."""


def quick(full: int, short: int) -> int:
    return short if QUICK else full


def rounds(count: int, contenders: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Every contender `count` times, in turn; what each returned."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(count):
        for name, run in contenders.items():
            found[name].append(run())
    return found


def medians(count: int, contenders: Mapping[str, Callable[[], float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in rounds(count, contenders).items()}


def timed_process(command: list[str], env: Mapping[str, str], status: int = 0) -> float:
    """Seconds from posix_spawn to the reaped exit, output to /dev/null."""
    null = os.open(os.devnull, os.O_RDWR)
    actions = [(os.POSIX_SPAWN_DUP2, null, fd) for fd in (0, 1, 2)]
    try:
        began = time.perf_counter()
        pid = os.posix_spawn(command[0], command, env, file_actions=actions)
        _, ended = os.waitpid(pid, 0)
        took = time.perf_counter() - began
    finally:
        os.close(null)
    if os.waitstatus_to_exitcode(ended) != status:
        raise RuntimeError(f"{command} ended with {os.waitstatus_to_exitcode(ended)}")
    return took


def timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def compiled(source: Path, folder: Path) -> Path:
    """Compile a C program, statically where that works. Raises CannotMeasureError without a compiler."""
    if not shutil.which("gcc"):
        raise CannotMeasureError("gcc is not installed (make tools)")
    target = folder / source.stem
    for options in (["-static"], []):
        if not subprocess.run(
            ["gcc", "-O2", *options, "-o", target, source], capture_output=True, check=False
        ).returncode:
            return target
    raise CannotMeasureError(f"gcc cannot compile {source.name}")


def pss_kib(pid: int) -> int:
    """Proportional set size."""
    return memory_of(pid)["Pss"] >> 10


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
