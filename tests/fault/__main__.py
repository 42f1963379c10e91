"""`make fault`: the campaigns at full size, in processes of their own. Prints a line for each, then a table; writes
build/fault.json; exits 1 when one has failed.

`make fault FAULT="F1 F8" SEED=7 SIZE=50` repeats two of them. The directory of one that failed is kept and named, with
the command that repeats it. Ctrl-C ends those that run, and takes away what they have made. `make fault
FAULT=--readme` runs all and puts the table into README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.bench.machine import machine_line, replace_table
from tests.fault.campaigns import CAMPAIGNS, Campaign, new_seed, run
from tests.fault.report import CannotRunError, Report
from tests.system.stopping import STOPPED, stop_in_order

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = Path("build/fault.json")
LONGEST_SEC = 1800.0  # of one campaign: the longest takes a sixth of that; whatever takes longer hangs
CLOSING_SEC = 120.0  # what one that was told to end may take for ending its jobd, and that a minute for its jobs
HEAD = "| campaign | what happens | how often | what was found | seconds |\n|---|---|---|---|---|"
BEGIN, END = "<!-- campaigns -->", "<!-- /campaigns -->"


class Outcome(NamedTuple):
    """A campaign that has ended. `report` is None when this machine cannot run it; `why` says why."""

    campaign: Campaign
    size: int
    report: Report | None
    why: str = ""

    @property
    def failed(self) -> bool:
        return self.report is not None and not self.report.passed

    @property
    def again(self) -> str:
        """The command that repeats it."""
        seed = self.report.seed if self.report else 0
        return f"make fault FAULT={self.campaign.name} SIZE={self.size} SEED={seed}"


class Running:
    """The processes of campaigns that have not ended, so that whoever stops this one stops them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stopped = False
        self._live: set[subprocess.Popen[str]] = set()

    def start(self, command: Sequence[str]) -> subprocess.Popen[str] | None:
        """None: no more are to be started. Each has a session of its own, so that Ctrl-C reaches it but once."""
        with self._lock:
            if self._stopped:
                return None
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
            self._live.add(process)
            return process

    def ended(self, process: subprocess.Popen[str]) -> bool:
        """Whether it has ended by itself."""
        with self._lock:
            self._live.discard(process)
            return not self._stopped

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            for process in self._live:
                process.terminate()


def output_of(process: subprocess.Popen[str]) -> str:
    """What it writes until its end; one that hangs is told to end."""
    try:
        return process.communicate(timeout=LONGEST_SEC)[0]
    except subprocess.TimeoutExpired:
        process.terminate()
    try:
        return process.communicate(timeout=CLOSING_SEC)[0]
    except subprocess.TimeoutExpired:
        process.kill()
    return process.communicate()[0]


def run_apart(one: Campaign, size: int, seed: int, running: Running) -> Outcome | None:
    """Run a campaign in a process of its own, and remove what it made when it passed; None: it was stopped."""
    root = Path(tempfile.mkdtemp(prefix=f"jobd-{one.name}-"))
    root.chmod(0o755)
    inside = ["--inside", str(root), one.name, "--size", str(size), "--seed", str(seed)]
    process = running.start([sys.executable, "-m", "tests.fault", *inside])
    text = output_of(process) if process else ""
    if process is None or not running.ended(process):
        shutil.rmtree(root, ignore_errors=True)
        return None
    if process.returncode:
        broken = Report(seed, f"{size} {one.unit}", {"broke off": 1}, [f"exit {process.returncode}"])
        outcome = Outcome(one, size, broken)
    else:
        found = json.loads(text.splitlines()[-1])
        outcome = Outcome(one, size, Report(**found["report"]) if found["report"] else None, found["why"])
    if not outcome.failed:
        shutil.rmtree(root, ignore_errors=True)
    said = f"skipped: {outcome.why}" if outcome.report is None else str(outcome.report)
    print(f"{one.name}: {said}" + (f"\n  kept: {root}\n  again: {outcome.again}" if outcome.failed else ""), flush=True)
    return outcome


def run_inside(one: Campaign, root: Path, size: int, seed: int) -> int:
    """What the process of a campaign does: the report is the last line of its stdout, as JSON."""
    report, why = None, ""
    stop_in_order()
    try:
        report = run(one, root, size, seed)
    except CannotRunError as e:
        why = str(e)
    print(json.dumps({"report": report and report._asdict(), "why": why}))
    return 0


def run_all(names: Sequence[str], size: int | None, seed: int | None, jobs: int) -> list[Outcome]:
    """Run these, `jobs` at a time, and those that measure time after them. Some are missing if it was stopped."""
    outcomes: list[Outcome] = []
    chosen = [CAMPAIGNS[name] for name in names]
    running = Running()
    for alone, workers in ((False, jobs), (True, 1)):
        with ThreadPoolExecutor(workers) as pool:
            try:
                futures = [
                    pool.submit(run_apart, one, size or one.full, new_seed() if seed is None else seed, running)
                    for one in chosen
                    if one.alone is alone
                ]
                outcomes += [outcome for future in as_completed(futures) if (outcome := future.result())]
            except SystemExit:
                running.stop()
                print("stopped: waiting until nothing is left of what runs", file=sys.stderr)
                break
    return sorted(outcomes, key=lambda outcome: names.index(outcome.campaign.name))


def row(outcome: Outcome) -> str:
    one, report = outcome.campaign, outcome.report
    if report is None:
        return f"| {one.name} | {one.what} | | skipped: {outcome.why} | |"
    found = [f"**{n} {kind}**" for kind, n in report.counts.items() if n]
    zeros = [kind for kind, n in report.counts.items() if not n]
    none = [f"0 of: {', '.join(zeros)}"] if zeros else []
    return f"| {one.name} | {one.what} | {report.size} | {'; '.join([*found, *none])} | {report.seconds:.0f} |"


def above_zero(text: str) -> int:
    """An argument; argparse names its mistake by this function's name."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fault", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="CAMPAIGN", help=", ".join(CAMPAIGNS))
    parser.add_argument("--size", type=above_zero, help="instead of the full one")
    parser.add_argument("--seed", type=int, help="repeat a campaign")
    parser.add_argument(
        "--jobs", type=above_zero, default=os.cpu_count(), help="campaigns at a time (default: processors)"
    )
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in CAMPAIGNS]:
        parser.error(f"no such campaign: {', '.join(unknown)}; there are {', '.join(CAMPAIGNS)}")
    names = options.names or list(CAMPAIGNS)
    if options.inside:
        return run_inside(CAMPAIGNS[names[0]], options.inside, options.size, options.seed)
    stop_in_order()
    outcomes = run_all(names, options.size, options.seed, options.jobs)
    if len(outcomes) < len(names):
        return STOPPED
    table = "\n".join([HEAD, *map(row, outcomes)])
    print(f"\n{table}\n\n{machine_line()}")
    RESULTS.parent.mkdir(exist_ok=True)
    found = [
        {"name": o.campaign.name, "why": o.why, "again": o.again, **(o.report._asdict() if o.report else {})}
        for o in outcomes
    ]
    RESULTS.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    if options.readme:
        replace_table(BEGIN, END, table)
    return any(outcome.failed for outcome in outcomes)


if __name__ == "__main__":
    sys.exit(main())
