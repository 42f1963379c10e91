"""0, 100 and 1,000 idle services under each supervisor: how soon they are up, memory, wake-ups, CPU."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from tests.bench import measure
from tests.bench.idle import cpu_ticks, more, wakeups
from tests.bench.peers.services import Row
from tests.bench.peers.supervisor import Service, Supervisor
from tests.system.program import until

if TYPE_CHECKING:
    from collections.abc import Callable

SOME = 100
MANY = measure.quick(1000, 200)
COUNTS = (0, SOME, MANY)
SETTLE_SEC = measure.quick(3, 2)
WATCH_SEC = measure.quick(10, 4)


class Idle(NamedTuple):
    up_sec: float
    memory_mib: float
    wakeups_per_sec: float
    cpu_percent: float


def idle(peer: Supervisor, count: int, watched: bool) -> Idle:
    """Open a supervisor with so many services and look at it when they are up."""
    services = [Service(f"idle-{at}", up=True) for at in range(count)]
    began = time.monotonic()
    peer.open(services)
    until(lambda: _up(peer) >= count, f"{peer.title}: {count} services are up", 240)
    up_sec = time.monotonic() - began
    time.sleep(SETTLE_SEC)
    before = {pid: (wakeups(pid), cpu_ticks(pid)) for pid in peer.processes()}
    memory = sum(map(measure.pss_kib, before)) / 1024
    if not watched:
        return Idle(up_sec, memory, 0, 0)
    time.sleep(WATCH_SEC)
    after = {pid: (wakeups(pid), cpu_ticks(pid)) for pid in before if os.path.exists(f"/proc/{pid}")}
    woken = sum(more(before[pid][0], now) for pid, (now, _) in after.items())
    ticks = sum(now - before[pid][1] for pid, (_, now) in after.items())
    return Idle(up_sec, memory, woken / WATCH_SEC, ticks / os.sysconf("SC_CLK_TCK") / WATCH_SEC * 100)


def _up(peer: Supervisor) -> int:
    """How many services have begun: each has a file for its stamps."""
    return sum(1 for _ in peer.stamps_folder.iterdir())


def rows(kinds: dict[str, Callable[[str], Supervisor]]) -> list[Row]:
    found: dict[int, dict[str, Idle | None]] = {count: {} for count in COUNTS}
    for title, kind in kinds.items():
        for count in COUNTS:
            with kind(f"idle-{count}") as peer:
                found[count][title] = idle(peer, count, watched=count == SOME)
    return [
        *(Row(f"memory with {_count(count)} services", "MiB", _each(found[count], "memory_mib")) for count in COUNTS),
        Row(f"{MANY:,} services: from nothing to all of them up", "s", _each(found[MANY], "up_sec")),
        Row(f"idle with {SOME}: wake-ups", "/s", _each(found[SOME], "wakeups_per_sec")),
        Row(f"idle with {SOME}: CPU", "%", _each(found[SOME], "cpu_percent")),
    ]


def _count(count: int) -> str:
    return f"{count:,}" if count else "no"


def _each(found: dict[str, Idle | None], name: str) -> dict[str, float | None]:
    return {title: None if one is None else getattr(one, name) for title, one in found.items()}
