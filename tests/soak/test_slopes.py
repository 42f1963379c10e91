"""A leak that is planted is found, and what only looks like one is not."""

from __future__ import annotations

import math
import random

import pytest

from tests.soak.__main__ import JUDGED_SEC, WATCHED, Slope, has_failed
from tests.soak.slopes import FLAT, GROWS, SETTLES, UNSURE, fit, verdict

SEC = 1200.0
TIMES = [2.0 * number for number in range(int(SEC / 2))]
MOST = 1.0  # an hour


def noise(seed: int, width: float) -> list[float]:
    dice = random.Random(seed)
    return [dice.gauss(0, width) for _ in TIMES]


def found(values: list[float], most: float = MOST) -> str:
    return verdict(TIMES, values, most)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("per_hour", [5.0, 20.0, 1000.0])
def test_a_planted_leak_is_found(seed: int, per_hour: float) -> None:
    values = [40 + per_hour * at / 3600 + one for at, one in zip(TIMES, noise(seed, 0.2), strict=True)]
    line = fit(TIMES, values)
    assert line is not None
    assert line.per_hour == pytest.approx(per_hour, abs=3 * line.error)
    assert line.start == pytest.approx(40, abs=0.3)
    assert found(values) == GROWS


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_no_leak(seed: int) -> None:
    assert found(noise(seed, 0.2)) == FLAT


@pytest.mark.parametrize("seed", range(20))
def test_much_noise_says_nothing(seed: int) -> None:
    line = fit(TIMES, noise(seed, 20.0))
    assert line is not None
    assert line.error > MOST
    assert found(noise(seed, 20.0)) in (UNSURE, FLAT)


@pytest.mark.parametrize("seed", range(20))
def test_a_walk_without_aim_is_not_taken_for_growth(seed: int) -> None:
    """As of memory that is given back late: where it is depends on where it was."""
    dice, at, values = random.Random(seed), 0.0, []
    for _ in TIMES:
        at = 0.98 * at + dice.gauss(0, 0.05)
        values.append(at)
    assert found(values) != GROWS


def test_what_comes_to_its_size_settles() -> None:
    assert found([50 - 20 * math.exp(-at / 60) for at in TIMES]) != GROWS
    assert found([50.0 + (at > 200) + 2 * (at > 400) for at in TIMES]) == SETTLES
    assert found([50.0 + at // 100 for at in TIMES]) == GROWS


def test_a_saw_does_not_grow_and_one_that_climbs_does() -> None:
    saw = [at % 100 / 100 for at in TIMES]
    assert found(saw) != GROWS
    assert found([tooth + at / 600 for tooth, at in zip(saw, TIMES, strict=True)]) == GROWS


def test_spikes_do_not_count() -> None:
    values = [1.0 if number % 50 else 1000.0 + number for number in range(len(TIMES))]
    assert fit(TIMES, values) == (1.0, 0.0, 0.0)
    assert found(values) == FLAT


def test_a_descriptor_a_minute_is_found_and_one_that_comes_once_does_not_grow() -> None:
    assert found([20.0 + at // 60 for at in TIMES], 6.0) == GROWS
    assert found([20.0 + (at > 600) for at in TIMES], 6.0) != GROWS


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
def test_through_too_few_blocks_there_is_no_line(count: int) -> None:
    assert fit(TIMES[:count], [1.0] * count) is None
    assert verdict(TIMES[:count], [1.0] * count, MOST) == UNSURE


def test_a_short_soak_fails_by_errors_alone() -> None:
    grown = [Slope(WATCHED[0], None, 2.0, GROWS)]
    assert has_failed([], grown, JUDGED_SEC)
    assert not has_failed([], grown, JUDGED_SEC - 1)
    assert has_failed(["runs: wrong"], [], JUDGED_SEC - 1)
