"""A TAB in bash: words from the file alone, and names from the daemon."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from jobctl import completions
from tests.bench import measure
from tests.bench.measure import CannotMeasureError, Figure
from tests.system.program import BIN, Program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ROUNDS = measure.quick(40, 10)
REACH_MS = 15
# What readline does on TAB, without the terminal; the clock is bash's own.
SCRIPT = """
source %s
COMP_WORDS=(jobctl "$@") COMP_LINE="jobctl $*" COMP_CWORD=$#
COMP_POINT=${#COMP_LINE}
_jobctl
before=${EPOCHREALTIME/./}
_jobctl
echo $((${EPOCHREALTIME/./} - before)) "${COMPREPLY[@]}"
"""


def tab(env: Mapping[str, str], *words: str) -> float:
    """Seconds that one takes."""
    script = SCRIPT % completions.path("bash")
    done = subprocess.run(
        ["bash", "-c", script, "bash", *words], env=env, capture_output=True, text=True, check=False, timeout=60
    )
    took, *found = done.stdout.split() or ["0"]
    if not found:
        raise CannotMeasureError(f"bash offers nothing for {words}: it is older than 5, or says {done.stderr!r}")
    return int(took) / 1e6


def measure_all(root: Path) -> list[Figure]:
    jobd = Program(root)
    env = {**jobd.env, "PATH": f"{BIN}:/usr/bin:/bin"}
    with jobd:
        for name in ("web", "worker"):
            jobd.jobctl("run", "--name", name, "--", "sleep", "1000", check=True)
        found = measure.medians(
            ROUNDS,
            {
                "python": lambda: measure.timed_process([measure.PYTHON, "-I", "-S", "-c", "pass"], jobd.env),
                "a verb": lambda: tab(env, "sta"),
                "a job": lambda: tab(env, "stop", "w"),
            },
        )
    bare = found.pop("python")
    return [
        Figure(
            name=f"TAB: {name}",
            value=took * 1000,
            unit="ms",
            reach=REACH_MS,
            ours=f"{took / bare:.2f} x python -I -S -c pass",
            yardstick=measure.milliseconds(bare),
        )
        for name, took in found.items()
    ]
