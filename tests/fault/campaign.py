"""Random `kill -9` under load: submits jobs all the time, kills, and hands everything to the checker.

One seed decides what the jobs do and when is killed. (When a kill hits is up to the machine; a failing seed still
repeats its jobs and its pauses.)
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import sys
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

from jobd.core.ids import new_run_id
from jobd.wire import errors
from jobd.wire import messages as m
from tests.fault import work
from tests.fault.checker import KINDS, Observed, check
from tests.fault.report import CannotRunError, Report, details, tally
from tests.system.program import DEADLINE_SEC, Program, is_alive, until
from tests.system.raw import Raw
from tests.system.test_keeper import has_pidfd_info

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# About twenty jobs a second, and a kill at any time from the fork of a daemon on, so that imports, recovery and
# adoption are hit as well as work. A daemon answers 0.2 s after its fork.
JOBS_PER_SEC = 20.0
STARTING_SEC = 0.25
WORKING_SEC = 0.3
CATCH_UP_SEC = 1.0
AWAY = (errors.UNAVAILABLE,)  # what a jobd answers that is ending
MAX_LIVE = 60  # submitted and not known to have ended
KEEPER_KILL_WITHIN_SEC = 1.5
WAIT_CHUNK = 200  # runs a Wait request


class Load(threading.Thread):
    """Submits jobs until told to stop; every submission is repeated under its run id until it is answered."""

    def __init__(self, program: Program, seed: int, *, goes_away: bool = False) -> None:
        """`goes_away`: now and then there is no jobd at all, and its clients wait for the next."""
        super().__init__(name="load")
        self.goes_away = goes_away
        self.over = 0  # runs that will not execute any more, as somebody knows
        self.program = program
        self.seed = seed
        self.ledger = program.root / "ledger"
        self.plans: dict[str, work.Plan] = {}
        self.errors: list[str] = []
        self.done = threading.Event()
        self._next_at = time.monotonic()
        self._env = {b"JOBD_TEST_MARK": program.mark.encode(), b"PATH": b"/usr/bin:/bin"}

    def run(self) -> None:
        raw: Raw | None = None
        index = 0
        while not self.done.is_set():
            run = new_run_id()
            self.plans[run.hex()] = work.Plan(self.seed, index)
            raw = self._submit(raw, run, index)
            index += 1
            self._pace()
        if raw is not None:
            raw.sock.close()

    def _pace(self) -> None:
        """Wait for the time of the next; those whose time came while no daemon was there come at once."""
        self._next_at = max(self._next_at + 1 / JOBS_PER_SEC, time.monotonic() - CATCH_UP_SEC)
        self.done.wait(max(0.0, self._next_at - time.monotonic()))
        while not self.done.is_set() and len(self.plans) - self._executed() - self.over > MAX_LIVE:
            self.done.wait(0.1)

    def _executed(self) -> int:
        return self.ledger.stat().st_size // 33 if self.ledger.exists() else 0

    def pardons(self, _: m.Fault) -> bool:
        """Whether a submission may be refused so."""
        return False

    def _submit(self, raw: Raw | None, run: bytes, index: int) -> Raw | None:
        words = [sys.executable, "-I", "-S", work.__file__, str(self.seed), str(index), str(self.ledger), run.hex()]
        end = time.monotonic() + DEADLINE_SEC
        while time.monotonic() < end:
            try:
                raw = raw or Raw(self.program.socket)
                answer = raw.run([os.fsencode(word) for word in words], run=run, env=self._env, name=f"job-{index}")
            except (EOFError, ConnectionResetError, BrokenPipeError):
                if raw is not None:
                    raw.sock.close()
                raw = None  # its daemon is dead: ask the next
                continue
            except OSError as e:
                if not (self.goes_away and isinstance(e, ConnectionRefusedError | FileNotFoundError)):
                    self.errors.append(f"job {index}: {e!r}")
                raw = None
                time.sleep(0.1)
                continue
            if isinstance(answer, m.Fault) and self.goes_away and answer.code in AWAY:
                raw.sock.close()
                raw = None
                time.sleep(0.05)
                continue
            if isinstance(answer, m.Fault):
                if not self.pardons(answer):
                    self.errors.append(f"job {index}: {answer.code}: {answer.message}")
                del self.plans[run.hex()]  # refused: if it runs all the same, it is a stranger
            return raw
        self.errors.append(f"job {index}: no answer in {DEADLINE_SEC:.0f} s")
        return None


def daemon_of(program: Program, keeper: int = 0) -> int:
    """The pid of the keeper's newest daemon, also of one that has not got to its main function; 0 if none.

    `keeper`: its pid, where it is another than was started last. A child of a daemon that was killed looks like one
    until it executes something else, and the keeper adopts it; but a daemon has a session of its own.
    """
    pid = keeper or program.keeper.pid
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            children = [int(word) for word in f.read().split()]
        for child in reversed(children):
            with open(f"/proc/{child}/cmdline", "rb") as f:
                if b"jobd.daemon" in f.read() and is_alive(child) and os.getsid(child) == child:
                    return child
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def kill_daemons(program: Program, dice: random.Random, kills: int) -> None:
    """SIGKILL the daemon `kills` times: by turns while it comes up, and while it works.

    (Were more than one in a row to die on its way up, the keeper would rightly wait longer and longer.)
    """
    last = 0

    def next_daemon() -> int:
        pid = daemon_of(program)
        return pid if pid != last else 0

    for number in range(kills):
        pid = until(next_daemon, "the keeper forks a daemon")
        if number % 2:
            program.daemon_status()
        time.sleep(dice.uniform(0, WORKING_SEC if number % 2 else STARTING_SEC))
        os.kill(pid, signal.SIGKILL)
        last = pid


def kill_keepers(program: Program, dice: random.Random, kills: int) -> None:
    """SIGKILL the keeper `kills` times, each a random while after it has taken over."""
    for _ in range(kills):
        time.sleep(dice.uniform(0, KEEPER_KILL_WITHIN_SEC))
        program.kill_keeper()


def observe(program: Program, runs: list[str]) -> dict[str, Observed]:
    """What jobd says of these runs once they have ended: their rows and both streams."""
    found = {}
    with Raw(program.socket) as raw:
        for start in range(0, len(runs), WAIT_CHUNK):
            chunk = [bytes.fromhex(run) for run in runs[start : start + WAIT_CHUNK]]
            for run, view in raw.wait(*chunk).items():
                streams = {1: b"", 2: b""}
                for body in raw.items(m.Logs(id=raw.next_id(), jobs=[view.job], run=run.hex())):
                    if isinstance(body, m.Output):
                        assert body.offset == len(streams[body.stream]), "a gap in the logs"
                        streams[body.stream] += body.data
                found[run.hex()] = Observed(
                    view.state, view.result, view.exit_code, view.signal, streams[1], streams[2]
                )
    return found


def integrity(program: Program) -> int:
    """0 when SQLite finds its database whole."""
    with closing(sqlite3.connect(program.state_dir / "state.db")) as db:
        return int(db.execute("PRAGMA integrity_check").fetchone()[0] != "ok")


def run_daemon_kills(root: Path, size: int, seed: int) -> Report:
    """F1: the daemon dies `size` times under load."""
    return run_kills(root, "daemon", kill_daemons, size, seed)


def run_keeper_kills(root: Path, size: int, seed: int) -> Report:
    """F2a: the keeper dies `size` times under load, and the daemon lives."""
    if not has_pidfd_info():
        raise CannotRunError("the kernel tells exits to nobody but the parent before Linux 6.15")
    return run_kills(root, "keeper", kill_keepers, size, seed)


def run_kills(
    root: Path, what: str, kill: Callable[[Program, random.Random, int], None], kills: int, seed: int
) -> Report:
    """One campaign in `root`, which may be thrown away afterwards when it passed."""
    program = Program(root)
    try:
        program.start()
        load = Load(program, seed)
        load.start()
        try:
            kill(program, random.Random(seed), kills)
        finally:
            load.done.set()
            load.join()
        observed = observe(program, list(load.plans))
    finally:
        program.close()
    problems = check(load.plans, observed, load.ledger.read_text().split())
    size = sum(len(plan.out) + len(plan.err) for plan in load.plans.values())
    counts = {**tally(KINDS, problems), "client errors": len(load.errors), "integrity errors": integrity(program)}
    done = f"{kills} kills of the {what}, {len(load.plans)} jobs, {size / 1e6:.0f} MB"
    return Report(seed, done, counts, [*details(problems), *load.errors])
