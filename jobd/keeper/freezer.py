"""Holding the trees of runs where they are, and letting them go on.

With a cgroup the kernel does it: `cgroup.freeze` holds all that is in it, whoever is forked there too, and
`cgroup.events` tells when the last one is held. Without one each process gets SIGSTOP, in rounds, until a look at the
tree meets none that runs: whoever forked before his signal reached him has a child that the next round meets. An orphan
stays in the list when it has left, since we reap it and do not while we look: it may have left a child that is not
listed yet, and such a look proves nothing.

A tree is held whole or not at all: what cannot be done in FREEZE_SEC is undone. `Entry.frozen` is set when it is done;
while it is under way nothing but this object knows, and a re-exec of the keeper waits for it.
"""

from __future__ import annotations

import os
import select
import signal
import time

from jobd.host import procs
from jobd.keeper import cgroup, tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobd.keeper.loop import Keeper
    from jobd.keeper.table import Entry

FREEZE_SEC = 10.0  # milliseconds in practice; a process that waits for a disk is held when it comes back
QUICK_ROUNDS = 50  # without a pause: a process that has its SIGSTOP takes one scheduling turn to obey
ROUND_SEC = 0.05  # between all others, as for SIGKILL
CLEAN_LOOKS = 2  # in a row: a child whose parent left, and was reaped, in the middle of the first is in the second
BLANK_SEC = 0.3  # how long a stranger without any environment is taken for one in the middle of an execve
HELD = (tree.STOPPED, b"t")  # of /proc/PID/stat; the second: by a tracer
DISK = b"D"  # it cannot be interrupted, nor run anything before it has seen its signals
STOPS = ("term-", "abrt-", "final-term-", "kill-")  # operations after which nothing is to be held
THAWED = "it was thawed, or stopped, meanwhile"


class Freezing:
    """A tree that is being frozen."""

    __slots__ = ("begun", "blank", "clean", "entry", "events", "next_at", "rounds", "seen", "signaled", "tags")

    def __init__(self, entry: Entry, now: float) -> None:
        self.entry = entry
        self.begun = now
        self.tags: list[object] = []  # who waits for it
        self.events = -1  # cgroup.events
        self.next_at = now
        self.rounds = 0
        self.clean = 0  # looks in a row that met nobody who runs
        self.seen: set[int] = set()  # all processes that the last look has listed
        self.signaled: dict[int, int] = {}  # processes that have their SIGSTOP, and when they were started
        self.blank: dict[int, float] = {}  # strangers without any environment, and since when

    def holds(self, process: procs.Process) -> bool:
        """Whether it runs no further than to see its SIGSTOP."""
        return process.state in HELD or (process.state == DISK and self.signaled.get(process.pid) == process.start)


class Freezer:
    """The trees that are being frozen, and their end."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._under_way: dict[bytes, Freezing] = {}

    @property
    def busy(self) -> bool:
        """Whether a tree is half frozen."""
        return bool(self._under_way)

    # --- what is asked for ------------------------------------------------------------------------------------------
    def freeze(self, entry: Entry | None, tag: object) -> None:
        """Freeze a run's tree; the answer to `tag` comes when all of it is frozen, or cannot be."""
        if entry is None or not entry.execd or entry.ended:
            self._answer(tag, "it is not running")
        elif any(op.startswith(STOPS) for op in entry.ops):
            self._answer(tag, "it is being stopped")
        elif entry.frozen:
            self._answer(tag, "")
        elif (freezing := self._under_way.get(entry.run)) is not None:
            freezing.tags.append(tag)
        else:
            self._begin(entry).tags.append(tag)
            self.tick(time.monotonic())

    def thaw(self, entry: Entry) -> None:
        """Let a run's tree go on, whether it is frozen or on the way to it."""
        under_way = self._end(entry, THAWED)
        if not (under_way or entry.frozen):
            return
        if entry.cgroup:
            cgroup.freeze(entry.cgroup, False)
        else:
            tree.send_all(entry, signal.SIGCONT, self._keeper.ends.strangers(entry))
        self._set(entry, False)

    def continued(self, entry: Entry) -> None:
        """Somebody has sent SIGCONT to the tree, which is all that a thaw does where there is no cgroup."""
        if not entry.cgroup and (self._end(entry, THAWED) or entry.frozen):
            self._set(entry, False)

    def emptied(self, entry: Entry) -> None:
        """Nothing is left to be held."""
        self._end(entry, "it has ended")
        entry.frozen = False

    def forget(self, entry: Entry) -> None:
        """The run leaves the table: what lives on of its tree (kill_mode "process") is nobody's to thaw later."""
        if entry.empty:
            self.emptied(entry)
        else:
            self.thaw(entry)

    def adopt(self, entry: Entry) -> None:
        """Believe the kernel about a run that came from another keeper, which may have died over a freeze."""
        if entry.cgroup and not entry.ended:
            entry.frozen = False
            if cgroup.to_be_frozen(entry.cgroup):
                self._begin(entry)

    def link_lost(self) -> None:
        """Who waits has died with the daemon; its successor numbers its questions anew."""
        for freezing in self._under_way.values():
            freezing.tags.clear()

    # --- under way --------------------------------------------------------------------------------------------------
    def tick(self, now: float) -> float | None:
        """Do what is due. Returns when to look again."""
        for freezing in list(self._under_way.values()):
            if now >= freezing.next_at:
                self._round(freezing, now)
        return min((freezing.next_at for freezing in self._under_way.values()), default=None)

    def _begin(self, entry: Entry) -> Freezing:
        freezing = self._under_way[entry.run] = Freezing(entry, time.monotonic())
        if entry.cgroup:
            try:
                freezing.events = os.open(entry.cgroup + "/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
                self._keeper.watch(freezing.events, lambda: self._on_events(freezing), select.EPOLLPRI)
            except OSError:
                pass  # no descriptor is free, or it has just ended: the rounds will find out
            cgroup.freeze(entry.cgroup, True)
        return freezing

    def _on_events(self, freezing: Freezing) -> None:
        os.pread(freezing.events, 256, 0)  # or the event stays
        self._round(freezing, time.monotonic())

    def _round(self, freezing: Freezing, now: float) -> None:
        """Look whether all are held; without a cgroup, hold those that are not."""
        entry = freezing.entry
        if self._under_way.get(entry.run) is not freezing:
            return  # an event that was on its way when it came to its end
        freezing.rounds += 1
        running = self._running(freezing)
        if not running:
            self._set(entry, True)
            self._end(entry, "")
        elif now >= freezing.begun + FREEZE_SEC:
            names = [f"{pid} ({os.fsdecode(tree.command_line(pid))[:40]})" for pid in running[:3]]
            self._end(entry, f"not held after {FREEZE_SEC:.0f} s: {', '.join(names)}")
            entry.frozen = True  # in part
            self.thaw(entry)
        elif freezing.events >= 0:
            freezing.next_at = freezing.begun + FREEZE_SEC
        else:
            freezing.next_at = now if freezing.rounds <= QUICK_ROUNDS else now + ROUND_SEC

    def _running(self, freezing: Freezing) -> list[int]:
        """The processes of a tree that are not held yet."""
        entry = freezing.entry
        if entry.cgroup:
            return [] if cgroup.frozen(entry.cgroup) else list(cgroup.processes(entry.cgroup)) or [entry.pid]
        table, left = self._look(freezing)
        strangers = self._keeper.ends.strangers()
        found = tree.members(entry, strangers, table)
        running = [p for p in found.values() if not freezing.holds(p)]
        tree.send_each(running, signal.SIGSTOP)
        freezing.signaled.update((p.pid, p.start) for p in running)
        freezing.clean = 0 if running or left else freezing.clean + 1
        if running:
            return [p.pid for p in running]
        if freezing.clean < CLEAN_LOOKS:
            return [entry.pid]
        # One in the middle of an execve shows no environment, and so not whose it is.
        now = time.monotonic()
        freezing.blank = {
            pid: freezing.blank.get(pid, now)
            for pid in strangers - found.keys()
            if procs.run_of(pid) is None and tree.may_be_of(entry, pid)
        }
        return [pid for pid, since in freezing.blank.items() if now - since < BLANK_SEC and not _is_zombie(pid)]

    def _look(self, freezing: Freezing) -> tuple[dict[int, procs.Process], bool]:
        """All processes, and whether an orphan is among them that is new and has ended already.

        The newest first, and the run's stopped on the spot: who leaves a child and goes is met only while he is new.
        Of those that have been seen before, the run's have their signal, and fork no more.
        """
        listed = set(tree.pids())
        table = tree.look(sorted(listed - freezing.seen, reverse=True))
        if freezing.seen:
            mine = [p for p in table.values() if self._is_newly_ours(p, freezing)]
            tree.send_each(mine, signal.SIGSTOP)
            freezing.signaled.update((p.pid, p.start) for p in mine)
        parents = {os.getpid(), *freezing.signaled}
        gone = [p.pid for p in table.values() if p.zombie and p.parent in parents]
        left = any(tree.may_be_of(freezing.entry, pid) for pid in gone)
        table |= tree.look(listed & freezing.seen)
        freezing.seen = listed
        return table, left

    def _is_newly_ours(self, process: procs.Process, freezing: Freezing) -> bool:
        if process.parent == os.getpid():
            return procs.run_of(process.pid) == freezing.entry.run
        return process.parent in freezing.signaled

    def _end(self, entry: Entry, why: str) -> bool:
        """No longer on the way: tell who waits. Returns whether it was."""
        freezing = self._under_way.pop(entry.run, None)
        if freezing is None:
            return False
        if freezing.events >= 0:
            self._keeper.unwatch(freezing.events)
            os.close(freezing.events)
        for tag in freezing.tags:
            self._answer(tag, why)
        return True

    # --- small things -----------------------------------------------------------------------------------------------
    def _set(self, entry: Entry, frozen: bool) -> None:
        entry.frozen = frozen
        self._keeper.send({"op": "frozen", "run": entry.run, "frozen": frozen})

    def _answer(self, tag: object, why: str) -> None:
        self._keeper.send({"op": "freeze", "tag": tag, "why": why})


def _is_zombie(pid: int) -> bool:
    """Whether it shows no environment because it has ended."""
    process = procs.process(pid)
    return process is None or process.zombie
