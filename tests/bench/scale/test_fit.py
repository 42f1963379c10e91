"""The lines that are put through costs, and what they are called."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import pytest

from tests.bench.scale import chart, row, slope_words
from tests.bench.scale.fit import fitted
from tests.bench.scale.line import Line

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = (1, 10, 100, 1000, 10_000)


def points(cost: Callable[[float], float]) -> list[tuple[float, float]]:
    return [(float(size), cost(size)) for size in SIZES]


def test_a_line_is_found_exactly() -> None:
    fit = fitted(points(lambda n: 30 + 0.01 * n))
    assert [fit.base, fit.slope, fit.worst] == pytest.approx([30, 0.01, 0])
    assert fit.verdict == "linear"
    assert fit.at(200) == pytest.approx(32)


@pytest.mark.parametrize(
    ("cost", "verdict"),
    [
        (lambda _: 5.0, "flat"),
        (lambda n: 5.0 - n / 10_000, "flat"),
        (lambda n: 5.0 + n / 10_000, "flat"),
        (lambda n: 5.0 + math.log10(n) / 10, "flat"),
        (lambda n: 5.0 + n / 100, "linear"),
        (lambda n: 3.0 * n, "linear"),
        (lambda n: 1 + n * math.log(n + 1), "neither"),
        (lambda n: 5.0 + n**2 / 1000, "neither"),
        (lambda n: 1 + n**1.5, "neither"),
        (lambda n: 1 + math.sqrt(n), "neither"),
    ],
)  # fmt: skip
def test_curves_are_told_from_lines(cost: Callable[[float], float], verdict: str) -> None:
    assert fitted(points(cost)).verdict == verdict


@pytest.mark.parametrize(("cost", "verdict"), [(lambda _: 5.0, "flat"), (lambda n: 5 + n / 10, "linear")])
def test_noise_of_a_fifth_changes_no_verdict(cost: Callable[[float], float], verdict: str) -> None:
    rng = random.Random(1)
    for _ in range(200):
        noisy = points(lambda n: cost(n) * rng.uniform(0.9, 1.1))
        assert fitted(noisy).verdict in ({verdict, "linear"} if verdict == "flat" else {verdict})


@pytest.mark.parametrize("bad", [[(1, 1), (2, 2)], [(0, 1), (1, 1), (2, 1)], [(1, 1), (2, 0), (3, 1)]])
def test_what_no_line_goes_through(bad: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="no line goes through"):
        fitted(bad)


def test_a_broken_promise_is_said() -> None:
    line = Line("life", "jobs", "ms", "flat", points(lambda n: 5 + n / 100))
    assert row(line, fitted(line.points)) == (
        "| life | jobs | 1: 5.01 ms | 10,000: 105 ms | 5 ms + 10 µs for each of the jobs | 0% | linear **not flat** |"
    )
    kept = row(line._replace(promised="linear"), fitted(line.points))
    assert kept.endswith("| linear |")


@pytest.mark.parametrize(
    ("slope", "unit", "words"),
    [(0.0, "ms", "0 ns"), (2.5, "ms", "2.5 ms"), (0.0025, "ms", "2.5 µs"), (0.01, "MiB", "10.2 KiB")],
)
def test_slopes_are_readable(slope: float, unit: str, words: str) -> None:
    assert slope_words(slope, unit, "jobs") == f"{words} for each of the jobs"


def test_a_chart_goes_from_the_first_point_to_the_last() -> None:
    line = Line("life", "jobs", "ms", "flat", points(lambda _: 5.0))
    drawn = chart(line, fitted(line.points))
    assert drawn.name == "scale-jobs-life"
    assert [drawn.fitted[0][0], drawn.fitted[-1][0]] == pytest.approx([1, 10_000])
