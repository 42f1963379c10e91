"""What looks whether each caller may what the table says finds a cell that differs."""

from __future__ import annotations

import random

import pytest

from tests.fault.uids import KINDS, STRANGER, WHOSE, Cell, chosen, compare, expected, judge
from tests.system.matrix import CALLERS, MATRIX

OTHERS = Cell("another's", "stop", "operator")


@pytest.mark.parametrize("found", ["-", ".", "internal"])
def test_an_answer_that_differs_from_the_table_is_found(found: str) -> None:
    assert judge(OTHERS, expected(OTHERS)) == []
    (problem,) = judge(OTHERS, found)
    assert (problem.kind, found in problem.text) == ("wrong cells", True)
    assert problem.kind in KINDS


def test_every_cell_has_what_is_expected_of_it() -> None:
    assert [expected(OTHERS._replace(whose=whose)) for whose in WHOSE[:3]] == ["+", "+", "."]
    assert expected(Cell("another's", "stop", "reader")) == "-"
    assert expected(Cell("another's", "get", STRANGER)) == "."


def test_one_byte_tells_what_is_there_from_what_is_not() -> None:
    hidden = Cell("hidden", "get", STRANGER)
    assert compare(hidden, b"WORD", b"WORD") == []
    assert [problem.kind for problem in compare(hidden, b"WORD", b"WORE")] == ["told apart"]


def test_the_dice_choose_every_request_caller_and_owner() -> None:
    dice = random.Random(1)
    cells = [chosen(dice) for _ in range(5000)]
    assert {cell.request for cell in cells} == set(MATRIX)
    assert {cell.caller for cell in cells} == set(CALLERS)
    assert {cell.whose for cell in cells} == set(WHOSE)
