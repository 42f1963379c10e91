"""F1 and F2a: random `kill -9` of the daemon, or of the keeper, under load.

One seed decides what the jobs do and when is killed. (When a kill hits is up to the machine; a failing seed still
repeats its jobs and its pauses.)
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from tests.fault.asking import observe
from tests.fault.checker import KINDS, check
from tests.fault.killing import Killer, told
from tests.fault.load import Load
from tests.fault.report import CannotRunError, Report, concluded
from tests.system.program import Program
from tests.system.test_keeper import has_pidfd_info

if TYPE_CHECKING:
    from pathlib import Path

DAEMON_WITHIN_SEC: Final = 0.3  # of its fork, or of its first answer: a daemon answers 0.2 s after its fork
KEEPER_WITHIN_SEC: Final = 1.5  # of its taking over


def run_daemon_kills(root: Path, size: int, seed: int) -> Report:
    """F1: the daemon dies `size` times under load."""
    return run_kills(root, size, seed, keepers=0.0, within_sec=DAEMON_WITHIN_SEC)


def run_keeper_kills(root: Path, size: int, seed: int) -> Report:
    """F2a: the keeper dies `size` times under load, and the daemon lives."""
    if not has_pidfd_info():
        raise CannotRunError("the kernel tells exits to nobody but the parent before Linux 6.15")
    return run_kills(root, size, seed, keepers=1.0, within_sec=KEEPER_WITHIN_SEC)


def run_kills(root: Path, kills: int, seed: int, *, keepers: float, within_sec: float) -> Report:
    """One campaign in `root`, which may be thrown away afterwards when it passed."""
    program = Program(root)
    try:
        program.start()
        load = Load(program, seed)
        with load, Killer(program, random.Random(seed), kills, within_sec=within_sec, keepers=keepers) as killer:
            killer.finish()
        seen = observe(program, list(load.plans))
    finally:
        program.close()
    problems = check(load.plans, seen, load.ledger.read_text().split())
    size = sum(len(plan.out) + len(plan.err) for plan in load.plans.values())
    done = f"{told(killer)}, {len(load.plans)} jobs, {size / 1e6:.0f} MB"
    return concluded(program, seed, done, KINDS, problems, load.errors)
