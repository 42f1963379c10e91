"""Charts as PNG files, by matplotlib where it is installed; and what a section of the benchmarks hands back."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

DPI = 120


class Bars(NamedTuple):
    """One value for each contender, on a logarithmic scale: they differ by thousands."""

    name: str  # of the file
    title: str
    unit: str
    values: Mapping[str, float]


class Lines(NamedTuple):
    """Measured points, with the line fitted to them, on logarithmic scales."""

    name: str
    title: str
    x: str
    y: str
    points: Sequence[tuple[float, float]]
    fitted: Sequence[tuple[float, float]]


class Section(NamedTuple):
    """What a part of the benchmarks with a table of its own has found."""

    table: str
    results: dict[str, object]
    charts: Sequence[Bars | Lines]


def can_draw() -> bool:
    return importlib.util.find_spec("matplotlib") is not None


def draw(chart: Bars | Lines, folder: Path) -> Path:
    """Write the file, and return its path. The folder is made."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogFormatter

    figure = Figure(figsize=(7, 3 if isinstance(chart, Bars) else 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(chart.title)
    if isinstance(chart, Bars):
        names = list(chart.values)[::-1]
        bars = axes.barh(
            names, [chart.values[name] for name in names], color=["C1" if n == "jobd" else "C0" for n in names]
        )
        axes.bar_label(bars, [f"{chart.values[name]:,.4g}" for name in names], padding=3)
        axes.set_xscale("symlog" if min(chart.values.values()) <= 0 else "log")
        axes.set_xlabel(chart.unit)
        axes.margins(x=0.2)
    else:
        axes.plot(*zip(*chart.fitted, strict=True), color="C0", label="fitted")
        axes.plot(*zip(*chart.points, strict=True), "o", color="C1", label="measured")
        axes.set_xscale("log")
        axes.set_yscale("log")
        costs = [y for _, y in chart.points]
        axes.set_ylim(min(costs) / 2, max(costs) * 2)  # or what is flat would look like a range of mountains
        axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
        axes.yaxis.set_major_formatter(LogFormatter())
        axes.set_xlabel(chart.x)
        axes.set_ylabel(chart.y)
        axes.legend()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{chart.name}.png"
    figure.savefig(path, dpi=DPI)
    return path
