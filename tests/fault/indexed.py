"""F4: daemon or keeper is killed just before its k-th call of one kind: while it serves, and on its way up.

The kill comes at a known place and not at a random time, so that the few instants in which something is half done are
met on purpose: between a write and its sync, a fork and its note, a message and the answer to it. What is done at each
is a Visit, in which nothing may be refused and all is exact.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
from typing import TYPE_CHECKING, NamedTuple

from tests.fault.report import Problem, Report, concluded
from tests.fault.shot_checker import KINDS, check
from tests.fault.strace import KILLED, TOO_FEW, Strace, check_strace, too_few
from tests.fault.visit import Visit
from tests.system.program import Program, until
from tests.system.test_keeper import has_pidfd_info

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.fault.visit import Told

MOST = 60  # the highest k: of most calls there are fewer in a visit, and small ones are tried more often
LINE = (
    "sendmsg", "recvmsg", "sendto", "recvfrom", "openat", "mkdir", "unlink,unlinkat", "rmdir", "epoll_ctl", "all",
)  # fmt: skip
# Where it is killed, and before which calls. An heir is traced together with the daemon that starts it, by what no
# daemon does: as it asks for the state. Once it has all, and no daemon yet, its death is that of both (F2b).
PLACES = {
    "daemon": ("pwrite64", "fdatasync", "splice", *LINE),
    "keeper": ("clone,clone3", "pipe,pipe2", "socketpair", "wait4", "read", "close", *LINE),
    "coming daemon": ("pwrite64", "fdatasync", "pread64", "rename,renameat,renameat2", *LINE),
    "coming keeper": ("connect",),
}
DEAR = 80  # one in so many is of a keeper on its way up: the next attempt comes 5 s later
# A keeper whose daemons are started by way of a script, which has the next one traced when it is told to.
WRAPPED = (
    "from jobd.keeper import loop; words = loop.default_argv(); "
    "loop.default_argv = lambda: ['/bin/sh', {script!r}, *words]"
)
SCRIPT = """\
if mv {root}/arm {root}/armed 2>/dev/null; then
  exec {strace} -DDD -f -qq -o {root}/coming $(cat {root}/armed) "$@"
fi
exec "$@"
"""


class Kill(NamedTuple):
    """One kill: of whom, before the `when`-th of which calls."""

    whom: str
    call: str
    when: int

    @property
    def inject(self) -> str:
        return f"{self.call}:signal=SIGKILL:when={self.when}"

    def __str__(self) -> str:
        return f"{self.whom} before {self.call} {self.when}"


def kills(size: int, seed: int, whom: Sequence[str]) -> list[Kill]:
    """`size` kills; each place and call comes before any comes again. Those of one place follow each other."""
    dice = random.Random(seed)
    every = [(place, call) for place in whom for call in PLACES[place] if place != "coming keeper"]
    found: list[Kill] = []
    while len(found) < size:
        found += [Kill(*each, int(MOST ** dice.random())) for each in dice.sample(every, len(every))]
    if "coming keeper" in whom:
        for at in range(DEAR - 1, size, DEAR):
            found[at] = Kill("coming keeper", dice.choice(PLACES["coming keeper"]), 1)
    return sorted(found[:size], key=lambda kill: "keeper" in kill.whom)


class Wrapped(Program):
    """A jobd whose next daemon can be traced from its first instruction on."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        script = root / "start"
        script.write_text(SCRIPT.format(root=root, strace=shutil.which("strace")))
        self.changes = WRAPPED.format(script=str(script))

    def arm(self, kill: Kill) -> None:
        """Have the next daemon traced."""
        fresh = self.root / "arm.new"
        fresh.write_text(f"-e trace={kill.call} -e inject={kill.inject}")
        fresh.rename(self.root / "arm")


class Sweep:
    """The campaign on one jobd."""

    def __init__(self, program: Wrapped, seed: int) -> None:
        self._program = program
        self._visit = Visit(program, seed)
        self._notes = program.root / "strace"
        self._ledger = 0
        self.problems: list[Problem] = []
        self.errors: list[str] = []
        self.hit = 0

    def close(self) -> None:
        self._visit.close()

    def shoot(self, kill: Kill) -> None:
        """Kill somebody during a visit, and compare what was told with what has happened."""
        program = self._program
        keeper, daemon = program.keeper_pid, program.daemon_pid()
        if kill.whom == "coming daemon":
            program.arm(kill)
            os.kill(daemon, signal.SIGKILL)
            told = self._visit.come()
            self.hit += KILLED in (program.root / "coming").read_bytes()
        elif kill.whom == "coming keeper":
            with Strace(daemon, kill.inject, self._notes) as strace:
                os.kill(keeper, signal.SIGKILL)
                until(lambda: KILLED.decode() in strace.text, "the heir is killed")
            told = self._visit.come()  # by the next one, which comes 5 s later
            self.hit += 1
        else:
            pid = keeper if kill.whom == "keeper" else daemon
            with Strace(pid, kill.inject, self._notes, threads=kill.whom != "keeper") as strace:
                told = self._visit.come()
            self.hit += KILLED.decode() in strace.text
        until(lambda: program.daemon_status().keeper_pid, "a keeper is there")
        self._compare(kill, told)

    def _compare(self, kill: Kill, told: Sequence[Told]) -> None:
        ledger = self._visit.ledger.read_text().split()
        found = check(told, ledger[self._ledger :], may_fail=False)
        self._ledger = len(ledger)
        self.problems += [problem._replace(text=f"{problem.text} ({kill})") for problem in found]
        self.errors += [f"{text} ({kill})" for text in self._visit.errors]
        self._visit.errors.clear()


def run_indexed(root: Path, size: int, seed: int) -> Report:
    """F4. Where exits are told to the parent alone only daemons are killed."""
    check_strace(root)
    whom = list(PLACES) if has_pidfd_info() else ["daemon", "coming daemon"]
    with Wrapped(root / "jobd") as program:
        sweep = Sweep(program, seed)
        try:
            for kill in kills(size, seed, whom):
                sweep.shoot(kill)
        finally:
            sweep.close()
    done = f"{sweep.hit} kills, and {size - sweep.hit} calls that were not made so often"
    problems = sweep.problems + too_few(sweep.hit, size)
    return concluded(program, seed, done, (*KINDS, TOO_FEW), problems, sweep.errors)
