"""F8: the disk is full under load, where the logs are, where the database is, or both; then there is room again.

Jobs write and end all the while. Nobody does anything but give the room back: each output has to be whole, each exit
known, each submission that was refused must not have run, and a new job has to begin soon.

The file systems are two small ones in memory, in a mount namespace of their own: `run_full_disk` starts this module
there as a program, so that nothing is left mounted whatever happens.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.fault.asking import observe
from tests.fault.checker import KINDS, check
from tests.fault.disk_work import FullLoad, Notes, fill
from tests.fault.report import CannotRunError, Problem, Report, concluded
from tests.system.program import Program, until
from tests.system.test_keeper import has_pidfd_info

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PLACES: Final = ("logs", "state", "both")
STATE_MIB: Final = 48  # the log of the database, its ballast, and as much again as spare
LOGS_MIB: Final = 512  # 100 MB are written in a minute
FULL_SEC: Final = (0.2, 1.5)
FREE_SEC: Final = (0.3, 1.2)
# What is left free: mostly nothing, or so much that some writes succeed.
LEFT_BYTES: Final = (0, 0, 0, 4096, 20_000, 300_000)
REFILL_SEC: Final = 0.05
# The writer and the pump try again each second; a daemon that was killed on the full disk comes within five.
SOON_SEC: Final = 15.0
HANGS_SEC: Final = 10.0  # a daemon that dies again and again comes after five
OUTSIDE_SEC: Final = 1200.0
MORE_KINDS: Final = ("lost notes", "hung requests", "manual action")


class Cycle:
    """Full, and free again."""

    def __init__(self, program: Program, load: FullLoad, notes: Notes, place: str, dice: random.Random) -> None:
        self.program = program
        self.load = load
        self.notes = notes
        self.dice = dice
        self.kills = 0
        state = program.state_dir
        directories = {"logs": [state / "logs"], "state": [state], "both": [state / "logs", state]}[place]
        self.fillers = [directory / "filler" for directory in directories]

    def run(self) -> None:
        self.load.full = True
        self.notes.full.set()
        try:
            leave = [self.dice.choice(LEFT_BYTES) for _ in self.fillers]
            end = time.monotonic() + self.dice.uniform(*FULL_SEC)
            while time.monotonic() < end:  # again and again: what jobd gives up is taken, too
                for filler, left in zip(self.fillers, leave, strict=True):
                    fill(filler, left)
                time.sleep(REFILL_SEC)
            if (which := self.dice.random()) < 0.6:
                self._kill() if which < 0.4 or not has_pidfd_info() else self._kill_keeper()
                time.sleep(self.dice.uniform(0, FULL_SEC[1]))
        finally:
            self.notes.full.clear()
            for filler in self.fillers:
                filler.unlink(missing_ok=True)
        if self.dice.random() < 0.2:
            self._kill()

    def _kill(self) -> None:
        if self.program.daemon_status().keeper_pid is not None:  # else both would be dead
            self.program.kill_daemon()
            self.kills += 1

    def _kill_keeper(self) -> None:
        """A next one comes when there is room for what the daemon has to write down before."""
        pid = self.program.keeper_pid
        os.kill(pid, signal.SIGKILL)
        self.kills += 1
        if pid == self.program.keeper.pid:
            self.program.keeper.wait()

    def settled(self, number: int) -> list[Problem]:
        """Whether all is well soon, with nobody doing anything."""
        why: list[str] = []

        def well() -> bool:
            why[:] = self.program.daemon_status().reasons
            return not why and self.program.jobctl("run", "--wait", "--", "true").returncode == 0

        try:
            until(well, "new jobs are taken and nothing is in trouble", SOON_SEC)
        except AssertionError as e:
            return [Problem("manual action", f"cycle {number}", f"{e}: {'; '.join(why)}")]
        finally:
            self.load.full = False
        return []


def campaign(root: Path, size: int, seed: int) -> Report:
    """In the namespace: `size` cycles."""
    program = Program(root)
    dice = random.Random(seed)
    problems: list[Problem] = []
    kills = 0
    try:
        program.start()
        with FullLoad(program, seed) as load, Notes(program) as notes:
            for number in range(size):
                cycle = Cycle(program, load, notes, PLACES[(seed + number) % len(PLACES)], dice)
                cycle.run()
                problems += cycle.settled(number)
                kills += cycle.kills
                time.sleep(dice.uniform(*FREE_SEC))
        problems += notes.lost()
        observed = observe(program, list(load.plans))
    finally:
        program.close()
    problems += check(load.plans, observed, load.ledger.read_text().split())
    if load.slowest > HANGS_SEC:
        problems.append(Problem("hung requests", "load", f"the slowest answer took {load.slowest:.1f} s"))
    done = f"{size} times full, {kills} kills meanwhile, {len(load.plans)} jobs, "
    done += f"{load.refused} of them and {notes.refused} other requests refused"
    return concluded(program, seed, done, (*KINDS, *MORE_KINDS), problems, load.errors)


# --- the namespace ----------------------------------------------------------------------------------------------------
def run_full_disk(root: Path, size: int, seed: int) -> Report:
    if os.geteuid() != 0:
        raise CannotRunError("only root can mount small file systems")
    tried = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "none", root], check=False, capture_output=True
    )
    if tried.returncode:
        raise CannotRunError(f"cannot mount here: {tried.stderr.decode(errors='replace').strip()}")
    command = ["unshare", "--mount", sys.executable, "-m", "tests.fault.full_disk", str(root), str(size), str(seed)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=OUTSIDE_SEC)
    return Report(**json.loads(done.stdout.splitlines()[-1]))


@contextlib.contextmanager
def mounted(root: Path) -> Iterator[None]:
    """The two file systems, while they are in use; the namespace takes them along in any case."""
    state = root / "state"
    for path, mib in ((state, STATE_MIB), (state / "logs", LOGS_MIB)):
        path.mkdir(mode=0o700)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0700", "jobd-full", path], check=True)
    yield


def main(words: Sequence[str]) -> None:
    root = Path(words[0])
    with mounted(root):
        report = campaign(root, int(words[1]), int(words[2]))
    print(json.dumps(report._asdict()))


if __name__ == "__main__":
    main(sys.argv[1:])
