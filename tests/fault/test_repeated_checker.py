"""The checkers of arrays and schedules find each planted fault, and nothing in a clean history."""

from __future__ import annotations

import pytest

from tests.fault.repeated_checker import NSEC, Elapse, Element, check_array, check_schedule

SIZE, AT_ONCE = 6, 2
CLEAN = {number: Element("finished", "exit-code" if number % 5 else "success", number % 5) for number in range(SIZE)}
LINES = [line for number in range(SIZE) for line in (("begin", number), ("end", number))]


def test_a_clean_array_has_no_problems() -> None:
    assert check_array("a", SIZE, AT_ONCE, CLEAN, LINES) == []


@pytest.mark.parametrize(
    ("changed", "lines", "kind"),
    [
        ({}, [line for line in LINES if line[1] != 3], "lost"),
        ({}, [*LINES, ("begin", 3), ("end", 3)], "doubled"),
        ({3: CLEAN[3]._replace(result="lost", exit_code=None)}, LINES, "unknown"),
        ({3: CLEAN[3]._replace(exit_code=4)}, LINES, "wrong exit"),
        ({3: CLEAN[3]._replace(state="running")}, LINES, "wrong exit"),
        ({9: CLEAN[4]}, LINES, "stranger"),
        ({}, [*LINES, ("begin", 9), ("end", 9)], "stranger"),
        ({}, [LINES[0], LINES[2], LINES[4], LINES[1], LINES[3], *LINES[5:]], "crowded"),
    ],
)
def test_a_planted_fault_of_an_array_is_found(
    changed: dict[int, Element], lines: list[tuple[str, int]], kind: str
) -> None:
    assert [problem.kind for problem in check_array("a", SIZE, AT_ONCE, CLEAN | changed, lines)] == [kind]


def test_an_element_that_nobody_knows_is_lost() -> None:
    seen = {number: one for number, one in CLEAN.items() if number != 3}
    assert [problem.kind for problem in check_array("a", SIZE, AT_ONCE, seen, LINES)] == ["lost"]


EVERY, LATE = NSEC // 4, NSEC // 100
TIMES = [Elapse(number * EVERY, number * EVERY + LATE, f"{number:032x}") for number in (8, 9, 10)]
AFTER_A_KILL = Elapse(11 * EVERY, 14 * EVERY, f"{11:032x}")  # two more passed meanwhile
SKIPPED = Elapse(15 * EVERY, 15 * EVERY + LATE, "")
ALL = [*TIMES, AFTER_A_KILL, SKIPPED]
RUNS = {one.run: Element("finished", "success", 0) for one in ALL if one.run}
ONE = TIMES[1]


def test_a_clean_schedule_has_no_problems() -> None:
    assert check_schedule("s", EVERY, ALL, RUNS, list(RUNS)) == []


@pytest.mark.parametrize(
    ("times", "runs", "ledger", "kinds"),
    [
        (ALL, RUNS, [run for run in RUNS if run != ONE.run], ["lost"]),
        (ALL, {run: one for run, one in RUNS.items() if run != ONE.run}, list(RUNS), ["lost"]),
        (ALL, RUNS, [*RUNS, ONE.run], ["doubled"]),
        (ALL, RUNS, [*RUNS, "f" * 32], ["stranger"]),
        (ALL, RUNS | {"e" * 32: RUNS[ONE.run]}, list(RUNS), ["stranger"]),
        (ALL, RUNS | {ONE.run: Element("finished", "exit-code", 1)}, list(RUNS), ["wrong exit"]),
        ([*TIMES[:2], ONE, *ALL[2:]], RUNS, list(RUNS), ["doubled", "backwards"]),
        ([ALL[0], ONE._replace(at=ONE.due - 1), *ALL[2:]], RUNS, list(RUNS), ["early"]),
        ([ALL[0], ONE._replace(due=ONE.due - 1), *ALL[2:]], RUNS, list(RUNS), ["off the grid"]),
        ([ALL[1], ALL[0], *ALL[2:]], RUNS, list(RUNS), ["backwards", "forgotten"]),
        ([*TIMES, SKIPPED], {one.run: RUNS[one.run] for one in TIMES}, [one.run for one in TIMES], ["forgotten"]),
    ],
)
def test_a_planted_fault_of_a_schedule_is_found(
    times: list[Elapse], runs: dict[str, Element], ledger: list[str], kinds: list[str]
) -> None:
    assert [problem.kind for problem in check_schedule("s", EVERY, times, runs, ledger)] == kinds
