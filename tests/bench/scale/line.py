"""One line of the scale table: a cost at several sizes."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, NamedTuple

from jobd.core.ids import new_run_id
from jobd.wire import codec
from jobd.wire import messages as m
from tests.bench import measure
from tests.bench.requests import ask
from tests.system.program import DEADLINE_SEC, Program
from tests.system.raw import Raw, started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LIVES = 10  # of a run in one measurement: what is done for several at once is in it
CYCLES = measure.quick(6, 3)
ASKED = measure.quick(40, 15)  # times that a question is asked
POINTS = 3  # two are always on a line
AT_ONCE = 25  # quick requests in one measurement


class Line(NamedTuple):
    """Points (size, cost) in `unit`; `what` costs it, and `of` is what there is more of.

    `promised` is what it has to be: 'flat' or 'linear' ('linear' is kept by a flat one, too).
    """

    what: str
    of: str
    unit: str
    promised: str
    points: list[tuple[float, float]]


class Lines:
    """Points as they are found, by what costs."""

    def __init__(self, of: str) -> None:
        self.of = of
        self._found: dict[str, Line] = {}

    def add(self, what: str, unit: str, promised: str, size: float, cost: float) -> None:
        line = self._found.setdefault(what, Line(what, self.of, unit, promised, []))
        line.points.append((size, cost))

    def all(self) -> list[Line]:
        """Those that have enough points for a line, from the smallest."""
        found = (line._replace(points=sorted(line.points)) for line in self._found.values())
        return [line for line in found if len(line.points) >= POINTS]


@contextlib.contextmanager
def filled(root: Path, fill: Callable[[Program], None]) -> Iterator[Program]:
    """A jobd with one run, of the job `first`, to whose database `fill` has done something while it was away."""
    jobd = Program(root)
    try:
        jobd.start()
        jobd.jobctl("run", "--wait", "--name", "first", "--", "true", check=True)
        jobd.keeper.terminate()
        jobd.keeper.wait(DEADLINE_SEC)
        fill(jobd)
        jobd.start()
        yield jobd
    finally:
        jobd.close()


def least(count: int, act: Callable[[], float]) -> float:
    """The least of several tries: whatever else a machine does only adds to what something costs."""
    return min(act() for _ in range(count))


def life_cycle(jobd: Program) -> float:
    """Milliseconds of a run's life, from its submission to its end as `wait` hears of it."""
    with Raw(jobd.socket) as raw:

        def once() -> None:
            run = new_run_id()
            started(raw.run([b"/bin/true"], run=run, name="cycle", env={}, exec_wait=False))
            raw.wait(run)

        def several() -> None:
            for _ in range(LIVES):
                once()

        once()
        return least(CYCLES, lambda: measure.timed(several)) / LIVES * 1000


def request(jobd: Program, message: m.FromClient, at_once: int = AT_ONCE) -> float:
    """Milliseconds from a request to its one answer, which is not decoded."""
    frame = codec.encode(message)
    with Raw(jobd.socket) as raw:
        ask(raw.sock, frame, 3)
        return least(ASKED, lambda: measure.timed(lambda: ask(raw.sock, frame, at_once)) / at_once) * 1000


def verb(jobd: Program, *words: str, count: int = 5) -> float:
    """Milliseconds of a verb of jobctl, its output thrown away."""
    return least(count, lambda: measure.timed_process([measure.JOBCTL, *words], jobd.env)) * 1000


def memory(jobd: Program) -> float:
    """MiB of keeper and daemon (PSS)."""
    return (measure.pss_kib(jobd.keeper_pid) + measure.pss_kib(jobd.daemon_pid())) / 1024


def comes_back(jobd: Program, count: int = 3) -> float:
    """Milliseconds from the kill -9 of the daemon to the next answer."""

    def once() -> float:
        time.sleep(0.2)
        began = time.perf_counter()
        jobd.replace_daemon()
        return time.perf_counter() - began

    return least(count, once) * 1000
