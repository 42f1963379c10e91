"""Whether something grows: a line through what was sampled, how sure its slope is, and what may not be exceeded. Pure.

Samples that follow each other are alike, so that a line through all of them would look surer than it is. They are put
into blocks, of which the medians count (a spike is no growth), and what is still alike among those widens the error.
"""

from __future__ import annotations

import math
import statistics
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCKS: Final = 24  # that a soak is cut into
FEWEST: Final = 5  # blocks through which a line says anything
HOUR_SEC: Final = 3600.0
MOST_ALIKE: Final = 0.9  # neighbouring blocks; more cannot be told from growth

FLAT, GROWS, SETTLES, UNSURE = "flat", "GROWS", "settles", "unsure"


class Line(NamedTuple):
    """By least squares. `per_hour` is its slope, and lies with 95 % within `error` of that."""

    start: float
    per_hour: float
    error: float

    @property
    def least(self) -> float:
        return self.per_hour - self.error


def verdict(times: Sequence[float], values: Sequence[float], most: float) -> str:
    """Whether something grows by more than `most` an hour: certainly, certainly not, or longer soaks have to tell.

    What has grown and does not go on in the second half has come to its size: an allocator goes there by steps.
    """
    whole, half = fit(times, values), (times[0] + times[-1]) / 2 if times else 0.0
    at = sum(time < half for time in times)
    last = fit(times[at:], values[at:])
    if whole is None or last is None:
        return UNSURE
    if whole.per_hour + whole.error <= most:
        return FLAT
    if whole.least <= most:
        return UNSURE
    return GROWS if last.per_hour > most and last.least > 0 else SETTLES


def fit(times: Sequence[float], values: Sequence[float]) -> Line | None:
    """The line through the blocks of samples, by seconds; None: there are too few of them."""
    points = _blocks(times, values)
    count = len(points)
    if count < FEWEST:
        return None
    mean_x, mean_y = (statistics.fmean(column) for column in zip(*points, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    rest = [y - mean_y - slope * (x - mean_x) for x, y in points]
    free = count - 2
    deviation = math.sqrt(sum(value**2 for value in rest) / free / spread)
    error = deviation * _quantile(free) * _widened(rest)
    return Line(mean_y + slope * (times[0] - mean_x), slope * HOUR_SEC, error * HOUR_SEC)


def _blocks(times: Sequence[float], values: Sequence[float]) -> list[tuple[float, float]]:
    """The middle and the median of each block that has samples."""
    if len(times) < 2:
        return []
    first, width = times[0], (times[-1] - times[0]) / BLOCKS
    found: dict[int, list[tuple[float, float]]] = {}
    for at, value in zip(times, values, strict=True):
        found.setdefault(min(BLOCKS - 1, int((at - first) / width)), []).append((at, value))
    return [
        (statistics.fmean(at for at, _ in block), statistics.median(value for _, value in block))
        for _, block in sorted(found.items())
    ]


def _quantile(free: int) -> float:
    """Student's t for 95 %, to 2 %, for five degrees of freedom and more."""
    return 1.96 + 2.5 / free + 2.0 / free**2


def _widened(rest: Sequence[float]) -> float:
    """By how much the error is larger since neighbours are alike (autoregression of the first order)."""
    square = sum(value**2 for value in rest)
    if not square:
        return 1.0
    alike = sum(one * other for one, other in pairwise(rest)) / square
    alike = min(MOST_ALIKE, max(0.0, alike))
    return math.sqrt((1 + alike) / (1 - alike))
