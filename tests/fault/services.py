"""Random `kill -9` over services: a graph of jobs from files that start again, are stopped, restarted and changed.

One seed decides the graph, what clients do and when is killed. Afterwards all is stopped, which must leave no process,
and the ledger of the services is compared with what jobd says of their runs.
"""

from __future__ import annotations

import json
import random
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING

from jobd.wire import messages as m
from tests.fault import service_work
from tests.fault.campaign import integrity
from tests.fault.queued import OF_KEEPERS, Killer
from tests.fault.report import Report, details, tally
from tests.fault.service_checker import KINDS, Seen, check
from tests.system.program import Program, marked_processes, until
from tests.system.raw import Raw

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

JOBS = 8
CLIENTS = 2
ACTS = ("start", "start", "stop", "restart", "try-restart", "kill", "daemon-reload", "set-property")
STATUSES = (0, 1, 3, 5)  # what acts may end with here: done, failed or canceled, not applicable, no such job
KILL_WITHIN_SEC = 0.9  # of the fork of a daemon
PAGE = 200  # runs a History request


def job_file(dice: random.Random, number: int, ledger: Path, mark: str) -> str:
    """One job, which may need some of those with lower numbers."""

    def command(part: str) -> str:
        return json.dumps([sys.executable, "-I", "-S", service_work.__file__, str(ledger), part])

    lines = [f"command = {command('main')}", f'type = "{dice.choice(("exec", "notify"))}"']
    lines += [f'restart = "{dice.choice(("no", "on-failure", "always"))}"', 'start_limit = "infinity"']
    lines += ['restart_delay = "300ms"', 'restart_max_delay = "1s"', f'environment = {{ JOBD_TEST_MARK = "{mark}" }}']
    others = [f"s{dice.randrange(number)}" for _ in range(dice.randrange(3))] if number else []
    if others:
        needed = json.dumps(sorted({*others}))
        lines += [f"{dice.choice(('requires', 'wants', 'binds_to', 'part_of'))} = {needed}", f"after = {needed}"]
    if dice.random() < 0.5:
        lines += ['on_failure = ["told@%n"]', 'on_success = ["told@%n"]']
    stop = f"command = {command('stop')}, " if dice.random() < 0.5 else ""
    lines.append(f'stop = {{ {stop}timeout = "1min" }}')
    return "\n".join([*lines, ""])


class Clients(threading.Thread):
    """Does one thing after the other, until told to stop."""

    def __init__(self, program: Program, seed: int, done: threading.Event) -> None:
        super().__init__(name="clients")
        self.program, self.done = program, done
        self.acts: Counter[str] = Counter()
        self.errors: list[str] = []
        self._dice = random.Random(seed)

    def run(self) -> None:
        while not self.done.is_set():
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
    found = {}
    with Raw(program.socket) as raw:
        before = None
        while True:
            answer = raw.ask(m.History(id=raw.next_id(), jobs=list(jobs), limit=PAGE, before=before))
            assert isinstance(answer, m.Reply), answer
            assert isinstance(answer.body, m.Runs), answer
            for view in answer.body.runs:
                out = b"".join(
                    body.data
                    for body in raw.items(m.Logs(id=raw.next_id(), jobs=[view.job], run=view.run.hex()))
                    if isinstance(body, m.Output) and body.stream == 1
                )
                found[view.run.hex()] = Seen(
                    view.job, view.state, view.result or "", view.exit_code, view.signal, out, "@" not in view.job
                )
            before = answer.body.more
            if before is None:
                return found


def run_services(root: Path, kills: int, seed: int) -> Report:
    """One campaign in `root`, which may be thrown away afterwards when it passed."""
    dice = random.Random(seed)
    program = Program(root)
    ledger, jobs = root / "ledger", program.config_dir / "jobs"
    jobs.mkdir()
    for number in range(JOBS):
        (jobs / f"s{number}.toml").write_text(job_file(dice, number, ledger, program.mark))
    hook = json.dumps([sys.executable, "-I", "-S", service_work.__file__, str(ledger), "hook"])
    (jobs / "told@.toml").write_text(f'command = {hook}\nstart_limit = "infinity"\n')
    done = threading.Event()
    clients = [Clients(program, seed + number, done) for number in range(CLIENTS)]
    errors = []
    try:
        program.start()
        for client in clients:
            client.start()
        try:
            with Killer(program, dice, kills, within_sec=KILL_WITHIN_SEC, keepers=OF_KEEPERS) as killer:
                until(lambda: killer.kills == kills or not killer.is_alive(), "all kills are done", kills * 10.0)
            errors += [f"{kills - killer.kills} kills were not done"] if killer.kills < kills else []
        finally:
            done.set()
            for client in clients:
                client.join()
        stopped = program.jobctl("stop", *(f"s{number}" for number in range(JOBS)))
        left = {pid: words for pid, words in marked_processes(program.mark).items() if " main" in words}
        if stopped.returncode or left:
            errors.append(f"after the stop of all: {stopped.returncode} {stopped.stderr} {left}")
        program.jobctl("wait", "told@*")
        until(lambda: all(one.state == "finished" for one in observe(program).values()), "all have ended")
        seen = observe(program)
    finally:
        program.close()
    errors += [error for client in clients for error in client.errors]
    acts = sum((client.acts for client in clients), Counter[str]())
    problems = check(ledger.read_text().splitlines(), seen)
    counts = {**tally(KINDS, problems), "client errors": len(errors), "integrity errors": integrity(program)}
    both = killer.of_keepers
    words = f"{kills - both} kills of the daemon and {both} of the keeper, {acts.total()} acts, {len(seen)} runs"
    return Report(seed, words, counts, [*details(problems), *errors])
