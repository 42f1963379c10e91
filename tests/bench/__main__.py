"""`make bench`: every figure, each beside its yardstick. Prints a table; writes build/bench.json.

`make bench BENCH=recovery` runs one. BENCH_QUICK=1 uses small sizes: good for a look, not for a claim.
`make bench BENCH=--readme` runs all and puts the tables into README.md. A section has a table, results and plots of its
own (`make bench PLOTS=DIR` draws them as PNG): `peers`, the same work under other supervisors (`make peers`), and
`scale`, what more of everything costs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import (
    cold_help,
    completion,
    dependencies,
    fairness,
    followers,
    foreground,
    history,
    hot_verbs,
    idle,
    memory,
    million,
    output,
    peers,
    queueing,
    recovery,
    remote,
    requests,
    scale,
    spawn_latency,
    start_stop,
    throughput,
)
from tests.bench.machine import machine, replace_table
from tests.bench.measure import CannotMeasureError, Figure
from tests.bench.plots import can_draw, draw
from tests.system.stopping import stop_in_order

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.plots import Section

BENCHES: dict[str, Callable[[Path], list[Figure]]] = {
    module.__name__.rpartition(".")[2]: module.measure_all
    for module in (
        hot_verbs, cold_help, completion, foreground, throughput, spawn_latency, output, memory, requests, start_stop,
        idle, recovery, history, fairness, remote, dependencies, queueing, followers, million,
    )
}  # fmt: skip
SECTIONS: dict[str, Callable[[Path], Section]] = {"peers": peers.measure_section, "scale": scale.measure_section}
RESULTS = Path("build/bench.json")
HEAD = "| figure | measured | reach | that is | beside |\n|---|---|---|---|---|"
BEGIN, END = "<!-- figures -->", "<!-- /figures -->"


def shown(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def row(figure: Figure) -> str:
    sign = "≥" if figure.higher_is_better else "≤"
    value = f"{shown(figure.value)} {figure.unit}".strip()
    verdict = "" if figure.reached else " **missed**"
    return f"| {figure.name} | {value} | {sign} {figure.reach:g}{verdict} | {figure.ours} | {figure.yardstick} |"


def run_section(name: str, readme: bool, plots: Path | None) -> None:
    """Measure a section; its table, results and plots."""
    root = Path(tempfile.mkdtemp(prefix=f"jobd-bench-{name}-"))
    try:
        found = SECTIONS[name](root)
    except CannotMeasureError as e:
        print(f"{name}: skipped: {e}", file=sys.stderr)
        return
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(f"\n{found.table}", flush=True)
    write_results(RESULTS.with_name(f"{name}.json"), found.results)
    if readme:
        replace_table(f"<!-- {name} -->", f"<!-- /{name} -->", found.table)
    if plots is not None:
        for chart in found.charts:
            print(draw(chart, plots), file=sys.stderr)


def write_results(path: Path, results: dict[str, object]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"machine": machine(), **results}, indent=2, ensure_ascii=False) + "\n")


def run_one(name: str) -> list[Figure]:
    root = Path(tempfile.mkdtemp(prefix=f"jobd-bench-{name}-"))
    try:
        return BENCHES[name](root)
    except CannotMeasureError as e:
        print(f"{name}: skipped: {e}", file=sys.stderr)
        return []
    finally:
        shutil.rmtree(root, ignore_errors=True)


def cannot_draw(plots: Path) -> str:
    """Why there would be no plots, asked ahead of an hour of measuring; "" if there will be."""
    if not can_draw():
        return "needs matplotlib (make bench PLOTS=DIR installs it)"
    try:
        plots.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        return str(e)
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw the sections as PNG files in DIR")
    parser.add_argument("names", nargs="*", metavar="BENCH", help=", ".join([*BENCHES, *SECTIONS]))
    options = parser.parse_args()
    names = options.names or [*BENCHES, *SECTIONS]
    if unknown := [name for name in names if name not in BENCHES and name not in SECTIONS]:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join([*BENCHES, *SECTIONS])}")
    if options.plots is not None and (why := cannot_draw(options.plots)):
        parser.error(f"--plots: {why}")
    stop_in_order()
    if figures_of := [name for name in names if name in BENCHES]:
        figures = []
        print(HEAD, flush=True)
        for name in figures_of:
            for figure in run_one(name):
                figures.append(figure)
                print(row(figure), flush=True)
        write_results(RESULTS, {"figures": [{**f._asdict(), "reached": f.reached} for f in figures]})
        if options.readme:
            replace_table(BEGIN, END, "\n".join([HEAD, *map(row, figures)]))
    for name in names:
        if name in SECTIONS:
            run_section(name, options.readme, options.plots)
    return 0


if __name__ == "__main__":
    sys.exit(main())
