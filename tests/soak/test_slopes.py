"""A leak that is planted is found, and what only looks like one is not."""

from __future__ import annotations

import random

import pytest

from tests.soak.slopes import FLAT, GROWS, UNSURE, fit

SEC = 1200.0
TIMES = [2.0 * number for number in range(int(SEC / 2))]
MOST = 1.0  # an hour


def noise(seed: int, width: float) -> list[float]:
    dice = random.Random(seed)
    return [dice.gauss(0, width) for _ in TIMES]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("per_hour", [3.0, 10.0, 1000.0])
def test_a_planted_leak_is_found(seed: int, per_hour: float) -> None:
    line = fit(TIMES, [40 + per_hour * at / 3600 + one for at, one in zip(TIMES, noise(seed, 0.2), strict=True)])
    assert line is not None
    assert line.verdict(MOST) == GROWS
    assert line.per_hour == pytest.approx(per_hour, abs=3 * line.error)
    assert line.start == pytest.approx(40, abs=0.3)


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_no_leak(seed: int) -> None:
    line = fit(TIMES, noise(seed, 0.2))
    assert line is not None
    assert line.verdict(MOST) == FLAT


@pytest.mark.parametrize("seed", range(20))
def test_much_noise_says_nothing(seed: int) -> None:
    line = fit(TIMES, noise(seed, 20.0))
    assert line is not None
    assert line.verdict(MOST) in (UNSURE, FLAT)
    assert line.error > MOST


@pytest.mark.parametrize("seed", range(20))
def test_a_walk_without_aim_is_not_taken_for_growth(seed: int) -> None:
    """As of memory that is given back late: where it is depends on where it was."""
    dice, at, found = random.Random(seed), 0.0, []
    for _ in TIMES:
        at = 0.98 * at + dice.gauss(0, 0.05)
        found.append(at)
    line = fit(TIMES, found)
    assert line is not None
    assert line.verdict(MOST) != GROWS


def test_a_saw_does_not_grow_and_one_that_climbs_does() -> None:
    saw = [at % 100 / 100 for at in TIMES]
    flat, climbs = fit(TIMES, saw), fit(TIMES, [tooth + at / 600 for tooth, at in zip(saw, TIMES, strict=True)])
    assert flat is not None
    assert climbs is not None
    assert flat.verdict(MOST) != GROWS
    assert climbs.verdict(MOST) == GROWS


def test_spikes_do_not_count() -> None:
    values = [1.0 if number % 50 else 1000.0 + number for number in range(len(TIMES))]
    line = fit(TIMES, values)
    assert line == (1.0, 0.0, 0.0)


def test_a_descriptor_a_minute_is_found_and_one_that_comes_once_does_not_grow() -> None:
    leak, once = fit(TIMES, [20.0 + at // 60 for at in TIMES]), fit(TIMES, [20.0 + (at > 600) for at in TIMES])
    assert leak is not None
    assert once is not None
    assert leak.verdict(6.0) == GROWS
    assert once.verdict(6.0) != GROWS


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
def test_through_too_few_blocks_there_is_no_line(count: int) -> None:
    assert fit(TIMES[:count], [1.0] * count) is None
