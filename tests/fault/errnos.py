"""F5: one system call of the daemon or of the keeper fails once, with each error that calls fail with, while both
serve. Nobody may die of it, no request may hang, nothing may leak, and what is told of the runs is true.

A daemon may end of an error for which there is nothing else to do (MAY_END_DAEMON), and is replaced: that is counted
in words, and not as a fault, as the same runs are checked to the byte. A keeper has no such way out.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from tests.fault.report import Problem, Report, details, tally
from tests.fault.shot_checker import KINDS, check
from tests.fault.strace import TOO_FEW, Strace, check_strace, too_few
from tests.fault.visit import Visit
from tests.system.program import Program, children_of, is_alive, open_fds, until

if TYPE_CHECKING:
    from pathlib import Path

ERRORS = ("EMFILE", "ENFILE", "ENOMEM", "EAGAIN", "ENOSPC", "EIO", "EROFS", "EINTR")
# What each of the two calls while it serves a visit, as strace counted it. Not close(2): a close that is not made is a
# leak of the experiment. Not futex(2), which the C library does not check. Not pidfd_send_signal(2): a signal that is
# not a real-time one fails for want of nothing. Not the daemon's mmap(2): when CPython has no memory for the first
# frame of a thread, whoever started it waits for ever, in C; the keeper replaces such a daemon after its ten seconds.
# Not the daemon's fcntl(2), most of which are SQLite's locks: it does not look whether an unlock went well, and as long
# as that lock stays nobody may read the database (jobd/store/connections.py). No kernel refuses one on a local disk.
DAEMON_CALLS = (
    "accept4", "epoll_ctl", "epoll_wait", "fdatasync", "getdents64", "getsockopt", "ioctl", "lseek", "mkdir",
    "newfstatat", "openat", "pread64", "pwrite64", "read", "recvfrom", "recvmsg", "rmdir", "sendmsg", "sendto",
    "splice", "unlinkat", "write",
)  # fmt: skip
KEEPER_CALLS = (
    "clone3", "epoll_ctl", "epoll_wait", "fcntl", "getdents64", "ioctl", "lseek", "mkdir", "mmap", "newfstatat",
    "openat", "openat2", "pipe2", "prlimit64", "read", "recvfrom", "recvmsg", "rmdir", "sendmsg",
    "sendto", "socketpair", "wait4", "write",
)  # fmt: skip
# Where an error may end the daemon: what trio calls for itself (its poll, and the byte that wakes it), and its link to
# the keeper when that fails for good. With an error of the eventfd that wakes the pump, which no kernel has, the task
# of a run fails. The daemon says why and leaves, and the next one goes on.
MAY_END_DAEMON = ("epoll_ctl", "epoll_wait", "recvfrom", "recvmsg", "sendmsg", "write")
SAID = ("the daemon fails", "killing daemon", "its task failed")
# Only in the main thread: trio's own threads tell of their results by a byte, and an error of that ends in trio.
MAIN_THREAD = ("sendto",)
TIMES = (1, 1, 2, 3, 5, 8, 13)  # the k of the k-th call; of most there are few in a visit
HUNG_SEC = 5.0
SET_ASIDE = "was set aside as"  # of a database, which is said until the next boot
SETTLE_SEC = 10.0
OWN_KINDS = ("keeper deaths", "daemon deaths", "hung", "leaked", "set aside", "client errors")


class Shot(NamedTuple):
    """One call that fails."""

    who: str
    call: str
    error: str
    when: int

    @property
    def inject(self) -> str:
        return f"{self.call}:error={self.error}:when={self.when}"

    def __str__(self) -> str:
        return f"{self.who} {self.inject}"


def shots(size: int, seed: int) -> list[Shot]:
    """`size` of all the pairs of a call and an error, each with a k; all of them before any comes again."""
    dice = random.Random(seed)
    every = [("daemon", call, error) for call in DAEMON_CALLS for error in ERRORS]
    every += [("keeper", call, error) for call in KEEPER_CALLS for error in ERRORS]
    found: list[Shot] = []
    while len(found) < size:
        found += [Shot(*each, dice.choice(TIMES)) for each in dice.sample(every, len(every))]
    return found[:size]


def kinds_of_fds(pid: int) -> Counter[str]:
    """What a process has open, by kind: numbers of inodes say nothing, and files of a run have a name of their own.

    The database counts by its log, which each connection has open once. The file's own descriptor SQLite keeps when a
    connection is closed and there are others, as their locks would go with it; the next one takes it over.
    """
    targets = [target for target in open_fds(pid).values() if not target.endswith("/state.db")]
    return Counter(re.sub(r"\[\d+\]|/runs/.*|-?\d+", "", target) for target in targets)


def leaks(now: Counter[str], before: Counter[str]) -> list[str]:
    return [f"{count} x {kind}" for kind, count in (now - before).items()]


class Sweep:
    """The campaign on one jobd."""

    def __init__(self, program: Program, seed: int) -> None:
        self._program = program
        self._visit = Visit(program, seed, may_fail=True)
        self._notes = program.root / "strace"
        self._said = 0  # bytes of jobd's log that were read
        self.problems: list[Problem] = []
        self.shot = self.hit = self.left = 0
        for _ in range(3):  # what is made at the first use, and kept, is no leak
            self._visit.come()
        self._daemon = program.daemon_pid()
        self._open = {pid: kinds_of_fds(pid) for pid in (self._daemon, program.keeper.pid)}
        self._ledger = len(self._visit.ledger.read_text().split())

    def close(self) -> None:
        self._visit.close()

    def shoot(self, shot: Shot) -> None:
        """Have one call fail during a visit, and look at what is left."""
        program = self._program
        pid = self._daemon if shot.who == "daemon" else program.keeper.pid
        with Strace(
            pid, shot.inject, self._notes, threads=shot.who == "daemon" and shot.call not in MAIN_THREAD
        ) as strace:
            told = self._visit.come()
        injected = strace.text
        self.shot += 1
        self.hit += bool(injected)
        name = f"{shot}: {injected}"
        ledger = self._visit.ledger.read_text().split()
        found = check(told, ledger[self._ledger :], may_fail=bool(injected))
        self.problems += [problem._replace(text=f"{problem.text} ({name})") for problem in found]
        self._ledger = len(ledger)
        if self._visit.longest_sec > HUNG_SEC:
            self.problems.append(Problem("hung", name, f"{self._visit.longest_sec:.1f} s"))
        self.problems += [Problem("client errors", name, text) for text in self._visit.errors]
        self._visit.errors.clear()
        self._look(shot, name)

    def _look(self, shot: Shot, name: str) -> None:
        """Who has died, and what has leaked."""
        program = self._program
        if not is_alive(program.keeper.pid):
            self.problems.append(Problem("keeper deaths", name, program.log_text()[-1500:]))
            return
        said = program.log.read_bytes()[self._said :].decode(errors="replace")
        self._said += len(said.encode(errors="replace"))
        if SET_ASIDE in said:  # no error of the disk makes a sound database a damaged one
            self.problems.append(Problem("set aside", name, said[-1500:]))
        now = program.daemon_pid()
        if now != self._daemon:
            program.replace_daemon()  # killed by somebody else, it is no failure: the keeper's pauses begin anew
            self._daemon = now = program.daemon_pid()
            self._visit.come()
            self._open[now] = kinds_of_fds(now)
            self._ledger = len(self._visit.ledger.read_text().split())
            if shot.call in MAY_END_DAEMON and any(words in said for words in SAID):
                self.left += 1
            else:
                self.problems.append(Problem("daemon deaths", name, said[-1500:]))
        try:
            until(lambda: not self._troubles(), "", SETTLE_SEC)
        except AssertionError:
            self.problems.append(Problem("hung", name, f"goes on for {SETTLE_SEC:.0f} s: {self._troubles()}"))
        try:
            until(lambda: not self._leaks(), "", SETTLE_SEC)
        except AssertionError:
            self.problems.append(Problem("leaked", name, str(self._leaks())))
            for pid in (self._daemon, program.keeper.pid):
                self._open[pid] = kinds_of_fds(pid)  # said once

    def _troubles(self) -> list[str]:
        """Why jobd may refuse what is asked for after the call that failed: after a write new runs, for a second."""
        return [why for why in self._program.daemon_status().reasons if SET_ASIDE not in why]

    def _leaks(self) -> list[str]:
        found = []
        for pid in (self._daemon, self._program.keeper.pid):
            who = "daemon" if pid == self._daemon else "keeper"
            found += [f"{who}: {leak}" for leak in leaks(kinds_of_fds(pid), self._open[pid])]
        found += [f"child {pid}" for pid in children_of(self._program.keeper.pid) if pid != self._daemon]
        return found


def run_errnos(root: Path, size: int, seed: int) -> Report:
    """F5."""
    check_strace(root)
    with Program(root / "jobd") as program:
        sweep = Sweep(program, seed)
        try:
            for shot in shots(size, seed):
                sweep.shoot(shot)
                if not is_alive(program.keeper.pid):
                    break  # which has been noted: the next keeper is not the one whose descriptors are known
        finally:
            sweep.close()
    done = f"{sweep.hit} calls that failed, {sweep.shot - sweep.hit} that were not made so often; "
    done += f"the daemon left by itself {sweep.left} times"
    problems = sweep.problems + too_few(sweep.hit, sweep.shot)
    return Report(seed, done, tally((*OWN_KINDS, TOO_FEW, *KINDS), problems), details(problems))
