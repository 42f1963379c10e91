"""F12: runs are stopped and killed at random moments of their start, with children that get away in every known manner.

When a stop is over, no process of the run is left, whatever session, group or parent it has, and what jobd says of the
run is right. Daemon and keeper are killed meanwhile; at the end the keeper holds nothing of all these runs.
"""

from __future__ import annotations

import os
import random
import threading
import time
from typing import TYPE_CHECKING, Final

from jobd.core.ids import new_run_id
from jobd.wire import messages as m
from tests.fault.asking import Client
from tests.fault.killing import OF_KEEPERS, Killer, told
from tests.fault.race_checker import ACTS, KINDS, SORTS, Race, Seen, check
from tests.fault.report import Problem, Report, concluded
from tests.system.program import DEADLINE_SEC, Program, children_of, open_fds, until

if TYPE_CHECKING:
    from pathlib import Path

WORKERS: Final = 4
PAUSE_SEC: Final = 0.02
RACES_A_KILL: Final = 50  # of the daemon
KILL_WITHIN_SEC: Final = 2.0
MOST_FDS: Final = 16  # of a keeper without runs: 13, and one more when it has taken over from another
# A main process that ignores SIGTERM is killed after this; the others have longer than any machine takes.
STUBBORN_SEC: Final = "200ms"
USUAL_SEC: Final = "60s"
TAG: Final = b"RACE="
LEAK: Final = "leaks"


def processes_of(run: str) -> list[int]:
    """Those that have the run's tag in their environment, wherever they are."""
    found, wanted = [], TAG + run.encode()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/environ", "rb") as f:
                    if wanted in f.read().split(b"\0"):
                        found.append(int(name))
            except OSError:
                continue
    return found


class Worker(threading.Thread):
    """Runs one race after the other."""

    def __init__(self, program: Program, races: list[Race], seed: int) -> None:
        super().__init__(name="worker")
        self.client = Client(program)
        self.races: dict[str, Race] = {}
        self.seen: dict[str, Seen] = {}
        self.failed: list[str] = []
        self._program, self._left, self._dice = program, races, random.Random(seed)

    def run(self) -> None:
        try:
            for race in self._left:
                self._race(race)
        except Exception as e:
            self.failed.append(repr(e))
        finally:
            self.client.close()

    def _race(self, race: Race) -> None:
        run = new_run_id()
        self.races[run.hex()] = race
        sort, names = SORTS[race.sort], [f"race-{race.number}"]
        words = ["/bin/sh", "-c", f'echo "$0" >>"$1"; {sort.script}', run.hex(), str(self._program.root / "ledger")]
        env = [b"PATH=/usr/bin:/bin", b"JOBD_TEST_MARK=" + self._program.mark.encode(), TAG + run.hex().encode()]
        self.client.ask(
            m.Run(
                id=0, run=run, argv=[word.encode() for word in words], env=env, cwd=b"/", name=names[0],
                exec_wait=False, settings={"stop.timeout": STUBBORN_SEC if sort.deaf else USUAL_SEC},
            )
        )  # fmt: skip
        for step, sig in enumerate(ACTS[race.act]):
            time.sleep(self._dice.uniform(0, PAUSE_SEC))
            if sig is None:
                self.client.ask(m.Stop(id=0, names=names, runs=[run]))
            else:
                self._kill(run, names, sig, f"{run.hex()}-{step}")
        self.seen[run.hex()] = self._look(run, names, len(processes_of(run.hex())))

    def _kill(self, run: bytes, names: list[str], sig: int, once: str) -> None:
        whom = "main" if sig < 0 else "all"
        self.client.ask(m.Kill(id=0, names=names, runs=[run], signal=abs(sig), whom=whom, once=once))

    def _look(self, run: bytes, names: list[str], left: int) -> Seen:
        (view,) = self.client.wait([run])
        views = self.client.ask(m.Get(id=0, names=names))
        (jobs,) = (body.jobs for body in views if isinstance(body, m.Jobs))
        return Seen(view.state, view.result, view.exit_code, view.signal, jobs[0].active, left)


def run_races(root: Path, size: int, seed: int) -> Report:
    """F12: one campaign in `root`, which may be thrown away afterwards when it passed. Each half tracks processes in
    another way: by control groups, where there are any (if not, its words say so), and by what /proc says."""
    dice = random.Random(seed)
    races = [Race(number, dice.choice(list(SORTS)), dice.choice(list(ACTS))) for number in range(size)]
    halves = [
        _run(Program(root / "g"), races[: size // 2], seed),
        _run(Program(root / "p", env={"JOBD_TRACKING": "process"}), races[size // 2 :], seed + 1),
    ]
    counts = {kind: sum(half.counts[kind] for half in halves) for kind in halves[0].counts}
    done = f"{size} races; {halves[0].size}; {halves[1].size}"
    return Report(seed, done, counts, [line for half in halves for line in half.details])


def _run(program: Program, races: list[Race], seed: int) -> Report:
    workers = [Worker(program, races[start::WORKERS], seed + start) for start in range(WORKERS)]
    try:
        program.start()
        before, tracking = held(program), program.daemon_status().tracking
        # Without control groups a keeper that is killed within half a second of a stop takes along the looks that were
        # still to come (jobd.keeper.reaching), and the stop may last until its timeout: it says so, and rightly.
        keepers = OF_KEEPERS if tracking == "cgroup" else 0.0
        kills = len(races) // RACES_A_KILL
        with Killer(program, random.Random(seed), kills, within_sec=KILL_WITHIN_SEC, keepers=keepers) as killer:
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
        leaked = leaks(program, before)
    finally:
        program.close()
    seen = {run: one for worker in workers for run, one in worker.seen.items()}
    path = program.root / "ledger"
    ledger = path.read_text().split() if path.exists() else []
    problems = check({run: race for worker in workers for run, race in worker.races.items()}, seen, ledger)
    errors = [error for worker in workers for error in (*worker.client.errors, *worker.failed)]
    done = f"tracked by {tracking}: {len(ledger)} programs began, {told(killer)}"
    return concluded(program, seed, done, (*KINDS, LEAK), [*problems, *leaked], errors)


def held(program: Program) -> set[str]:
    """What the keeper has that is a run's as long as it lives: children, groups; and its descriptors, if too many."""
    pid = program.keeper_pid
    daemon = program.daemon_pid()
    children = {f"child {child}" for child in children_of(pid) if child != daemon}
    groups = {f"cgroup {path.name}" for base in program.cgroups() for path in base.iterdir() if path.is_dir()}
    fds = open_fds(pid)
    many = {f"descriptor {fd}: {link}" for fd, link in fds.items()} if len(fds) > MOST_FDS else set()
    return {*children, *groups, *many}


def leaks(program: Program, before: set[str]) -> list[Problem]:
    """What the keeper still has a while after the last run has ended."""
    try:
        until(lambda: held(program) <= before, "the keeper has let go of all runs", DEADLINE_SEC / 6)
    except AssertionError:
        return [Problem(LEAK, "keeper", what) for what in sorted(held(program) - before)]
    return []
