"""Runs that wait for others, and in line for their own job's, while the daemon is killed at random."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

from tests.fault.killing import Killer, told
from tests.fault.order_checker import KINDS, Step, check
from tests.fault.report import Report, concluded
from tests.system.program import Program, until

if TYPE_CHECKING:
    from pathlib import Path

RUNS_A_KILL = 5
LINES = 3  # jobs whose runs wait for each other
ALL_SEC = 60.0


def run_order(root: Path, kills: int, seed: int) -> Report:
    """Submit, kill, wait, and compare with the model."""
    chance, log = random.Random(seed), root / "began"
    log.touch()
    with Program(root / "jobd") as program:
        steps: list[Step] = []
        with Killer(program, random.Random(seed + 1), kills) as killer:
            while killer.busy or len(steps) < kills * RUNS_A_KILL:
                steps.append(_submit(program, chance, steps, log))
        results = until(lambda: _results(program, len(steps)), "all have ended", ALL_SEC)
    problems = check(steps, results, log.read_text().split())
    return concluded(program, seed, f"{told(killer)}, {len(steps)} runs that wait for others", KINDS, problems)


def _submit(program: Program, chance: random.Random, steps: list[Step], log: Path) -> Step:
    line = chance.random() < 0.3
    job = f"line-{chance.randrange(LINES)}" if line else f"run-{len(steps)}"
    number = 1 + sum(step.job == job for step in steps)
    count = chance.choice((0, 1, 1, 2)) if steps else 0
    needs = tuple((chance.choice(steps).key, chance.choice(("ok", "failed", "any"))) for _ in range(count))
    code, key = chance.choice((0, 0, 0, 1)), f"{job}#{number}"
    script = f"echo '{key}' >> '{log}'; sleep {chance.uniform(0, 0.2):.2f}; exit {code}"
    after = [word for other, condition in needs for word in ("--after", f"{other}:{condition}")]
    single = ["--singleton"] if line else []
    done = program.jobctl("run", "-o", "json", "--name", job, *single, *after, "--shell", script, check=True)
    found = json.loads(done.stdout)
    assert (found["job"], found["number"]) == (job, number)
    return Step(key, job, code, needs, line)


def _results(program: Program, count: int) -> dict[str, str]:
    """The results of all, by key; empty while one has none."""
    rows = json.loads(program.jobctl("history", "-n", "all", "-o", "json", check=True).stdout)
    results = {f"{row['job']}#{row['number']}": row["result"] for row in rows}
    return results if len(results) == count and all(results.values()) else {}
