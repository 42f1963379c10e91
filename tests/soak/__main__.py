"""`make soak`: everything that jobd does, for a long time, and what grows meanwhile. Exits 1 when something does.

In the first third daemons are killed; of the last one the slopes are taken once it has warmed up, and of the keeper,
who lives all the time, from his own warm-up on. `make soak MINUTES=240` finds smaller leaks: the error of a slope
falls faster than the time grows. One of less than ten minutes is a look: only errors fail it, as what comes and goes
looks like what grows. Every sample is in build/soak.json.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.bench.machine import machine, machine_line
from tests.fault.report import own_deaths
from tests.soak.load import Brisk, Load
from tests.soak.samples import Pinger, of_process, of_state
from tests.soak.slopes import GROWS, HOUR_SEC, UNSURE, fit, verdict
from tests.system.stopping import stop_in_order

if TYPE_CHECKING:
    from tests.soak.slopes import Line
    from tests.system.program import Program

RESULTS = Path("build/soak.json")
SAMPLE_SEC: Final = 2.0
JUDGED_SEC: Final = 600.0  # it takes that for a slope to say anything: clients come and go, and take descriptors along
KILLED: Final = 1 / 3  # of the time daemons are killed
AFTER_KILL_SEC: Final = 15.0  # until the next daemon is there, at the longest: three of the keeper's longest pauses
WARM_SEC: Final = 180.0  # caches fill, the allocator's arenas and the database's pages come to their size …
WARM: Final = 1 / 6  # … in a short soak: of the time

ARENAS: Final = 2.0  # MiB


class Watched(NamedTuple):
    """What is sampled. It may grow by no more than `most` an hour, and once by a `step`."""

    name: str
    unit: str
    most: float
    lives: bool = False  # it is the keeper's, who is not killed
    step: float = 0.0

    def bound(self, sec: float) -> float:
        """What it may grow by in an hour, where so long was looked at."""
        return self.most + (self.step * HOUR_SEC / sec if sec else 0.0)


# An hour of this load is about 60,000 runs and 40,000 clients: 2 MiB are 20 bytes for each, and no object is so small.
# An arena of CPython's allocator is 1 MiB, and two may come at any time: short soaks do not see small leaks of memory.
# Descriptors, threads and zombies come back or do not; a client that is cut off takes a moment. What lies on the disk
# is what the last half minute has left, so that it goes with the speed of the machine: an hour makes 100,000 files. A
# ping may not take a twentieth of a millisecond longer each hour.
WATCHED: Final = (
    Watched("keeper PSS", "MiB", 2.0, lives=True, step=ARENAS),
    Watched("keeper RSS", "MiB", 2.0, lives=True, step=ARENAS),
    Watched("keeper descriptors", "", 5.0, lives=True),
    Watched("keeper threads", "", 1.0, lives=True),
    Watched("keeper zombies", "", 2.0, lives=True),
    Watched("daemon PSS", "MiB", 2.0, step=ARENAS),
    Watched("daemon RSS", "MiB", 2.0, step=ARENAS),
    Watched("daemon descriptors", "", 5.0),
    Watched("daemon threads", "", 1.0),
    Watched("daemon zombies", "", 1.0),
    Watched("files", "", 2000.0),
    Watched("logs", "MiB", 10.0),
    Watched("database", "MiB", 1.0),
    Watched("ping", "ms", 0.05),
    Watched("ping p95", "ms", 2.0),
)


class Sample(NamedTuple):
    """What was seen at one moment, under which daemon."""

    at: float  # seconds from the beginning
    daemon: int
    values: dict[str, float]


class Slope(NamedTuple):
    """What came of one thing."""

    watched: Watched
    line: Line | None
    most: float
    verdict: str

    def row(self) -> str:
        name, unit, most = self.watched.name, self.watched.unit, f"{round(self.most, 2):g}"
        if self.line is None:
            return f"| {name} | | | {most} | too few samples |"
        start = f"{self.line.start:.2f} {unit}".strip()
        return f"| {name} | {start} | {self.line.per_hour:+.3f} ± {self.line.error:.3f} | {most} | {self.verdict} |"


def look(program: Program, pinger: Pinger, began: float) -> Sample | None:
    """One sample; None: the daemon was killed meanwhile."""
    try:
        daemon = program.daemon_pid()
        values = {f"keeper {name}": value for name, value in of_process(program.keeper.pid).items()}
        values |= {f"daemon {name}": value for name, value in of_process(daemon).items()}
    except (OSError, EOFError):
        return None
    return Sample(time.monotonic() - began, daemon, {**values, **of_state(program.state_dir), **pinger.sample()})


def slopes(samples: list[Sample], warm_sec: float) -> list[Slope]:
    """A line for each: of the keeper from `warm_sec` on, of all else from so long after the last daemon's first."""
    if not samples:
        return [Slope(watched, None, watched.most, UNSURE) for watched in WATCHED]
    last = next(sample.at for sample in samples if sample.daemon == samples[-1].daemon)
    found = []
    for watched in WATCHED:
        after = warm_sec if watched.lives else last + warm_sec
        seen = [(s.at, s.values[watched.name]) for s in samples if s.at >= after and watched.name in s.values]
        times, values = [at for at, _ in seen], [value for _, value in seen]
        most = watched.bound(times[-1] - times[0] if times else 0.0)
        found.append(Slope(watched, fit(times, values), most, verdict(times, values, most)))
    return found


def replaced(samples: list[Sample], after: float) -> list[str]:
    """What is wrong when there was more than one daemon from then on, where nobody kills any."""
    daemons = dict.fromkeys(sample.daemon for sample in samples if sample.at >= after)
    return [f"{len(daemons) - 1} daemons have died that nobody had killed"] if len(daemons) > 1 else []


def soak(root: Path, sec: float, seed: int) -> tuple[list[Sample], Load]:
    """Have it go on for so long; what was seen."""
    program = Brisk(root)
    program.prepare()
    samples: list[Sample] = []
    try:
        program.start()
        load, pinger, began = Load(program, seed), Pinger(program, "steady"), time.monotonic()
        load.kills_until = began + KILLED * sec
        load.start()
        pinger.start()
        try:
            while (now := time.monotonic()) < began + sec:
                if (sample := look(program, pinger, began)) is not None:
                    samples.append(sample)
                time.sleep(max(0.0, now + SAMPLE_SEC - time.monotonic()))
        finally:
            pinger.over.set()
            load.stop()
            pinger.join()
    finally:
        program.close()
    load.errors += [*load.never_done(), *own_deaths(program.log_text())]
    load.errors += replaced(samples, KILLED * sec + AFTER_KILL_SEC)
    return samples, load


def minutes(text: str) -> float:
    """An argument; argparse names its mistake by this function's name."""
    if not 1 <= (number := float(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: it takes a minute at least to see anything grow")
    return number


def has_failed(errors: list[str], found: list[Slope], sec: float) -> bool:
    grows = any(one.verdict == GROWS or one.line is None for one in found)
    return bool(errors) or (grows and sec >= JUDGED_SEC)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=minutes, default=20.0)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    sec = options.minutes * 60
    seed = random.SystemRandom().randrange(1 << 30) if options.seed is None else options.seed
    root = Path(tempfile.mkdtemp(prefix="jobd-soak-"))
    print(f"seed {seed}, {options.minutes:g} minutes", flush=True)
    stop_in_order()
    try:
        samples, load = soak(root, sec, seed)
    except SystemExit:
        shutil.rmtree(root, ignore_errors=True)
        raise
    except BaseException:
        print(f"broke off; what jobd has left is in {root}", file=sys.stderr)
        raise
    found = slopes(samples, min(WARM_SEC, WARM * sec))
    done = ", ".join(f"{count} {name}" for name, count in load.done.items() if name != "kills_daemons")
    print(f"{load.kills} kills of the daemon; times each was done: {done}\n")
    print("| what | at first | an hour adds | at most | |\n|---|---|---|---|---|")
    print("\n".join(slope.row() for slope in found))
    print(f"\n{machine_line()}")
    for error in load.errors:
        print(f"error: {error}")
    RESULTS.parent.mkdir(exist_ok=True)
    written = {"machine": machine(), "seed": seed, "kills": load.kills, "done": load.done, "errors": load.errors}
    lines = {one.watched.name: None if one.line is None else one.line._asdict() for one in found}
    RESULTS.write_text(json.dumps({**written, "slopes": lines, "samples": samples}, indent=1) + "\n")
    if sec < JUDGED_SEC:
        print("a look: slopes count from 10 minutes on")
    if has_failed(load.errors, found, sec):
        print(f"FAILED; what jobd has left is in {root}")
        return 1
    shutil.rmtree(root, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
