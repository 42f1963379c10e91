"""Random `kill -9` over queues: runs are queued in two paused queues, released, and run empty, while jobd dies.

One seed decides the runs and when is killed. Half of the kills are for the time in which runs are accepted and held,
the others for that in which they begin and end.
"""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from jobd.core.ids import new_run_id
from jobd.wire import messages as m
from tests.fault.asking import WAIT_CHUNK, Client
from tests.fault.killing import OF_KEEPERS, Killer, told
from tests.fault.queue_checker import KINDS, Seen, check
from tests.fault.queue_work import SCRIPT, Plan, plans
from tests.fault.report import Report, concluded
from tests.system.program import Program

if TYPE_CHECKING:
    from pathlib import Path

SLOTS = {"one": 1, "four": 4}
RUNS_A_KILL = 33


def queue_all(client: Client, queued: dict[str, Plan], ledger: Path, mark: str) -> None:
    """Have both queues paused and all runs in them, each accepted when the next is sent; then let go those held."""
    for name, slots in SLOTS.items():
        client.ask(m.QueueAdd(id=0, name=name, slots=slots))
        client.ask(m.QueueSet(id=0, name=name, state="paused"))
    env = [b"PATH=/usr/bin:/bin", b"JOBD_TEST_MARK=" + mark.encode()]
    for run, plan in queued.items():
        words = ["/bin/sh", "-c", SCRIPT, run, str(ledger), str(plan.code)]
        settings = {"queue": plan.queue, "priority": str(plan.priority), "weight": str(plan.weight)}
        client.ask(
            m.Run(
                id=0,
                run=bytes.fromhex(run),
                argv=[word.encode() for word in words],
                env=env,
                cwd=b"/",
                name=f"q-{plan.number}",
                settings=settings,
                hold=plan.held,
                exec_wait=False,
            )
        )
    held = [f"q-{plan.number}" for plan in queued.values() if plan.held]
    for at in range(0, len(held), WAIT_CHUNK):
        client.ask(m.Release(id=0, names=held[at : at + WAIT_CHUNK]))


def observe(client: Client, runs: list[str]) -> dict[str, Seen]:
    """What jobd says of these runs once they have ended."""
    views = client.wait([bytes.fromhex(run) for run in runs])
    return {view.run.hex(): Seen(view.state, view.result, view.exit_code) for view in views}


def run_queued(root: Path, kills: int, seed: int) -> Report:
    """One campaign in `root`, which may be thrown away afterwards when it passed."""
    dice, runs = random.Random(seed), kills * RUNS_A_KILL
    queued = {new_run_id().hex(): plan for plan in plans(seed, runs, SLOTS)}
    program, ledger = Program(root), root / "ledger"
    client = Client(program)
    try:
        program.start()
        with Killer(program, dice, kills // 2, keepers=OF_KEEPERS) as first:
            queue_all(client, queued, ledger, program.mark)
        with Killer(program, dice, kills - kills // 2, keepers=OF_KEEPERS) as second:
            for name in SLOTS:
                client.ask(m.QueueSet(id=0, name=name, state="open"))
            seen = observe(client, list(queued))
    finally:
        client.close()
        program.close()
    with closing(sqlite3.connect(program.state_dir / "state.db")) as db:
        begun = [run.hex() for (run,) in db.execute("SELECT run FROM events WHERE kind = 'starting' ORDER BY seq")]
    problems = check(queued, SLOTS, seen, begun, ledger.read_text().splitlines())
    return concluded(program, seed, f"{told(first, second)}, {runs} runs", KINDS, problems, client.errors)
