"""Keeper and daemon are killed at the same time, under load, and started again.

What ran then is lost, and may be said to be. All else is as exact as ever: what had been said before stays true,
nothing runs twice, a service that is started again is never there beside what is left of it, and who waits is told.
"""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Final

from tests.fault import service_checker
from tests.fault.asking import history, observe
from tests.fault.checker import KINDS, Kill, check, live_at
from tests.fault.killing import daemon_of
from tests.fault.load import Load
from tests.fault.report import Problem, Report, concluded
from tests.fault.services import command
from tests.fault.services import observe as observe_services
from tests.system.program import DEADLINE_SEC, Program, is_alive, marked_processes, open_fds, until
from tests.system.raw import Raw

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KILL_WITHIN_SEC: Final = 2.0  # of the first answer: load, and time for what was accepted to end
SERVICES: Final = 3
ALLOWANCE: Final = 4  # runs that are lost at a kill before they execute, more or less: the load is to go on
SHOWN_ROWS: Final = 200  # of history, before each kill; 20 runs a second begin
LOST_STATUS: Final = 125  # of `jobctl wait`
EARLY_SEC: Final = 0.4  # from the fork of a keeper, in which it and its daemon come up
SERVICE_KINDS: Final = tuple(f"service {kind}" for kind in service_checker.KINDS)

Answer = tuple[str | None, int | None, int | None]


def kill_both(program: Program, dice: random.Random) -> None:
    """Kill both at once: one is stopped first, so that it sees nothing of the other's death and does not outlive it."""
    keeper, daemon = program.keeper, daemon_of(program)
    first, last = (keeper.pid, daemon) if dice.random() < 0.5 else (daemon, keeper.pid)
    for pid, sig in ((first, signal.SIGSTOP), (last, signal.SIGKILL), (first, signal.SIGKILL)):
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, sig)
    keeper.wait(DEADLINE_SEC)

    def gone() -> bool:
        # A daemon just forked was not to be seen above; a child of the keeper's that was never let go ends by itself.
        left = {pid: words for pid, words in marked_processes(program.mark).items() if " -m jobd" in words}
        for pid, words in left.items():
            if "jobd.daemon" in words:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return not left

    until(gone, "nothing of jobd is left")


def told(program: Program) -> dict[str, Answer]:
    """What jobd says of the newest runs that are over. It must not say anything else of them, ever."""
    with Raw(program.socket) as raw:
        newest = list(islice(history(raw, page=SHOWN_ROWS), SHOWN_ROWS))
    return {view.run.hex(): (view.result, view.exit_code, view.signal) for view in newest if view.state == "finished"}


def changed(said: Mapping[str, Answer], now: Mapping[str, Answer]) -> list[Problem]:
    """Answers that are no longer what they were."""
    return [
        Problem("changed answer", run, f"was {before}, and is {now.get(run)}")
        for run, before in said.items()
        if now.get(run) != before
    ]


def spans(program: Program) -> dict[str, tuple[int, int]]:
    """When each run was accepted and when it was over, as jobd says."""
    with Raw(program.socket) as raw:
        return {
            view.run.hex(): (view.queued_at or 0, view.finished_at)
            for view in history(raw)
            if view.finished_at is not None
        }


def service_file(ledger: Path, mark: str) -> str:
    lines = [
        f"command = {command(ledger, 'main')}",
        'restart = "always"',
        'start_limit = "infinity"',
        'restart_delay = "300ms"',
    ]
    return "\n".join([*lines, f'environment = {{ JOBD_TEST_MARK = "{mark}" }}', ""])


class Campaign:
    """One jobd that dies again and again. `kills` and `said` are what has been seen so far."""

    def __init__(self, root: Path, seed: int) -> None:
        self.program = Program(root)
        self.dice = random.Random(seed)
        self.kills: list[tuple[int, int]] = []  # by the wall's clock: before each, and after it
        self.answers: list[int] = []  # when jobd answered for the first time after a start
        self.said: dict[str, Answer] = {}
        self.errors: list[str] = []

    def start(self) -> None:
        self.program.start()
        self.answers.append(time.time_ns())

    def kill(self) -> None:
        at = time.time_ns()
        kill_both(self.program, self.dice)
        self.kills.append((at, time.time_ns()))

    def round(self, number: int) -> None:
        """Have somebody wait for a job; kill; see that the job lives on, and that he is told."""
        program, name = self.program, f"waited-{number}"
        program.jobctl("run", "--name", name, "--", "sleep", "1000", check=True)
        main = int(program.show(name, "MainPID"))
        client = program.start_jobctl("wait", name)
        until(lambda: any(link.startswith("socket:") for link in open_fds(client.pid).values()), "it is connected")
        time.sleep(self.dice.uniform(0, KILL_WITHIN_SEC))
        self.said |= told(program)
        self.kill()
        if not is_alive(main):
            self.errors.append(f"{name} did not survive its jobd")
        self.start()
        _, said = client.communicate(timeout=DEADLINE_SEC)
        if client.returncode != LOST_STATUS:
            self.errors.append(f"jobctl wait {name}: {client.returncode}: {os.fsdecode(said)}")
        with suppress(ProcessLookupError):
            os.kill(main, signal.SIGKILL)  # nobody may claim it any more

    def early(self) -> None:
        """Kill both while they come up, and come back."""
        self.kill()
        self.program.start(answering=False)
        time.sleep(self.dice.uniform(0, EARLY_SEC))
        self.kill()
        self.start()

    def deaths(self) -> list[Kill]:
        return [Kill(at, gone, next(back for back in self.answers if back > gone)) for at, gone in self.kills]


def run_both(root: Path, kills: int, seed: int) -> Report:
    """F2b: one campaign in `root`, which may be thrown away afterwards when it passed."""
    one = Campaign(root, seed)
    program, ledger = one.program, root / "services"
    jobs = [f"s{number}" for number in range(SERVICES)]
    (program.config_dir / "jobs").mkdir()
    for job in jobs:
        (program.config_dir / "jobs" / f"{job}.toml").write_text(service_file(ledger, program.mark))
    try:
        one.start()
        program.jobctl("enable", "--now", *jobs, check=True)
        with Load(program, seed, goes_away=True) as load:
            while len(one.kills) < kills:
                load.gone += ALLOWANCE
                if len(one.kills) % 3 or kills - len(one.kills) < 2:
                    one.round(len(one.kills))
                else:
                    one.early()
        program.jobctl("stop", *jobs, check=True)
        observed, served, over = observe(program, list(load.plans)), observe_services(program, jobs), spans(program)
    finally:
        program.close()
    may_be_lost = live_at(one.deaths(), over)
    now = {run: (seen.result, seen.exit_code, seen.signal) for run, seen in observed.items()}
    now |= {run: (seen.result, seen.exit_code, seen.signal) for run, seen in served.items()}
    problems = check(load.plans, observed, load.ledger.read_text().split(), may_be_lost)
    said = {run: answer for run, answer in one.said.items() if run in now}
    problems += changed(said, now)
    of_services = service_checker.check(ledger.read_text().splitlines(), served, may_be_lost)
    problems += [problem._replace(kind=f"service {problem.kind}") for problem in of_services]
    lost = sum(result == "lost" for result, _, _ in now.values())
    done = f"{len(one.kills)} kills of keeper and daemon, {len(now)} runs, of which {lost} are lost, "
    done += f"{len(said)} answers of before"
    kinds = (*KINDS, "changed answer", *SERVICE_KINDS)
    return concluded(program, seed, done, kinds, problems, [*load.errors, *one.errors])
