"""Whether a cost is flat or linear in what there is more of: a line through the points, by least squares.

The squares are of relative errors. Sizes go over decades, and without that the largest point alone would be fitted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

# A cost that grows by less than this over all decades is called flat. Our choice: what a person does not notice.
FLAT = 0.25
# No point may be further from its line than this. A curve of n log n over four decades is a factor of two away from
# every line, one of the square of n far more; medians on a machine that does something else are 20 % away.
NEAR = 0.4


class Fit(NamedTuple):
    """cost = base + slope * x.

    Attributes:
        growth: what the line says of the largest, as a part of the smallest, less 1.
        worst: the largest distance of a point from its line, as a part of the line.
    """

    base: float
    slope: float
    growth: float
    worst: float
    verdict: str

    def at(self, x: float) -> float:
        return self.base + self.slope * x


def fitted(points: Sequence[tuple[float, float]]) -> Fit:
    """A line through points (x, cost), both more than 0, of which there are at least three."""
    if len(points) < 3 or any(x <= 0 or y <= 0 for x, y in points):
        raise ValueError(f"no line goes through {points}")
    base, slope = _line(points)
    if slope < 0:  # noise: more of it cannot make it cheaper, nor
        base, slope = _constant(points), 0.0
    elif base < 0:  # does nothing cost less than nothing
        base, slope = 0.0, _proportion(points)
    line = [base + slope * x for x, _ in points]
    worst = max(abs(y / on - 1) for on, (_, y) in zip(line, points, strict=True))
    growth = max(line) / min(line) - 1
    verdict = "neither" if worst > NEAR else "flat" if growth <= FLAT else "linear"
    return Fit(base, slope, growth, worst, verdict)


def _line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """base and slope that make the sum of ((base + slope x - y) / y)² least."""
    w = [1 / y**2 for _, y in points]
    s = sum(w)
    sx = sum(k * x for k, (x, _) in zip(w, points, strict=True))
    sxx = sum(k * x * x for k, (x, _) in zip(w, points, strict=True))
    sy = sum(1 / y for _, y in points)
    sxy = sum(x / y for x, y in points)
    slope = (s * sxy - sx * sy) / (s * sxx - sx * sx)
    return (sy - slope * sx) / s, slope


def _constant(points: Sequence[tuple[float, float]]) -> float:
    return sum(1 / y for _, y in points) / sum(1 / y**2 for _, y in points)


def _proportion(points: Sequence[tuple[float, float]]) -> float:
    return sum(x / y for x, y in points) / sum((x / y) ** 2 for x, y in points)
