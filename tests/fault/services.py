"""Random `kill -9` over services: a graph of jobs from files that start again, are stopped, restarted and changed.

One seed decides the graph, what clients do and when is killed. Afterwards all is stopped, which must leave no process,
and the ledger of the services is compared with what jobd says of their runs.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests.fault import service_work
from tests.fault.asking import history, streams
from tests.fault.background import Background
from tests.fault.killing import OF_KEEPERS, Killer, told
from tests.fault.report import Report, concluded
from tests.fault.service_checker import KINDS, Seen, check
from tests.system.program import Program, marked_processes, until
from tests.system.raw import Raw

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

JOBS = 8
PERSONS = 2
ACTS = ("start", "start", "stop", "restart", "try-restart", "kill", "daemon-reload", "set-property")
STATUSES = (0, 1, 3, 5)  # what acts may end with here: done, failed or canceled, not applicable, no such job
KILL_WITHIN_SEC = 0.9  # of the fork of a daemon
PAGE = 200  # runs a History request


def command(ledger: Path, part: str) -> str:
    """A part of a service that tells this ledger what it does, as its job file has it."""
    return json.dumps([sys.executable, "-I", "-S", service_work.__file__, str(ledger), part])


def job_file(dice: random.Random, number: int, ledger: Path, mark: str) -> str:
    """One job, which may need some of those with lower numbers."""
    lines = [f"command = {command(ledger, 'main')}", f'type = "{dice.choice(("exec", "notify"))}"']
    lines += [f'restart = "{dice.choice(("no", "on-failure", "always"))}"', 'start_limit = "infinity"']
    lines += ['restart_delay = "300ms"', 'restart_max_delay = "1s"', f'environment = {{ JOBD_TEST_MARK = "{mark}" }}']
    others = [f"s{dice.randrange(number)}" for _ in range(dice.randrange(3))] if number else []
    if others:
        needed = json.dumps(sorted({*others}))
        lines += [f"{dice.choice(('requires', 'wants', 'binds_to', 'part_of'))} = {needed}", f"after = {needed}"]
    if dice.random() < 0.5:
        lines += ['on_failure = ["told@%n"]', 'on_success = ["told@%n"]']
    stop = f"command = {command(ledger, 'stop')}, " if dice.random() < 0.5 else ""
    lines.append(f'stop = {{ {stop}timeout = "1min" }}')
    return "\n".join([*lines, ""])


class Person(Background):
    """Does one thing after the other."""

    def __init__(self, program: Program, seed: int) -> None:
        super().__init__("person")
        self.program = program
        self.acts: Counter[str] = Counter()
        self.errors: list[str] = []
        self._dice = random.Random(seed)

    def act(self) -> None:
        while not self.over.is_set():
            act, job = self._dice.choice(ACTS), f"s{self._dice.randrange(JOBS)}"
            words = {"daemon-reload": (), "set-property": (job, f"limits.nice={self._dice.randrange(20)}")}.get(
                act, (job,)
            )
            done = self.program.jobctl(act, *words)
            self.acts[act] += 1
            if done.returncode not in STATUSES:
                self.errors.append(f"{act} {' '.join(words)}: {done.returncode}: {done.stderr}")


def observe(program: Program, jobs: Sequence[str] = ()) -> dict[str, Seen]:
    """What jobd says of all runs, or of those of some jobs, with what they wrote."""
    with Raw(program.socket) as raw:
        return {
            view.run.hex(): Seen(
                view.job, view.state, view.result or "", view.exit_code, view.signal,
                streams(raw, view.job, view.run)[1], "@" not in view.job,
            )
            for view in history(raw, jobs, PAGE)
        }  # fmt: skip


def run_services(root: Path, kills: int, seed: int) -> Report:
    """One campaign in `root`, which may be thrown away afterwards when it passed."""
    dice = random.Random(seed)
    program = Program(root)
    ledger, jobs = root / "ledger", program.config_dir / "jobs"
    jobs.mkdir()
    for number in range(JOBS):
        (jobs / f"s{number}.toml").write_text(job_file(dice, number, ledger, program.mark))
    (jobs / "told@.toml").write_text(f'command = {command(ledger, "hook")}\nstart_limit = "infinity"\n')
    persons = [Person(program, seed + number) for number in range(PERSONS)]
    errors = []
    try:
        program.start()
        with ExitStack() as stack:
            for person in persons:
                stack.enter_context(person)
            killer = Killer(program, dice, kills, within_sec=KILL_WITHIN_SEC, keepers=OF_KEEPERS)
            stack.enter_context(killer).finish()
        stopped = program.jobctl("stop", *(f"s{number}" for number in range(JOBS)))
        left = {pid: words for pid, words in marked_processes(program.mark).items() if " main" in words}
        if stopped.returncode or left:
            errors.append(f"after the stop of all: {stopped.returncode} {stopped.stderr} {left}")
        program.jobctl("wait", "told@*")
        until(lambda: all(one.state == "finished" for one in observe(program).values()), "all have ended")
        seen = observe(program)
    finally:
        program.close()
    errors += [error for person in persons for error in person.errors]
    acts = sum(person.acts.total() for person in persons)
    done = f"{told(killer)}, {acts} acts, {len(seen)} runs"
    return concluded(program, seed, done, KINDS, check(ledger.read_text().splitlines(), seen), errors)
