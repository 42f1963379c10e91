"""A daemon that was taken over says whatever it likes to the keeper, which is root: nothing of it may come to more than
the end of the link.

A real keeper, whose daemon is this process. After each lie comes a question that is answered, or the link has ended and
the next daemon is forked. One run is what the lies are about; the other one has to be as it was, at the end.
"""

from __future__ import annotations

import os
import random
import select
import socket
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from jobd.keeper.link import LinkClosed, LinkError
from jobd.wire.plainpack import PlainpackError, packb, unpackb
from tests.fault.mutations import Mutator
from tests.fault.report import Problem, Report, details, tally
from tests.keeper import harness
from tests.keeper.harness import DEADLINE_SEC, KeeperProcess, alive, close_all, environment
from tests.system.program import children_of, until

if TYPE_CHECKING:
    from pathlib import Path

    from jobd.keeper.link import Message
    from tests.keeper.harness import Daemon

KINDS: Final = ("deaths", "unanswered", "list refused", "runs hurt", "descriptors", "children", "growth", "log")
MOST_GROWTH_BYTES: Final = 20 << 20  # as of the daemon in F6
ROUND: Final = 20  # lies, after which a fresh daemon looks whether all is well
# The keeper waits longer and longer for the next daemon, and there are to be thousands.
HASTE: Final = "from jobd.keeper import daemonproc\ndaemonproc.BACKOFF_MIN_SEC = daemonproc.BACKOFF_MAX_SEC = 0.001\n"
ENDING: Final = {"ask-shutdown", "bye", "ask-reexec"}  # a daemon may have jobd ended; that is no lie
TEXT: Final = {"o": "check-1", "path": "jobd.toml", "whom": "all", "what": "output"}


def messages(run: bytes, mark: bytes) -> list[Message]:
    """What a daemon says of a run and of itself."""
    new = os.urandom(16)
    start: Message = {
        "argv": [b"true"],
        "env": environment(new, mark),
        "cwd": b"/",
        "umask": 18,
        "rlimits": {"core": [0, -1]},
    }
    spawn: Message = {
        "op": "spawn",
        "run": new,
        **start,
        "nice": 0,
        "stdin": "null",
        "merge": False,
        "label": {"owner": 1},
    }
    about: list[Message] = [
        {"op": op, "run": run, "tag": 5, **TEXT}
        for op in ("go", "signal", "kill-tree", "watch", "tree", "close", "ack", "helper-kill", "set-main", "end-stray")
    ]
    return [
        spawn,
        {**spawn, "stdin": "pty", "window": [24, 80], "notify": True, "watchdog_usec": 1_000_000, "user": "nobody"},
        {**spawn, "env_files": [[b"/etc/passwd", True]], "array": ["0-9", 3, [b"true"]], "memory_max": 1 << 30},
        *about,
        {"op": "signal", "run": run, "o": "term-1", "sig": 0, "whom": "main"},
        {"op": "helper", "run": run, "o": "check-7", **start, "timeout_ms": 500, "user": 1},
        {"op": "freeze", "run": run, "tag": 9, "frozen": True},
        {"op": "set-limits", "run": run, "tag": 2, "memory_max": 1 << 30, "rlimits": {"nofile": [512, 512]}},
        {"op": "run-of", "tag": 1, "pids": [1, 2, 3]},
        {"op": "tree", "run": run, "tag": 1, "holders": True},
        {"op": "open", "tag": 1, "path": "jobd.toml", "root": 0},
        {"op": "list-dir", "tag": 1, "path": "jobs", "after": "", "root": 0},
        {"op": "check-unix", "tag": 1, "path": b"/run/x.sock", "user": 1},
        {"op": "grant-files", "tag": 1, "all": True},
        {"op": "backlog", "length": 16},
        {"op": "log-level", "level": "debug"},
        {"op": "start-failed", "why": "no"},
        {"op": "list"}, {"op": "ready"}, {"op": "pong"}, {"op": "rebind"}, {"op": "shutdown-begun"}, {"op": "memfd"},
    ]  # fmt: skip


def is_lie(data: bytes) -> bool:
    """Whether these bytes may go to the keeper: they do not end it as a daemon may, nor execute what the dice say."""
    try:
        found = unpackb(data)
    except PlainpackError:
        return True
    for message in found if isinstance(found, list) else []:
        if isinstance(message, dict) and (
            str(message.get("op")) in ENDING or message.get("argv", [b"true"]) != [b"true"]
        ):
            return False
    return True


class Died(Exception):  # noqa: N818  # an event
    """There is no keeper any more, or it forks no daemon."""


class Liar:
    """The daemons of a keeper, one after the other; each lies until the keeper has had enough of it."""

    def __init__(self, keeper: KeeperProcess, victim: bytes, seed: int) -> None:
        self.keeper = keeper
        self.victim = victim
        self.daemon = keeper.daemons[-1]
        self.problems: list[Problem] = []
        self.daemons = 1
        samples = [packb(message) for message in messages(victim, self.daemon.mark)]
        self._mutator = Mutator(seed, samples)
        self._tag = 1 << 40
        self._pidfd = os.pidfd_open(keeper.processes[0].pid)

    def close(self) -> None:
        """Let go of the keeper's process."""
        os.close(self._pidfd)

    def lie(self) -> None:
        """Say something, and see to the end of it."""
        dice = self._mutator.dice
        while not is_lie(data := self._datagram()):
            pass
        fds = [0] * (dice.randint(1, 3) if dice.random() < 0.05 else 0)
        try:
            socket.send_fds(socket_of(self.daemon), [data[: 64 << 10]], fds)
            self.answered()
        except (LinkClosed, BrokenPipeError, ConnectionResetError):
            self.next_daemon()
        except AssertionError:
            self.problems.append(Problem("unanswered", data.hex()[:300], f"no answer in {DEADLINE_SEC:g} s"))
            self.next_daemon()

    def _datagram(self) -> bytes:
        dice = self._mutator.dice
        count = dice.choice((1, 1, 1, 2, 5))
        data = bytes((0x90 | count,)) + b"".join(self._mutator.odd() for _ in range(count))
        return self._mutator.damaged(data) if dice.random() < 0.1 else data

    def answered(self) -> None:
        """A question after the lie. Raises LinkClosed."""
        self._tag += 1
        self.daemon.send("run-of", tag=self._tag, pids=[1])
        _, fds = self.daemon.expect("run-of", tag=self._tag)
        close_all(fds)
        seen, self.daemon.seen = self.daemon.seen, []
        for message, others in seen:
            close_all(others)
            if message["op"] == "spawned":  # and on with it: one that has not gone would not outlive this daemon
                self.daemon.send("go", run=message["run"])

    def next_daemon(self) -> None:
        """Be the next: the keeper has killed this one, or does so when its link has gone. Raises Died."""
        self.daemon.close()
        self.daemons += 1
        if not select.select([self.keeper.listener.fileno(), self._pidfd], [], [], DEADLINE_SEC)[0]:
            raise Died
        if select.select([self._pidfd], [], [], 0)[0]:
            raise Died
        self.daemon = self.keeper.ready_daemon()

    def look(self) -> dict[bytes, Message]:
        """What the keeper has, as a fresh daemon is told; {} when it cannot be told."""
        try:
            found = self.daemon.list()
        except (LinkClosed, LinkError, BrokenPipeError):
            self.problems.append(Problem("list refused", "keeper", self.keeper.log[-500:]))
            self.next_daemon()
            return {}
        for _, fds in found.values():
            close_all(fds)
        return {run: entry for run, (entry, _) in found.items()}

    def clear(self, kept: bytes) -> None:
        """End and forget all runs but that one."""
        for run in self.look().keys() - {kept}:
            self.daemon.send("kill-tree", run=run, o="kill-1")
            self.daemon.send("ack", run=run)
        end = time.monotonic() + DEADLINE_SEC
        while (left := self.look().keys() - {kept}) and time.monotonic() < end:
            for run in left:
                self.daemon.send("ack", run=run)
        if left:
            self.problems.append(Problem("runs hurt", str(len(left)), "runs cannot be ended and forgotten"))

    def new_victim(self) -> None:
        """The run that the lies are about, started if it is not there."""
        if self.victim not in self.look():
            message, fds = self.daemon.spawn(self.victim, b"sleep", b"600")
            close_all(fds)
            if message["op"] == "spawned":
                self.daemon.go(self.victim)


def socket_of(daemon: Daemon) -> socket.socket:
    """Its end of the link, as send_fds wants it."""
    return daemon.link.sock  # type: ignore[return-value]  # a _socket.socket has all that is used of it


class Seen(NamedTuple):
    """What there is of a keeper."""

    pid: int
    alive: bool
    descriptors: int
    children: int
    resident: int


def look_at(pid: int) -> Seen:
    """A keeper as /proc tells it."""
    if not alive(pid):
        return Seen(pid, False, 0, 0, 0)
    children, descriptors = len(children_of(pid)), len(os.listdir(f"/proc/{pid}/fd"))
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        pages = int(file.read().split()[1])
    return Seen(pid, True, descriptors, children, pages * os.sysconf("SC_PAGE_SIZE"))


def judge(before: Seen, after: Seen, entry: Message | None, log: str) -> list[Problem]:
    """What is wrong: `entry` is the run that nobody has lied about, as the keeper tells it at the end."""
    who = f"keeper {before.pid}"
    if not after.alive:
        return [Problem("deaths", who, log[-2000:])]
    problems = []
    if entry is None or entry["exit"] is not None or entry["step"] or entry["empty"]:
        problems.append(Problem("runs hurt", "the other run", f"is {entry}"))
    if after.descriptors > before.descriptors:
        problems.append(Problem("descriptors", who, f"{before.descriptors} before, {after.descriptors} after"))
    if after.children > before.children:
        problems.append(Problem("children", who, f"{before.children} before, {after.children} after"))
    if after.resident - before.resident > MOST_GROWTH_BYTES:
        problems.append(Problem("growth", who, f"by {(after.resident - before.resident) / 1e6:.1f} MB"))
    if "Traceback" in log:
        problems.append(Problem("log", who, log[log.index("Traceback") :][:2000]))
    return problems


def run_lies(root: Path, size: int, seed: int) -> Report:
    """So many lies of daemons to one keeper."""
    victim, other = random.Random(seed).randbytes(16), os.urandom(16)
    harness_keeper, harness.KEEPER = harness.KEEPER, HASTE + harness.KEEPER
    try:
        with KeeperProcess(root) as keeper:
            daemon = keeper.ready_daemon()
            close_all(daemon.start(other, b"sleep", b"600")[1])
            pid = keeper.processes[0].pid
            with closing(Liar(keeper, victim, seed)) as liar:
                before, after, entry = tell(liar, other, size, pid)
            problems = liar.problems + judge(before, after, entry, keeper.log)
            words = f"{size} lies of {liar.daemons} daemons"
    finally:
        harness.KEEPER = harness_keeper
    return Report(seed, words, tally(KINDS, problems), details(problems))


def tell(liar: Liar, other: bytes, size: int, pid: int) -> tuple[Seen, Seen, Message | None]:
    """So many lies; the keeper before and after them, and what it tells of the other run."""
    before = look_at(pid)
    try:
        for done in range(size):
            if done % ROUND == 0:
                liar.clear(other)
                before = look_at(pid) if done <= ROUND else before  # the first lies fill caches and tables
                liar.new_victim()
            liar.lie()
        entry, after = at_the_end(liar, other, before)
    except Died:
        return before, look_at(pid)._replace(alive=False), None
    return before, after, entry


def at_the_end(liar: Liar, other: bytes, before: Seen) -> tuple[Message | None, Seen]:
    """All is forgotten but the other run, and what was open for the rest is closed: how the keeper is then."""
    if alive(liar.daemon.pid):
        liar.daemon.kill()
    liar.next_daemon()
    liar.clear(other)

    def is_as_before() -> bool:
        now = look_at(before.pid)
        return now.descriptors <= before.descriptors and now.children <= before.children

    with suppress(AssertionError):  # which the checker says
        until(lambda: liar.problems or is_as_before(), "what the lies opened is closed", 10)
    return liar.look().get(other), look_at(before.pid)
