"""Random `kill -9` over queues: runs are queued in two paused queues, released, and run empty, while jobd dies.

One seed decides the runs and when is killed. Half of the kills are for the time in which runs are accepted and held,
the others for that in which they begin and end.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Self

from jobd.core.ids import new_run_id
from jobd.wire import messages as m
from tests.fault.campaign import WAIT_CHUNK, daemon_of, integrity
from tests.fault.queue_checker import KINDS, Seen, check
from tests.fault.queue_work import SCRIPT, Plan, plans
from tests.fault.report import Report, details, tally
from tests.system.program import DEADLINE_SEC, Program, until
from tests.system.raw import Raw
from tests.system.test_keeper import has_pidfd_info

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SLOTS = {"one": 1, "four": 4}
RUNS_A_KILL = 33
OF_KEEPERS = 0.25  # of the kills
KILL_WITHIN_SEC = 0.5  # of the fork of a daemon: it takes 0.2 s to be there


class Client:
    """Asks until there is an answer, of whichever daemon."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.errors: list[str] = []
        self._raw: Raw | None = None

    def ask(self, request: Callable[[int], m.Request]) -> list[m.AnyBody]:
        """The answer's bodies; `request` makes it with an id."""
        end = time.monotonic() + DEADLINE_SEC
        while time.monotonic() < end:
            try:
                self._raw = self._raw or Raw(self.program.socket)
                return self._answer(self._raw, request(self._raw.next_id()))
            except (EOFError, ConnectionResetError, BrokenPipeError):
                self.close()
        raise AssertionError("no daemon answers")

    def _answer(self, raw: Raw, request: m.Request) -> list[m.AnyBody]:
        raw.send(request)
        found = []
        while True:
            answer = raw.receive()
            if isinstance(answer, m.Fault):
                self.errors.append(f"{type(request).__name__}: {answer.code}: {answer.message}")
            elif isinstance(answer, m.Reply | m.Item):
                found.append(answer.body)
            if not isinstance(answer, m.Item):
                return found

    def close(self) -> None:
        if self._raw is not None:
            self._raw.sock.close()
            self._raw = None


class Killer(threading.Thread):
    """Kills one daemon after the other, each at a random moment of its life, until it has done so or is told to end."""

    def __init__(
        self,
        program: Program,
        dice: random.Random,
        kills: int,
        *,
        within_sec: float = KILL_WITHIN_SEC,
        keepers: float = 0.0,
    ) -> None:
        """`keepers`: how many of the kills are for the keeper, where the kernel lets nothing be lost by that."""
        super().__init__(name="killer")
        self.within_sec = within_sec
        self._keepers = keepers if has_pidfd_info() else 0.0
        self.of_keepers = 0
        self.program, self.left, self.kills = program, kills, 0
        self.over = threading.Event()
        self._dice = dice

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()

    def run(self) -> None:
        last, keeper = 0, self.program.keeper_pid

        def fresh() -> int:
            pid = daemon_of(self.program, keeper)
            return pid if pid != last else -1 if self.over.is_set() else 0

        while self.kills < self.left and (pid := until(fresh, "the keeper forks a daemon")) > 0:
            if self.kills % 2:
                self.program.daemon_status()  # were two in a row killed on their way up, the keeper would wait
            self.over.wait(self._dice.uniform(0, self.within_sec))
            if self.over.is_set():
                return
            if self._dice.random() < self._keepers:
                self.program.kill_keeper()
                keeper = self.program.keeper_pid
                self.of_keepers += 1
            else:
                os.kill(pid, signal.SIGKILL)
                last = pid
            self.kills += 1


def queue_all(client: Client, queued: dict[str, Plan], ledger: Path, mark: str) -> None:
    """Have both queues paused and all runs in them, each accepted when the next is sent; then let go those held."""
    for name, slots in SLOTS.items():
        client.ask(lambda number, name=name, slots=slots: m.QueueAdd(id=number, name=name, slots=slots))  # type: ignore[misc]
        client.ask(lambda number, name=name: m.QueueSet(id=number, name=name, state="paused"))  # type: ignore[misc]
    env = [b"PATH=/usr/bin:/bin", b"JOBD_TEST_MARK=" + mark.encode()]
    for run, plan in queued.items():
        words = ["/bin/sh", "-c", SCRIPT, run, str(ledger), str(plan.code)]
        settings = {"queue": plan.queue, "priority": str(plan.priority), "weight": str(plan.weight)}
        client.ask(
            lambda number, run=run, plan=plan, words=words, settings=settings: m.Run(  # type: ignore[misc]
                id=number,
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
        client.ask(lambda number, at=at: m.Release(id=number, names=held[at : at + WAIT_CHUNK]))  # type: ignore[misc]


def observe(client: Client, runs: list[str]) -> dict[str, Seen]:
    """What jobd says of these runs once they have ended."""
    found = {}
    for start in range(0, len(runs), WAIT_CHUNK):
        chunk = [bytes.fromhex(run) for run in runs[start : start + WAIT_CHUNK]]
        for body in client.ask(lambda number, chunk=chunk: m.Wait(id=number, runs=chunk)):  # type: ignore[misc]
            if isinstance(body, m.Ended):
                found[body.run.run.hex()] = Seen(body.run.state, body.run.result, body.run.exit_code)
    return found


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
                client.ask(lambda number, name=name: m.QueueSet(id=number, name=name, state="open"))  # type: ignore[misc]
            seen = observe(client, list(queued))
    finally:
        client.close()
        program.close()
    with closing(sqlite3.connect(program.state_dir / "state.db")) as db:
        begun = [run.hex() for (run,) in db.execute("SELECT run FROM events WHERE kind = 'starting' ORDER BY seq")]
    problems = check(queued, SLOTS, seen, begun, ledger.read_text().splitlines())
    counts = {**tally(KINDS, problems), "client errors": len(client.errors), "integrity errors": integrity(program)}
    both = first.of_keepers + second.of_keepers
    done = f"{first.kills + second.kills - both} kills of the daemon and {both} of the keeper, {runs} runs"
    return Report(seed, done, counts, [*details(problems), *client.errors])
