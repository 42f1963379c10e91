"""What the queued runs of the campaign are: each tells a ledger that it begins and ends, and ends with its own code."""

from __future__ import annotations

import random
from typing import NamedTuple

CODES = (0, 0, 0, 1, 3, 77)
PRIORITIES = (0, 0, 0, 0, 5, -2)
# One write a line, so that each is there whole or not at all; `end` is written before the run gives its slots back.
SCRIPT = 'echo "begin $0" >>"$1"; echo "end $0" >>"$1"; exit "$2"'


class Plan(NamedTuple):
    """One run: in the order of its queue by its priority, and then by its number."""

    number: int
    queue: str
    priority: int
    weight: int
    code: int
    held: bool  # until all others have been submitted


def plans(seed: int, runs: int, queues: dict[str, int]) -> list[Plan]:
    """The runs of a campaign. `queues`: their slots, by name."""
    dice = random.Random(seed)
    found = []
    for number in range(runs):
        queue = dice.choice(list(queues))
        weight = dice.randint(1, queues[queue]) if dice.random() < 0.2 else 1
        found.append(
            Plan(number, queue, dice.choice(PRIORITIES), weight, dice.choice(CODES), held=dice.random() < 0.05)
        )
    return found


def in_order(found: list[Plan], queue: str) -> list[Plan]:
    """Those of a queue, as they are to begin."""
    return sorted((plan for plan in found if plan.queue == queue), key=lambda plan: (-plan.priority, plan.number))
