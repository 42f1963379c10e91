"""Memory of keeper and daemon (PSS) with no job, and what each running job adds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jobd.wire import messages as m
from tests.bench import measure
from tests.bench.measure import Figure
from tests.system.program import Program
from tests.system.raw import Raw, started

if TYPE_CHECKING:
    from pathlib import Path


JOBS = measure.quick(1000, 200)
AT_A_TIME = 4096  # names of one message


def start_sleepers(jobd: Program, count: int, first: int = 0) -> None:
    """Start `count` jobs that sleep, named sleep-0 and on."""
    env = {b"JOBD_TEST_MARK": jobd.mark.encode()}
    with Raw(jobd.socket) as raw:
        for number in range(first, first + count):
            started(raw.run([b"/bin/sleep", b"100000"], name=f"sleep-{number}", env=env))


def stop_sleepers(jobd: Program, count: int, first: int = 0) -> None:
    """Stop those from `first` to before `count`, as many at a time as a message may name."""
    with Raw(jobd.socket) as raw:
        for at in range(first, count, AT_A_TIME):
            names = [f"sleep-{number}" for number in range(at, min(count, at + AT_A_TIME))]
            for _ in raw.items(m.Stop(id=raw.next_id(), names=names)):
                pass


def measure_all(root: Path) -> list[Figure]:
    with Program(root) as jobd:
        daemon = jobd.daemon_pid()
        jobd.jobctl("run", "--wait", "--", "true", check=True)

        def total() -> int:
            return measure.pss_kib(jobd.keeper.pid) + measure.pss_kib(daemon)

        empty, keeper = total(), measure.pss_kib(jobd.keeper.pid)
        start_sleepers(jobd, JOBS)
        full = total()
        assert jobd.daemon_pid() == daemon
        stop_sleepers(jobd, JOBS)
    return [
        Figure(
            name="memory of keeper and daemon, no jobs",
            value=empty / 1024,
            unit="MiB",
            reach=50,
            ours=f"keeper {keeper / 1024:.1f} MiB, daemon {(empty - keeper) / 1024:.1f} MiB (PSS)",
        ),
        Figure(
            name=f"memory a running job adds, at {JOBS}",
            value=(full - empty) / JOBS,
            unit="KiB",
            reach=16,
            ours=f"{(full - empty) / 1024:.1f} MiB in all; page size {os.sysconf('SC_PAGE_SIZE')}",
        ),
    ]
