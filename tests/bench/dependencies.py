"""500 jobs that depend on each other, started by one request: a chain of them, and many on one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from jobd.core.ids import new_run_id
from jobd.wire import messages as m
from tests.bench import measure
from tests.bench.measure import Figure
from tests.system.program import Program
from tests.system.raw import Raw

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

JOBS = measure.quick(500, 50)
LINK_MS = 50  # what a link may cost: the issue's


def measure_all(root: Path) -> list[Figure]:
    with Program(root) as jobd, Raw(jobd.socket) as raw:
        alone = _define(raw, [(f"alone-{at}", ()) for at in range(JOBS)])
        chain = _define(raw, [(f"chain-{at}", (f"chain-{at - 1}",) if at else ()) for at in range(JOBS)])
        hub = [("hub", ()), *((f"l{at}", ("hub",)) for at in range(JOBS - 2))]
        wide = _define(raw, [*hub, ("top", tuple(f"l{at}" for at in range(JOBS - 2)))])
        took = {
            name: _start(raw, names) for name, names in (("alone", alone), ("chain", chain[-1:]), ("wide", wide[-1:]))
        }
        stopped = _stop(raw, ["hub"])
    beside = f"{JOBS} that do not depend on each other: {measure.milliseconds(took['alone'])}"
    return [
        Figure(name=f"a link of a chain of {JOBS}", value=took["chain"] * 1000 / JOBS, unit="ms", reach=LINK_MS,
               yardstick=beside),
        Figure(name=f"start of {JOBS}: one, all others, one", value=took["wide"] * 1000, unit="ms",
               reach=took["alone"] * 2000, yardstick=beside),
        Figure(name="the same, stopped", value=stopped * 1000, unit="ms", reach=took["alone"] * 2000,
               yardstick=beside),
    ]  # fmt: skip


def _define(raw: Raw, jobs: Sequence[tuple[str, tuple[str, ...]]]) -> list[str]:
    """Make jobs by running them once; each comes after what it requires."""
    for name, needs in jobs:
        words = ",".join(f'"{need}"' for need in needs)
        settings = {"requires": f"[{words}]", "after": f"[{words}]"} if needs else {}
        argv = [b"sleep", b"1000000"]
        run = m.Run(id=raw.next_id(), run=new_run_id(), argv=argv, env=[], cwd=b"/", name=name, settings=settings,
                    exec_wait=False)  # fmt: skip
        assert isinstance(raw.ask(run), m.Reply)
    names = [name for name, _ in jobs]
    _stop(raw, names)
    return names


def _start(raw: Raw, names: list[str]) -> float:
    began = time.perf_counter()
    done = list(raw.items(m.Start(id=raw.next_id(), names=names, runs=[new_run_id() for _ in names])))
    took = time.perf_counter() - began
    assert not [body for body in done if isinstance(body, m.Done) and body.code]
    return took


def _stop(raw: Raw, names: list[str]) -> float:
    began = time.perf_counter()
    done = list(raw.items(m.Stop(id=raw.next_id(), names=names)))
    assert not [body for body in done if isinstance(body, m.Done) and body.code]
    return time.perf_counter() - began
