"""`make bench`: every figure, each beside its yardstick. Prints a table; writes build/bench.json.

`make bench BENCH=recovery` runs one. BENCH_QUICK=1 uses small sizes: good for a look, not for a claim.
`make bench BENCH=--readme` runs all and puts the table into README.md.
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
    queueing,
    recovery,
    remote,
    requests,
    spawn_latency,
    start_stop,
    throughput,
)
from tests.bench.machine import machine, replace_table
from tests.bench.measure import CannotMeasureError, Figure

if TYPE_CHECKING:
    from collections.abc import Callable

BENCHES: dict[str, Callable[[Path], list[Figure]]] = {
    module.__name__.rpartition(".")[2]: module.measure_all
    for module in (
        hot_verbs, cold_help, completion, foreground, throughput, spawn_latency, output, memory, requests, start_stop,
        idle, recovery, history, fairness, remote, dependencies, queueing, followers, million,
    )
}  # fmt: skip
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


def run_one(name: str) -> list[Figure]:
    root = Path(tempfile.mkdtemp(prefix=f"jobd-bench-{name}-"))
    try:
        return BENCHES[name](root)
    except CannotMeasureError as e:
        print(f"{name}: skipped: {e}", file=sys.stderr)
        return []
    finally:
        shutil.rmtree(root, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    parser.add_argument("names", nargs="*", metavar="BENCH", help=", ".join(BENCHES))
    options = parser.parse_args()
    names = options.names or list(BENCHES)
    if unknown := [name for name in names if name not in BENCHES]:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    figures = []
    print(HEAD, flush=True)
    for name in names:
        for figure in run_one(name):
            figures.append(figure)
            print(row(figure), flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    results = {"machine": machine(), "figures": [{**f._asdict(), "reached": f.reached} for f in figures]}
    RESULTS.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    if options.readme:
        replace_table(BEGIN, END, "\n".join([HEAD, *map(row, figures)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
