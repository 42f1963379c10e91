"""F9: jobd is replaced under load, by every polite way there is, and nothing of what runs notices.

Beside the load of F1 there live, from the first act to the last: a job that counts, one that does so on a terminal, a
service that has to be ready, and a job that is fed a large stdin. The acts: the daemon and the keeper are executed
anew, by request and by signal, and settings and job files are read again, one act often in the middle of another. At
last jobd is ended by SIGTERM and started again, as a unit is: what ran then was stopped, and nothing else is; what
waits in a queue still does, and the service, which is enabled, is started anew.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Final

from jobd.core.ids import new_run_id
from jobd.wire import messages as m
from tests.fault.asking import observe
from tests.fault.both import spans
from tests.fault.checker import KINDS, Kill, Observed, check, live_at
from tests.fault.feeding import compare, make
from tests.fault.killing import daemon_of
from tests.fault.load import Load
from tests.fault.report import Problem, Report, concluded
from tests.fault.services import command
from tests.system.program import DEADLINE_SEC, Program, until
from tests.system.raw import Raw, started

if TYPE_CHECKING:
    from pathlib import Path

    from jobd.wire.fields import Stdin

ACTS: Final = ("daemon-reexec", "daemon-reexec --keeper", "daemon-reload", "SIGHUP", "SIGTERM of the daemon")
PAUSE_SEC: Final = 0.6  # between two acts; each takes up to half a second, and the next may come in its middle
RESTARTS: Final = 10  # acts for each restart at the end
LIVING: Final[tuple[tuple[str, Stdin], ...]] = (("count", "null"), ("terminal", "pty"))
FED_MIB: Final = 1  # for each act: about as much as is read meanwhile
LIVED_CODE: Final = 7
STOPPED: Final = ("stopped", "canceled")  # also before it was started
WAITING: Final = "waiting"  # a queue, and the run that waits in it
UPGRADE_KINDS: Final = (*KINDS, "noticed", "not as before")
COUNT: Final = 'i=0; while [ ! -e "$0" ]; do i=$((i+1)); echo $i; sleep 0.01; done; exit 7'


def act(program: Program, what: str) -> str:
    """One act. Returns what went wrong."""
    if what == "SIGHUP":
        os.kill(program.keeper.pid, signal.SIGHUP)
    elif what.startswith("SIGTERM"):
        if pid := daemon_of(program):
            os.kill(pid, signal.SIGTERM)
    else:
        done = program.jobctl(*what.split())
        return f"{what}: {done.returncode}: {done.stderr}" if done.returncode else ""
    return ""


def counts_on(out: bytes, end: bytes) -> bool:
    """Whether these are the numbers from 1 on, a line each, without a gap."""
    return bool(out) and out == b"".join(b"%d%s" % (number, end) for number in range(1, out.count(b"\n") + 1))


class Lasting:
    """What lives through all acts."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.stop = program.root / "stop"
        self.ledger = program.root / "service"

    def write_files(self) -> None:
        """Before jobd is started."""
        jobs = self.program.config_dir / "jobs"
        jobs.mkdir()
        environment = f'{{ JOBD_TEST_MARK = "{self.program.mark}" }}'
        text = f'command = {command(self.ledger, "steady")}\ntype = "notify"\nrestart = "always"\n'
        (jobs / "steady.toml").write_text(f"{text}environment = {environment}\n")

    def begin(self) -> None:
        words = [b"/bin/sh", b"-c", COUNT.encode(), os.fsencode(self.stop)]
        env = [b"PATH=/usr/bin:/bin", b"JOBD_TEST_MARK=" + self.program.mark.encode()]
        with Raw(self.program.socket) as raw:
            for job, stdin in LIVING:
                request = m.Run(
                    id=raw.next_id(), run=new_run_id(), argv=words, env=env, cwd=b"/", name=job, stdin=stdin
                )
                started(raw.ask(request))
        self.program.jobctl("enable", "--now", "steady", check=True)
        self.program.jobctl("queue", "add", WAITING, check=True)
        self.program.jobctl("queue", "pause", WAITING, check=True)
        self.program.jobctl("run", "--queue", WAITING, "--name", WAITING, "--", "sh", "-c", "exit 7", check=True)

    def end(self) -> list[Problem]:
        """End it, and say what it has noticed."""
        program = self.program
        self.stop.touch()
        problems = []
        for job, end in (("count", b"\n"), ("terminal", b"\r\n")):
            code = program.jobctl("wait", job).returncode
            if code != LIVED_CODE:
                problems.append(Problem("noticed", job, f"jobctl wait ended with {code}"))
            out = program.output(job)
            if not counts_on(out, end):
                problems.append(Problem("noticed", job, f"{len(out)} bytes, which do not count without a gap"))
        runs = program.history("steady")
        states = [(run["state"], run["result"]) for run in runs]
        if states != [("running", None)] or self.ledger.read_text().count("begin") != 1:
            problems.append(Problem("noticed", "steady", f"{states}, {self.ledger.read_text()}"))
        return problems

    def restarted(self, times: int) -> list[Problem]:
        """What is not as before, after so many restarts of jobd; and the end of all this."""
        program, problems = self.program, []
        until(lambda: program.history("steady")[0]["state"] != "starting", "the service is ready")
        newest, *others = [(run["state"], run["result"]) for run in program.history("steady")]
        stopped = [result for _, result in others if result in STOPPED]
        if newest != ("running", None) or not len(others) == len(stopped) == times:
            problems.append(Problem("not as before", "steady", f"{times} times: {newest}, {others}"))
        states = [(run["state"], run["result"]) for run in program.history(WAITING)]
        if states != [("queued", None)]:
            problems.append(Problem("not as before", WAITING, str(states)))
        program.jobctl("queue", "resume", WAITING, check=True)
        if (code := program.jobctl("wait", WAITING).returncode) != LIVED_CODE:
            problems.append(Problem("not as before", WAITING, f"jobctl wait ended with {code}"))
        program.jobctl("stop", "steady", check=True)
        return problems


class Fed:
    """A stdin that is as long as the acts take, and what comes of it."""

    def __init__(self, program: Program, mib: int, seed: int) -> None:
        self.size = mib << 20
        self.problem = ""
        data = program.root / "data"
        right = make(data, self.size, seed)
        # A MiB at a time, as slowly as the acts are done.
        piece = 'dd if="$0" bs=1M skip=$i count=1 2>/dev/null'
        script = f'i=0; while [ $i -lt "$1" ]; do {piece}; i=$((i+1)); sleep 0.3; done'
        self._source = subprocess.Popen(
            ["/bin/sh", "-c", script, data, str(mib)], env=program.env, stdout=subprocess.PIPE
        )
        self._client = subprocess.Popen(
            program.jobctl_command("run", "-P", "--name", "fed", "--", "cat"),
            env=program.env, stdin=self._source.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self._source.stdout is not None
        self._source.stdout.close()

        def read() -> None:
            self.problem = compare(self._client, self.size, right)

        self._thread = threading.Thread(target=read, name="fed")
        self._thread.start()

    def end(self) -> list[Problem]:
        self._thread.join()
        self._source.wait(DEADLINE_SEC)
        return [Problem("noticed", "fed", self.problem)] if self.problem else []


def restart(program: Program, dice: random.Random) -> Kill:
    """End jobd as its service manager does, and start it again."""
    time.sleep(dice.uniform(0, PAUSE_SEC))
    at = time.time_ns()
    program.keeper.terminate()
    program.keeper.wait(DEADLINE_SEC)
    gone = time.time_ns()
    program.start()
    return Kill(at, gone, time.time_ns())


def without_stopped(seen: dict[str, Observed], may_be: set[str]) -> set[str]:
    """The runs that jobd has stopped when it was told to end, which it may say of these."""
    return {run for run, one in seen.items() if one.result in STOPPED and run in may_be}


def run_upgrades(root: Path, size: int, seed: int) -> Report:
    """One campaign in `root`, which may be thrown away afterwards when it passed."""
    dice, program, errors = random.Random(seed), Program(root), list[str]()
    lasting = Lasting(program)
    lasting.write_files()
    kills = []
    try:
        program.start()
        lasting.begin()
        fed = Fed(program, max(1, size * FED_MIB), seed)
        with Load(program, seed, goes_away=True) as load:
            for number in range(size):
                errors.append(act(program, ACTS[number % len(ACTS)] if number < len(ACTS) else dice.choice(ACTS)))
                time.sleep(dice.uniform(0, PAUSE_SEC))
            problems = [*fed.end(), *lasting.end()]
            kills += [restart(program, dice) for _ in range(-(-size // RESTARTS))]
        problems += lasting.restarted(len(kills))
        observed, over = observe(program, list(load.plans)), spans(program)
    finally:
        program.close()
    stopped = without_stopped(observed, live_at(kills, over))
    lost = {run: observed[run]._replace(result="lost", exit_code=None, signal=None) for run in stopped}
    problems += check(load.plans, observed | lost, load.ledger.read_text().split(), stopped)
    errors = [error for error in (*errors, *load.errors) if error]
    done = f"{size} acts, {len(kills)} restarts, {len(load.plans)} jobs, of which {len(stopped)} were stopped"
    return concluded(program, seed, done, UPGRADE_KINDS, problems, errors)
