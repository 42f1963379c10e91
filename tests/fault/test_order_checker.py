"""The checker of runs in order finds what is planted."""

from __future__ import annotations

import pytest

from tests.fault.order_checker import Step, check, expected

STEPS = [
    Step("a#1", "a", 1, (), False),
    Step("b#1", "b", 0, (("a#1", "ok"),), False),
    Step("c#1", "c", 0, (("b#1", "failed"), ("a#1", "any")), False),
    Step("line#1", "line", 0, (), True),
    Step("line#2", "line", 0, (("c#1", "ok"),), True),
]
RESULTS = {"a#1": "exit-code", "b#1": "dependency", "c#1": "success", "line#1": "success", "line#2": "success"}
BEGAN = ["a#1", "line#1", "c#1", "line#2"]


def test_what_is_right_is_right() -> None:
    assert expected(STEPS) == RESULTS
    assert check(STEPS, RESULTS, BEGAN) == []


@pytest.mark.parametrize(
    ("results", "began", "problem"),
    [
        ({"b#1": "success"}, BEGAN, "ended as success and not as dependency"),
        ({"c#1": "lost"}, BEGAN, "ended as lost and not as success"),
        ({}, [*BEGAN, "b#1"], "has run 1 times"),
        ({}, [*BEGAN, "a#1"], "has run 2 times"),
        ({}, BEGAN[:-1], "has run 0 times"),
        ({}, ["c#1", "a#1", "line#1", "line#2"], "began before a#1, for whose end it was to wait"),
        ({}, ["a#1", "c#1", "line#2", "line#1"], "its runs did not have their turns in order"),
    ],
)
def test_what_is_wrong_is_found(results: dict[str, str], began: list[str], problem: str) -> None:
    assert problem in [found.text for found in check(STEPS, {**RESULTS, **results}, began)]
