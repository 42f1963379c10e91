"""F10: the files of the database are damaged while no daemon has them, and jobd is started on them.

Each trial begins with a copy of one state: of a jobd that was ended (`closed`), of one whose two processes were killed
(`killed`: the last changes are in the write-ahead log), or of a daemon that is away while its keeper lives with running
jobs (`live`). What it says then has to be right, or it has to say that it is not; jobs that run go on.

One thing is not promised, and therefore counted in words and not among what must be zero: SQLite has no checksums in
its file, and who is killed writes none. So a value that flips in the database itself (not in its log) under a jobd that
was not ended may go unseen. After a clean end nothing does.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
from typing import TYPE_CHECKING, Final

from jobd.core.ids import new_run_id
from tests.fault.asking import streams
from tests.fault.damage_store import try_store
from tests.fault.damage_work import Past, check_past, harm, past
from tests.fault.report import Problem, Report, details, tally
from tests.system.program import Gate, Program, is_alive, until
from tests.system.raw import Raw, started

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KINDS: Final = ("refused to start", "lost running jobs", "silent wrong history", "false alarms", "unreadable")
STATES: Final = ("closed", "killed", "closed", "killed", "live")
RUNS: Final = 120
LATE_RUNS: Final = 40  # of `killed`, behind the last time that the log was folded in
QUEUED: Final = 5
LIVE: Final = 3
START_SEC: Final = 20.0
SMALL: Final = 10  # starts: with fewer there are fewer runs, too
STORES: Final = 5  # times as often the store alone
TRIES: Final = 5


class Damaged(Program):
    """A jobd on a state that something has happened to."""

    def reasons(self) -> str:
        """Why it is degraded, as far as it is the database's fault."""
        return "; ".join(reason for reason in self.daemon_status().reasons if "database" in reason)

    def seen(self) -> Past:
        """History, asked for again when the answer is that it cannot be read: then it is set aside."""
        for left in reversed(range(TRIES)):
            try:
                with Raw(self.socket) as raw:
                    return past(raw)
            except (RuntimeError, EOFError, ConnectionResetError):
                if not left:
                    raise
        raise AssertionError

    def answers(self) -> bool:
        with contextlib.suppress(OSError, AssertionError):
            return bool(self.daemon_pid())
        return False


def submit(raw: Raw, number: int) -> bytes:
    """A short job, each of another kind of end."""
    run = new_run_id()
    script = f"echo output of {number}; " + (f"exit {number % 7}" if number % 5 else "kill -9 $$")
    started(raw.run([b"/bin/sh", b"-c", script.encode()], run=run, name=f"job-{number}"))
    return run


def work(program: Program, first: int, count: int) -> None:
    """Runs that have ended, and are closed, when this returns."""
    with Raw(program.socket) as raw:
        raw.wait(*[submit(raw, number) for number in range(first, first + count)])
        until(
            lambda: all(row.get("finished_at") for row in past(raw).values() if not row.get("queue")), "all is closed"
        )


def queue(program: Program) -> None:
    """Runs that wait and will not begin."""
    program.jobctl("queue", "add", "later", check=True)
    program.jobctl("queue", "pause", "later", check=True)
    for number in range(QUEUED):
        program.jobctl("run", "--queue", "later", "--name", f"later-{number}", "--", "true", check=True)


class Template:
    """A state directory to copy, and the truth about it."""

    def __init__(self, directory: Path, truth: Past) -> None:
        self.directory = directory
        self.truth = truth


def make_templates(root: Path, share: float) -> dict[str, Template]:
    """States without damage, with a share of the full number of runs."""
    runs, late_runs = int(RUNS * share), int(LATE_RUNS * share)
    closed, killed = root / "closed", root / "killed"
    program = Damaged(root / "made")
    with program:
        work(program, 0, runs)
        queue(program)
        truth = program.seen()
    shutil.copytree(program.state_dir, closed)
    with program:
        work(program, runs, late_runs)
        late = program.seen()
        keeper, daemon = program.keeper.pid, program.daemon_pid()
        os.kill(keeper, signal.SIGSTOP)  # else it would begin the next daemon
        os.kill(daemon, signal.SIGKILL)
        os.kill(keeper, signal.SIGKILL)
        program.keeper.wait()
        until(lambda: not is_alive(daemon), "the daemon is dead")
        shutil.copytree(program.state_dir, killed, ignore=shutil.ignore_patterns("*.sock"))
        program.start()  # to be ended as a person would
    return {"closed": Template(closed, truth), "killed": Template(killed, late), "live": Template(closed, truth)}


class Trial:
    """One state, one harm, one start."""

    def __init__(self, root: Path, number: int, state: str, template: Template, dice: random.Random) -> None:
        self.name = f"trial {number}, {state}"
        self.state = state
        self.template = template
        self.dice = dice
        self.root = root / f"trial-{number}"
        self.root.mkdir()
        shutil.copytree(template.directory, self.root / "state")
        self.program = Damaged(self.root)
        self.sealed = state == "closed"  # else only the log has checksums
        self.unseen = 0
        self.harmless = dice.random() < 0.05  # nothing happens, and nothing may be said

    def run(self) -> list[Problem]:
        try:
            return self._live() if self.state == "live" else self._at_rest()
        finally:
            self.program.close()

    def _harm(self) -> None:
        if self.harmless:
            self.name += ", untouched"
            return
        state = self.program.state_dir
        files = [path for path in (state / "state.db", state / "state.db-wal") if path.exists() and path.stat().st_size]
        done = harm(self.dice.choice(files), self.dice)
        self.sealed |= done.file.endswith("-wal")
        self.name += f", {done}"

    def _at_rest(self) -> list[Problem]:
        self._harm()
        self.program.start(answering=False)
        return self._problems(self.template.truth)

    def _problems(self, truth: Past) -> list[Problem]:
        try:
            until(self.program.answers, "jobd answers", START_SEC)
        except AssertionError:
            return [Problem("refused to start", self.name, self.program.log_text()[-500:])]
        try:
            seen = self.program.seen()
        except RuntimeError as e:
            return [Problem("refused to start", self.name, f"it serves no history: {e}")]
        told = self.program.reasons()
        problems = check_past(self.name, truth, seen, told)
        if problems and not self.sealed:
            self.unseen, problems = 1, []
        if self.harmless and told:
            problems.append(Problem("false alarms", self.name, told))
        return problems

    def _live(self) -> list[Problem]:
        self.program.start()
        gates = [Gate(self.root / f"gate-{number}") for number in range(LIVE)]
        with Raw(self.program.socket) as raw:
            runs = [self._begin(raw, gate, number) for number, gate in enumerate(gates)]
            truth = {run: row for run, row in past(raw).items() if row["state"] in ("finished", "queued")}
        daemon = self.program.daemon_pid()
        with self._stopped_keeper():
            os.kill(daemon, signal.SIGKILL)
            until(lambda: not is_alive(daemon), "the daemon is dead")
            self._harm()
        problems = self._problems({**truth, **self._now(runs)})
        for gate in gates:
            gate.open()
        return [*problems, *self._ends(runs)]

    def _begin(self, raw: Raw, gate: Gate, number: int) -> bytes:
        run = new_run_id()
        script = f"echo before; {gate.wait}; echo after; exit {number + 3}"
        started(raw.run([b"/bin/sh", b"-c", script.encode()], run=run, name=f"live-{number}"))
        return run

    def _now(self, runs: list[bytes]) -> Past:
        """The rows of what runs as they are now: of these only the end is checked."""
        with contextlib.suppress(RuntimeError, OSError, EOFError, AssertionError):
            seen = self.program.seen()
            return {run.hex(): seen[run.hex()] for run in runs if run.hex() in seen}
        return {}

    @contextlib.contextmanager
    def _stopped_keeper(self) -> Iterator[None]:
        os.kill(self.program.keeper.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.program.keeper.pid, signal.SIGCONT)

    def _ends(self, runs: list[bytes]) -> list[Problem]:
        problems = []
        for number, run in enumerate(runs):
            with Raw(self.program.socket) as raw:
                try:
                    view = raw.wait(run).get(run)
                    out = streams(raw, f"live-{number}", run)[1]
                except AssertionError as e:
                    problems.append(Problem("lost running jobs", self.name, str(e)[:300]))
                    continue
            if view is None or view.exit_code != number + 3 or out != b"before\nafter\n":
                problems.append(Problem("lost running jobs", self.name, f"{out!r}, {view}"))
        return problems


def run_damage(root: Path, size: int, seed: int) -> Report:
    """Damage the database `size` times."""
    dice = random.Random(seed)
    templates = make_templates(root, min(1.0, size / SMALL))
    problems: list[Problem] = []
    unseen = 0
    for number in range(size):
        state = STATES[number % len(STATES)]
        trial = Trial(root, number, state, templates[state], dice)
        found = trial.run()
        problems += found
        unseen += trial.unseen
        if not found:
            shutil.rmtree(trial.root)
    for number in range(STORES * size):
        problems += try_store(root / "killed", root / "store", f"store {number}", dice)
    done = f"{size} starts on a damaged database, {STORES * size} of the store alone; {unseen} values not seen"
    return Report(seed, done, tally(KINDS, problems), details(problems))
