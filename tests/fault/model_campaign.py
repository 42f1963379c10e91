"""Random acts on a real jobd, whose daemon and keeper are killed meanwhile, beside a model of what must hold."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis.stateful import run_state_machine_as_test

from tests.fault.model_filed_machine import FiledMachine
from tests.fault.model_machine import KINDS_OF_PROBLEM, Mismatch
from tests.fault.model_world import World
from tests.fault.report import Problem, Report, details, tally
from tests.system.program import Program
from tests.system.test_keeper import has_pidfd_info

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fault.model_machine import ModelMachine, Subject

STEPS = 40  # acts an example, or fewer
TRACE = 4000  # characters of a traceback that are told


def explore(
    subject: Subject,
    examples: int,
    seed: int,
    *,
    machine: type[ModelMachine] = FiledMachine,
    shrink: bool = False,
    steps: int = STEPS,
) -> list[Mismatch]:
    """Run the machine on this subject; the first mismatch, or none."""
    found: list[Mismatch] = []
    machine = hypothesis.seed(seed)(type("Machine", (machine,), {"subject": subject, "found": found}))
    settings = hypothesis.settings(
        max_examples=examples,
        stateful_step_count=steps,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    try:
        run_state_machine_as_test(machine, settings=settings)
    except Exception as e:
        if not found:
            found.append(Mismatch("broken off", "".join(traceback.format_exception(e))[-TRACE:]))
    return found


def run_model(root: Path, size: int, seed: int) -> Report:
    """So many examples on one jobd, each with jobs and queues of its own."""
    with Program(root) as program:
        world = World(program, keeper=has_pidfd_info())
        try:
            found = explore(world, size, seed)
        finally:
            world.close()
    done = f"{world.examples} examples, {world.acts} acts, {world.disturbed} kills and replacements"
    problems = [Problem(each.kind, "example", each.text) for each in found[:1]]  # what comes then is its shadow
    return Report(seed, done, tally(KINDS_OF_PROBLEM, problems), details(problems))
