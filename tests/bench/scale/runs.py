"""What more finished runs cost."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from jobd.wire import messages as m
from tests.bench import measure, million
from tests.bench.scale.line import Line, Lines, comes_back, filled, least, life_cycle, memory, request
from tests.system.raw import Raw

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.program import Program

COUNTS = tuple(10**power for power in range(1, measure.quick(7, 6)))  # 10 to 1,000,000


def stats(jobd: Program) -> float:
    """Milliseconds for figures of all runs."""
    with Raw(jobd.socket) as raw:
        return least(3, lambda: measure.timed(lambda: raw.ask(m.HistoryStats(id=1)))) * 1000


def finished(root: Path) -> list[Line]:
    lines = Lines("finished runs")
    for count in COUNTS:
        with filled(root / str(count), partial(million.fill, runs=count)) as jobd:
            size = (jobd.state_dir / "state.db").stat().st_size / (1 << 20)
            lines.add("the database", "MiB", "linear", count, size)
            lines.add("memory of keeper and daemon", "MiB", "flat", count, memory(jobd))
            lines.add("a status request", "ms", "flat", count, request(jobd, m.Get(id=1, names=["first"])))
            lines.add("a run's life", "ms", "flat", count, life_cycle(jobd))
            if count >= 1000:
                page = m.History(id=1, before=count // 2 + 1000)
                lines.add("a page of history, from the middle", "ms", "flat", count, request(jobd, page, 1))
            lines.add("history --stats", "ms", "linear", count, stats(jobd))
            lines.add("kill -9 of the daemon to the next answer", "ms", "flat", count, comes_back(jobd))
    return lines.all()
