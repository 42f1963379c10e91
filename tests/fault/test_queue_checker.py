"""The checker of the queues finds each planted fault, and nothing in a clean history."""

from __future__ import annotations

import pytest

from tests.fault.queue_checker import Seen, check
from tests.fault.queue_work import in_order, plans

SLOTS = {"one": 1, "four": 4}
PLANS = plans(7, 60, SLOTS)
QUEUED = {f"{plan.number:032x}": plan for plan in PLANS}
ID = {plan.number: run for run, plan in QUEUED.items()}
ORDER = {queue: [ID[plan.number] for plan in in_order(PLANS, queue)] for queue in SLOTS}
BEGUN = [*ORDER["four"], *ORDER["one"]]
CLEAN = {run: Seen("finished", "whatever", plan.code) for run, plan in QUEUED.items()}
LEDGER = [f"{word} {run}" for run in BEGUN for word in ("begin", "end")]
VICTIM = ORDER["one"][5]
OTHER = ORDER["one"][6]


def test_a_clean_history_has_no_problems() -> None:
    assert check(QUEUED, SLOTS, CLEAN, BEGUN, LEDGER) == []


def test_one_that_never_ran_and_began_once_more_is_as_it_should_be() -> None:
    assert check(QUEUED, SLOTS, CLEAN, [*BEGUN, VICTIM], LEDGER) == []


def test_plans_cover_weights_priorities_holds_and_both_queues() -> None:
    assert {plan.queue for plan in PLANS} == set(SLOTS)
    assert {plan.weight for plan in plans(1, 300, SLOTS)} == {1, 2, 3, 4}
    assert len({plan.priority for plan in PLANS}) == 3
    assert any(plan.held for plan in PLANS)
    assert all(plan.weight <= SLOTS[plan.queue] for plan in PLANS)


def swapped(words: list[str], one: str, other: str) -> list[str]:
    return [{one: other, other: one}.get(word, word) for word in words]


@pytest.mark.parametrize(
    ("seen", "begun", "ledger", "kind"),
    [
        (CLEAN, BEGUN, [line for line in LEDGER if VICTIM not in line], "lost"),
        ({run: one for run, one in CLEAN.items() if run != VICTIM}, BEGUN, LEDGER, "lost"),
        (CLEAN, BEGUN, [*LEDGER, f"begin {VICTIM}", f"end {VICTIM}"], "doubled"),
        ({**CLEAN, VICTIM: Seen("finished", "lost", None)}, BEGUN, LEDGER, "unknown"),
        ({**CLEAN, VICTIM: Seen("queued", None, None)}, BEGUN, LEDGER, "wrong exit"),
        ({**CLEAN, VICTIM: Seen("finished", "exit-code", 99)}, BEGUN, LEDGER, "wrong exit"),
        (CLEAN, swapped(BEGUN, VICTIM, OTHER), LEDGER, "order"),
        (CLEAN, BEGUN, [*LEDGER, f"begin {'f' * 32}"], "stranger"),
        ({**CLEAN, "e" * 32: CLEAN[VICTIM]}, BEGUN, LEDGER, "stranger"),
    ],
)
def test_a_planted_fault_is_found(seen: dict[str, Seen], begun: list[str], ledger: list[str], kind: str) -> None:
    assert [problem.kind for problem in check(QUEUED, SLOTS, seen, begun, ledger)] == [kind]


def test_two_at_a_time_in_one_slot_are_found() -> None:
    at = LEDGER.index(f"end {VICTIM}")
    assert LEDGER[at + 1] == f"begin {OTHER}"
    crowded = [*LEDGER[:at], LEDGER[at + 1], LEDGER[at], *LEDGER[at + 2 :]]
    assert [problem.kind for problem in check(QUEUED, SLOTS, CLEAN, BEGUN, crowded)] == ["crowded"]
