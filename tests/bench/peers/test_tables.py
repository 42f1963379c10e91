"""What the tables of the supervisors say."""

from __future__ import annotations

import pytest

from tests.bench.peers import tables
from tests.bench.peers.facts import Fact
from tests.bench.peers.services import Row


def test_ratios_are_to_jobd() -> None:
    row = Row("stop", "ms", {"jobd": 20.0, "other": 410.0, "third": None})
    assert tables.table("a service", [row]) == [
        "| a service | jobd | other | third |",
        "|---|---|---|---|",
        "| stop, ms | 20.0 | 410 (20.5x) | - |",
    ]


@pytest.mark.parametrize(("ours", "text"), [(0.0, "3.0"), (None, "3.0"), (2.0, "3.0 (1.5x)")])
def test_no_ratio_to_nothing(ours: float | None, text: str) -> None:
    assert tables.cell(3.0, ours, mine=False) == text


@pytest.mark.parametrize(
    ("value", "words"), [(0, "0.0"), (0.01, "0.01"), (1.25, "1.2"), (99.4, "99.4"), (1234.5, "1,234")]
)
def test_values_have_as_many_digits_as_they_deserve(value: float, words: str) -> None:
    assert tables.value_words(value) == words


def test_facts_in_words() -> None:
    dead = Fact("a", "a", wrote=(False, False), lost=None, quiet=(True, False), copies=1, exits_told="")
    assert tables.fact_cells(dead) == [
        "a: a", "dies", "dies writing", "runs on, is ended by the next one", "yes", "nobody knows"
    ]  # fmt: skip
    kept = Fact("b", "b", wrote=(True, True), lost=0, quiet=(True, True), copies=0, exits_told="history")
    assert tables.fact_cells(kept) == ["b: b", "runs on", "complete", "runs on", "no", "history"]
    assert tables.fact_cells(kept._replace(lost=3))[2] == "3 lines missing"
