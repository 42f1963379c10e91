"""`make fault`: the campaigns at full size, in processes of their own. Prints a line for each, with its seed, and a
table at the end; writes build/fault.json; exits 1 when one has failed.

`make fault FAULT="F1 F8" SEED=7 SIZE=50` repeats two of them. The directory of one that failed is kept and named.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.bench.machine import machine_line, replace_table
from tests.fault.campaigns import CAMPAIGNS, Campaign, new_seed, run
from tests.fault.report import CannotRunError, Report

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = Path("build/fault.json")
LONGEST_SEC = 1800.0  # of one campaign: the longest takes a sixth of that; whatever takes longer hangs
HEAD = "| campaign | what happens | size | what must be zero | found | seed | seconds |\n|---|---|---|---|---|---|---|"
BEGIN, END = "<!-- campaigns -->", "<!-- /campaigns -->"


class Outcome(NamedTuple):
    """A campaign that has ended. `report` is None when this machine cannot run it; `why` says why."""

    campaign: Campaign
    report: Report | None
    why: str = ""

    @property
    def failed(self) -> bool:
        return self.report is not None and not self.report.passed


def run_apart(one: Campaign, size: int, seed: int) -> Outcome:
    """Run a campaign in a process of its own, and remove what it made when it passed."""
    root = Path(tempfile.mkdtemp(prefix=f"jobd-{one.name}-"))
    root.chmod(0o755)
    command = [sys.executable, "-m", "tests.fault", "--inside", str(root), one.name, "--size", str(size)]
    done = subprocess.run(
        [*command, "--seed", str(seed)], stdout=subprocess.PIPE, text=True, check=False, timeout=LONGEST_SEC
    )
    if done.returncode:
        return Outcome(one, Report(seed, f"{size} {one.unit}", {"broke off": 1}, [f"exit {done.returncode}"]))
    found = json.loads(done.stdout.splitlines()[-1])
    outcome = Outcome(one, Report(**found["report"]) if found["report"] else None, found["why"])
    if not outcome.failed:
        shutil.rmtree(root, ignore_errors=True)
    said = f"skipped: {outcome.why}" if outcome.report is None else str(outcome.report)
    print(f"{one.name}: {said}" + (f"\n  kept: {root}" if outcome.failed else ""), flush=True)
    return outcome


def run_inside(one: Campaign, root: Path, size: int, seed: int) -> int:
    """What the process of a campaign does: the report is the last line of its stdout, as JSON."""
    report, why = None, ""
    try:
        report = run(one, root, size, seed)
    except CannotRunError as e:
        why = str(e)
    print(json.dumps({"report": report and report._asdict(), "why": why}))
    return 0


def run_all(names: Sequence[str], size: int | None, seed: int | None, jobs: int) -> list[Outcome]:
    """Run these, `jobs` at a time, and those that measure time after them."""
    outcomes = []
    chosen = [CAMPAIGNS[name] for name in names]
    for alone, workers in ((False, jobs), (True, 1)):
        with ThreadPoolExecutor(workers) as pool:
            futures = [
                pool.submit(run_apart, one, size or one.full, new_seed() if seed is None else seed)
                for one in chosen
                if one.alone is alone
            ]
            outcomes += [future.result() for future in as_completed(futures)]
    return sorted(outcomes, key=lambda outcome: names.index(outcome.campaign.name))


def row(outcome: Outcome) -> str:
    one, report = outcome.campaign, outcome.report
    if report is None:
        return f"| {one.name} | {one.what} | | skipped: {outcome.why} | | | |"
    kinds = ", ".join(report.counts)
    found = "all 0" if report.passed else ", ".join(f"**{n} {kind}**" for kind, n in report.counts.items() if n)
    return f"| {one.name} | {one.what} | {report.size} | {kinds} | {found} | {report.seed} | {report.seconds:.0f} |"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fault", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="CAMPAIGN", help=", ".join(CAMPAIGNS))
    parser.add_argument("--size", type=int, help="instead of the full one")
    parser.add_argument("--seed", type=int, help="repeat a campaign")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="campaigns at a time (default: processors)")
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in CAMPAIGNS]:
        parser.error(f"no such campaign: {', '.join(unknown)}; there are {', '.join(CAMPAIGNS)}")
    names = options.names or list(CAMPAIGNS)
    if options.inside:
        return run_inside(CAMPAIGNS[names[0]], options.inside, options.size, options.seed)
    outcomes = run_all(names, options.size, options.seed, options.jobs)
    table = "\n".join([HEAD, *map(row, outcomes)])
    print(f"\n{table}\n\n{machine_line()}")
    RESULTS.parent.mkdir(exist_ok=True)
    found = [{"name": o.campaign.name, "why": o.why, **(o.report._asdict() if o.report else {})} for o in outcomes]
    RESULTS.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    if options.readme:
        replace_table(BEGIN, END, table)
    return any(outcome.failed for outcome in outcomes)


if __name__ == "__main__":
    sys.exit(main())
