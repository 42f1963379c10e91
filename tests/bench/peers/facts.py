"""What comes of a job whose supervisor is killed with -9: tried, not told.

A worker writes a numbered line every 5 ms, another job writes nothing. Their supervisor is killed; what restarts it by
itself has a moment for that, else it is started again as its manual says. Then both are told to end, with status 7.
"""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from tests.bench.measure import CannotMeasureError
from tests.bench.peers.supervisor import Service, Supervisor
from tests.system.program import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BEFORE_SEC = 1.5  # longer than what supervisord takes for a good start
# As long as a restart may take that happens by itself; circus looks every second.
AFTER_SEC = 3.0
END_SEC = 4.0  # for what is still to be written down
WORKER, QUIET = "worker", "quiet"
JOBS = (WORKER, QUIET)


class Fact(NamedTuple):
    """What became of two running jobs, one that writes and one that does not.

    Attributes:
        wrote: whether the one that writes ran on when the supervisor was dead, and when the next one had come.
        lost: lines it had written that cannot be read back; None: it died over them.
        quiet: as `wrote`, of the other.
        copies: how often one of them was started besides, while it ran.
        exits_told: where it can be read afterwards how they have ended.
    """

    title: str
    killed: str
    wrote: tuple[bool, bool]
    lost: int | None
    quiet: tuple[bool, bool]
    copies: int
    exits_told: str


def tried(kind: Callable[[], Supervisor], target: str) -> Fact:
    """Kill one of a supervisor's own processes under the jobs."""
    with kind() as peer:
        gate = peer.stamps_folder / "gate"
        peer.open([Service(name, (name, peer.inside(gate)), up=True) for name in JOBS])
        pids = {name: peer.began(name).pid for name in JOBS}
        until(lambda: peer.log(WORKER).count(b"\n") > 100, f"{peer.title} has output")
        time.sleep(BEFORE_SEC)
        peer.targets(JOBS)[target]()
        time.sleep(AFTER_SEC)
        orphans = {name: peer.alive(pid) for name, pid in pids.items()}
        peer.revive()
        time.sleep(AFTER_SEC)
        survived = {name: peer.alive(pid) for name, pid in pids.items()}
        copies = sum(len(peer.stamps(name)) - 1 for name in JOBS if survived[name])
        gate.touch()
        until(lambda: not any(map(peer.alive, pids.values())), "the jobs end", 20)

        def told() -> set[str]:
            return {peer.exit_told(name, pids[name]) for name in JOBS}

        end = time.monotonic() + END_SEC
        while "" in told() and time.monotonic() < end:
            time.sleep(0.2)
        exits, lost = told(), _lost(peer, pids[WORKER])
        wrote, quiet = ((orphans[name], survived[name]) for name in JOBS)
        return Fact(peer.title, target, wrote, lost, quiet, copies, " or ".join(sorted(exits - {""})))


def _lost(peer: Supervisor, pid: int) -> int | None:
    """How many lines of a worker that has ended are not in its log."""
    ended = [stamp.value for stamp in peer.stamps(WORKER, "ended") if stamp.pid == pid]
    if not ended:
        return None
    found = set(re.findall(rb"^%d (\d+)$" % pid, peer.log(WORKER), re.MULTILINE))
    return ended[0] - len(found)


def all_facts(kinds: dict[str, Callable[[Path], Supervisor]], root: Path) -> list[Fact]:
    """Every target of every supervisor; several at a time, since no time is measured."""
    tasks: list[tuple[str, str]] = []
    for name, kind in kinds.items():
        try:
            with kind(root / f"{name}-targets") as peer:
                tasks += [(name, target) for target in peer.targets(JOBS)]
        except CannotMeasureError:
            continue

    def one(at: int) -> Fact:
        name, target = tasks[at]
        return tried(lambda: kinds[name](root / f"{name}-{at}"), target)

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(one, range(len(tasks))))
