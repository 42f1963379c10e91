"""What looks for how much slower one user has become finds it."""

from __future__ import annotations

import pytest

from tests.fault import attacked
from tests.fault.attacked import ENOUGH, KINDS, Times, judge, words, work

QUIET: Times = {name: [0.002] * ENOUGH for name in attacked.ACTS}


def slower(name: str, sec: float, count: int = 10) -> Times:
    """One in fifty takes so long."""
    return {**QUIET, name: [0.002] * (ENOUGH - count) + [sec] * count}


def test_as_fast_as_before_is_no_problem() -> None:
    assert judge(QUIET, QUIET) == []
    assert judge(QUIET, slower("status", 0.009)) == []


@pytest.mark.parametrize("name", attacked.ACTS)
def test_a_p99_of_more_than_five_times_is_found(name: str) -> None:
    (problem,) = judge(QUIET, slower(name, 0.0101))
    assert (problem.kind, problem.run) == ("slower", name)
    assert problem.kind in KINDS
    assert f"{name} p99 2.0 → 10.1 ms" in words(60, 7, QUIET, slower(name, 0.0101))


def test_neither_few_nor_what_nobody_feels_is_counted() -> None:
    assert judge(QUIET, slower("run", 9.0, count=2)) == []  # one in 150
    assert judge(QUIET, {**QUIET, "run": [9.0]}) == []
    fast = {name: [0.0001] * ENOUGH for name in attacked.ACTS}
    assert judge(fast, QUIET) == []


def test_what_goes_wrong_is_told() -> None:
    times, errors = work("/nonexistent/s", 1, 0.01)
    assert times == {name: [] for name in attacked.ACTS}
    assert isinstance(errors, list)
    assert "FileNotFoundError" in errors[0]
