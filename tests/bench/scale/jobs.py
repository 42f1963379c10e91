"""What more jobs cost: those that run, and those that only are there."""

from __future__ import annotations

import resource
from functools import partial
from typing import TYPE_CHECKING

from jobd.wire import messages as m
from tests.bench import measure
from tests.bench.history import fill
from tests.bench.measure import CannotMeasureError
from tests.bench.memory import start_sleepers, stop_sleepers
from tests.bench.scale.line import POINTS, Line, Lines, comes_back, filled, life_cycle, memory, request, verb
from tests.system.program import Program

if TYPE_CHECKING:
    from pathlib import Path

FDS_OF_A_RUN = 3  # that keeper and daemon each hold: two pipes and a pidfd, or two files and a pidfd
SPARE_FDS = 2000
RUNNING = (1, 10, 100, 1000, 10_000) if not measure.QUICK else (1, 10, 100, 300, 600)
MANY = 50  # that are stopped at once: of fewer it is the request that costs
AT_REST = (1, 10, 100, 1000, 10_000) if not measure.QUICK else (1, 10, 100, 1000)


def running_counts() -> list[int]:
    """1 to 10,000, or as many as may have their descriptors."""
    most = (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - SPARE_FDS) // FDS_OF_A_RUN
    counts = [count for count in RUNNING if count <= most]
    if len(counts) < POINTS:
        raise CannotMeasureError("the hard limit of open files is too low for many jobs (ulimit -Hn)")
    return counts if len(counts) == len(RUNNING) else [*counts, most]


def running(root: Path) -> list[Line]:
    """The starts are not flat: a fork copies the keeper's descriptors, three for each run, and the child closes them;
    and the kernel looks at all children for one that has ended. Half a microsecond for each run, measured."""
    lines = Lines("running jobs")
    with Program(root) as jobd:
        there = 0
        for count in running_counts():
            if count <= there:
                continue
            took = measure.timed(lambda count=count, there=there: start_sleepers(jobd, count - there, there))  # type: ignore[misc]
            if count - there >= 5:
                lines.add("the start of one more", "ms", "linear", count, took / (count - there) * 1000)
            there = count
            lines.add("memory of keeper and daemon", "MiB", "linear", count, memory(jobd))
            lines.add("a status request", "ms", "flat", count, request(jobd, m.Get(id=1, names=["sleep-0"])))
            lines.add("a run's life", "ms", "linear", count, life_cycle(jobd))
            lines.add("jobctl list", "ms", "linear", count, verb(jobd, "list", "-o", "json"))
            lines.add("kill -9 of the daemon to the next answer", "ms", "linear", count, comes_back(jobd))
        for left in [*reversed([each for each in running_counts() if each < there]), 0]:
            if there - left >= MANY:
                took = measure.timed(lambda left=left, there=there: stop_sleepers(jobd, there, left))  # type: ignore[misc]
                lines.add("the stop of one of them, many at once", "ms", "flat", there, took / (there - left) * 1000)
                there = left
        stop_sleepers(jobd, there)
    return lines.all()


def at_rest(root: Path) -> list[Line]:
    lines = Lines("jobs at rest")
    for count in AT_REST:
        with filled(root / str(count), partial(fill, jobs=count - 1, runs_of_a_job=1)) as jobd:
            lines.add("memory of keeper and daemon", "MiB", "linear", count, memory(jobd))
            lines.add("a status request", "ms", "flat", count, request(jobd, m.Get(id=1, names=["first"])))
            lines.add("a run's life", "ms", "flat", count, life_cycle(jobd))
            lines.add("jobctl list", "ms", "flat", count, verb(jobd, "list", "-o", "json"))
            lines.add("jobctl list --all", "ms", "linear", count, verb(jobd, "list", "--all", "-o", "json"))
            lines.add("kill -9 of the daemon to the next answer", "ms", "linear", count, comes_back(jobd))
    return lines.all()
