"""What more of everything costs: `make bench BENCH=scale`. Each line is to be flat or linear, as promised there."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from tests.bench.plots import Lines, Section
from tests.bench.scale import clients, jobs, output, runs
from tests.bench.scale.fit import Fit, fitted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.bench.scale.line import Line

__all__ = ["measure_section"]

HEAD = "| cost | of | from | to | line | each point within | that is |\n|---|---|---|---|---|---|---|"
PARTS: tuple[tuple[str, Callable[[Path], list[Line]]], ...] = (
    ("running", jobs.running),
    ("at-rest", jobs.at_rest),
    ("runs", runs.finished),
    ("output", output.sizes),
    ("clients", clients.connected),
)


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 99.5 else f"{value:.3g}"


def slope_words(slope: float, unit: str, of: str) -> str:
    """A slope in a unit that makes a readable number of it."""
    smaller = {"ms": ("µs", 1e3), "µs": ("ns", 1e3), "MiB": ("KiB", 1024.0), "KiB": ("bytes", 1024.0)}
    while slope < 1 and unit in smaller:
        unit, by = smaller[unit]
        slope *= by
    return f"{number(slope)} {unit} for each of the {of}"


def kept(line: Line, fit: Fit) -> bool:
    """Whether it is as promised. What is flat is also linear."""
    return fit.verdict == line.promised or (fit.verdict, line.promised) == ("flat", "linear")


def row(line: Line, fit: Fit) -> str:
    first, last = line.points[0], line.points[-1]
    ends = [f"{number(x)}: {number(y)} {line.unit}" for x, y in (first, last)]
    words = f"{number(fit.base)} {line.unit} + {slope_words(fit.slope, line.unit, line.of)}"
    verdict = fit.verdict if kept(line, fit) else f"{fit.verdict} **not {line.promised}**"
    return f"| {line.what} | {line.of} | {ends[0]} | {ends[1]} | {words} | {fit.worst:.0%} | {verdict} |"


def chart(line: Line, fit: Fit) -> Lines:
    x = [line.points[0][0] * (line.points[-1][0] / line.points[0][0]) ** (at / 50) for at in range(51)]
    return Lines(
        name="scale-" + re.sub(r"\W+", "-", f"{line.of} {line.what}"),
        title=f"{line.what}: {fit.verdict}",
        x=line.of,
        y=line.unit,
        points=line.points,
        fitted=[(each, fit.at(each)) for each in x],
    )


def measure_section(root: Path) -> Section:
    """All lines. Raises CannotMeasureError without a compiler."""
    found: list[tuple[Line, Fit]] = []
    for name, part in PARTS:
        print(f"{name} …", file=sys.stderr, flush=True)
        (root / name).mkdir()
        found += [(line, fitted(line.points)) for line in part(root / name)]
    return Section(
        table="\n".join([HEAD, *(row(line, fit) for line, fit in found)]),
        results={"lines": [{**line._asdict(), "fit": fit._asdict(), "kept": kept(line, fit)} for line, fit in found]},
        charts=[chart(line, fit) for line, fit in found],
    )
