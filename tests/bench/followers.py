"""What 100 readers of `events -f` cost the life cycle of a job: from its submission to its end as `wait` hears of it.

The readers are connections of one process that takes what comes and looks at none of it, so that their own work is not
in the figure; that each of them has got every change is checked when they go.
"""

from __future__ import annotations

import selectors
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from jobd.core.ids import new_run_id
from jobd.wire import messages as m
from tests.bench import measure
from tests.bench.measure import Figure
from tests.system.program import Program
from tests.system.raw import Raw, started

if TYPE_CHECKING:
    from pathlib import Path


READERS = 100
CYCLES = measure.quick(200, 60)  # of a job, one after the other
ROUNDS = measure.quick(9, 5)
REACH = 1.2
TAG = b"\xa6change"  # of a Change, in msgpack
CHANGES_OF_A_RUN = 3  # at least: it is accepted, it starts, it ends


def cycle_sec(jobd: Program) -> float:
    """Seconds for one life cycle of /bin/true, the mean of many."""
    with Raw(jobd.socket) as raw:
        began = time.perf_counter()
        for _ in range(CYCLES):
            run = new_run_id()
            started(raw.run([b"/bin/true"], run=run, env={}, exec_wait=False))
            raw.wait(run)
        return (time.perf_counter() - began) / CYCLES


def followed(jobd: Program) -> float:
    """The same with readers."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.followers", str(jobd.socket)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as readers:  # fmt: skip
        assert readers.stdout is not None
        assert readers.stdin is not None
        assert readers.stdout.readline() == "ready\n"
        took = cycle_sec(jobd)
        readers.stdin.close()
        fewest, most = map(int, readers.stdout.readline().split())
        assert fewest == most >= CYCLES * CHANGES_OF_A_RUN, (fewest, most)
    return took


def read(path: str) -> None:
    """Be the readers until stdin ends; then say how many changes each has had."""
    readers = [Raw(path) for _ in range(READERS)]
    selector = selectors.DefaultSelector()
    counts, rests = [0] * READERS, [b""] * READERS
    for at, raw in enumerate(readers):
        raw.send(m.Events(id=1, follow=True, lines=0))
        first = raw.receive()
        assert isinstance(first, m.Item), first
        assert isinstance(first.body, m.Reached), first
        raw.sock.setblocking(False)
        selector.register(raw.sock, selectors.EVENT_READ, at)
    selector.register(sys.stdin, selectors.EVENT_READ)
    print("ready", flush=True)
    end = None
    while end is None or time.monotonic() < end:
        for key, _ in selector.select(0.1):
            if isinstance(key.data, int):
                data = rests[key.data] + readers[key.data].sock.recv(1 << 20)
                counts[key.data] += data.count(TAG)
                rests[key.data] = data[1 - len(TAG) :]
            elif end is None:
                selector.unregister(sys.stdin)
                end = time.monotonic() + 2  # what is on its way
    print(min(counts), max(counts), flush=True)


def measure_all(root: Path) -> list[Figure]:
    with Program(root) as jobd:
        cycle_sec(jobd)
        found = measure.medians(ROUNDS, {"alone": lambda: cycle_sec(jobd), "followed": lambda: followed(jobd)})
    return [
        Figure(
            name=f"a job's life cycle beside {READERS} readers of events -f",
            value=found["followed"] / found["alone"],
            unit="x without",
            reach=REACH,
            ours=measure.milliseconds(found["followed"]),
            yardstick=f"without readers: {measure.milliseconds(found['alone'])}",
        )
    ]


if __name__ == "__main__":
    read(sys.argv[1])
