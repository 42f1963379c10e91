"""Idle with 100 sleeping jobs: wake-ups of all threads of keeper and daemon, and their CPU time."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from tests.bench import measure
from tests.bench.measure import Figure
from tests.bench.memory import start_sleepers, stop_sleepers
from tests.system.program import Program

if TYPE_CHECKING:
    from pathlib import Path

JOBS = 100
SETTLE_SEC = measure.quick(5, 2)
WATCH_SEC = measure.quick(30, 6)


def wakeups(pid: int) -> dict[str, int]:
    """How often each thread of a process has gone to sleep by itself, and so was woken."""
    found = {}
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/status") as f:
            found[thread] = next(int(line.split()[1]) for line in f if line.startswith("voluntary_ctxt_switches"))
    return found


def more(before: dict[str, int], after: dict[str, int]) -> int:
    """The wake-ups in between; a thread that has ended takes its count along, so it is left out."""
    return sum(count - before.get(thread, 0) for thread, count in after.items())


def cpu_ticks(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def measure_all(root: Path) -> list[Figure]:
    with Program(root) as jobd:
        start_sleepers(jobd, JOBS)
        pids = {"keeper": jobd.keeper.pid, "daemon": jobd.daemon_pid()}
        time.sleep(SETTLE_SEC)
        before = {name: (wakeups(pid), cpu_ticks(pid)) for name, pid in pids.items()}
        time.sleep(WATCH_SEC)
        after = {name: (wakeups(pid), cpu_ticks(pid)) for name, pid in pids.items()}
        stop_sleepers(jobd, JOBS)
    woken = {name: more(before[name][0], after[name][0]) / WATCH_SEC for name in pids}
    ticks = sum(after[name][1] - before[name][1] for name in pids)
    return [
        Figure(
            name=f"idle with {JOBS} jobs: wake-ups",
            value=sum(woken.values()),
            unit="/s",
            reach=1,
            ours=f"keeper {woken['keeper']:.2f}/s, daemon {woken['daemon']:.2f}/s over {WATCH_SEC} s",
        ),
        Figure(
            name=f"idle with {JOBS} jobs: CPU",
            value=ticks / os.sysconf("SC_CLK_TCK") / WATCH_SEC * 100,
            unit="%",
            reach=0.1,
            ours=f"{ticks} ticks of {1000 // os.sysconf('SC_CLK_TCK')} ms in {WATCH_SEC} s",
        ),
    ]
