"""How runs end: reaping, the emptiness of trees, rounds of SIGKILL, and the exits of runs that are not our children.

A tree is empty when its main process is gone and nothing of it is left: with a cgroup the kernel tells; without one
the last process of a tree is, as we are a subreaper, always our own child when it dies, so a look after each reaped
stranger is enough and nothing is polled. Only runs taken over from another keeper are looked at by the clock.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from contextlib import suppress

from jobd.host import pidfd, procs, usage
from jobd.keeper import cgroup, tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from resource import struct_rusage

    from jobd.keeper.loop import Keeper
    from jobd.keeper.table import Entry

ROUND_SEC, SLOW_ROUND_SEC = 0.05, 1.0  # between rounds of SIGKILL: the first ROUNDS, and all others
ROUNDS = 20
STATUS_SEC = 30.0  # how long the wait status of another's child is waited for; a slow PID 1 took 5 s, measured
LOOK_SEC = 0.02  # how long one look at /proc does for rounds of SIGKILL; it takes about as long for 1,000 processes
# How long strangers that show no environment may be the last of a run's tree. A process shows none during execve, which
# may have to read the program from a slow disk. Counted for the run: any user can have new ones for ever.
BLANK_SEC = 2.0
UNKNOWN = -1  # the status of an exit that nobody could read


class Ends:
    """The ends of the runs in the keeper's table."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self.own: dict[int, Entry] = {}  # our children that are main processes, by pid, until reaped
        self.dying: dict[int, str] = {}  # children of forgotten runs, until reaped, and their cgroups
        self.helper: tuple[int, Callable[[int], None]] | None = None  # a child of the keeper's own, until reaped
        self.helper_until: tuple[float, int] | None = None  # when to kill it, by its pidfd
        self.readers: dict[int, Callable[[int], None]] = {}  # children that read files for us, until reaped
        self._late: dict[bytes, int] = {}  # runs whose tree outlives the main process; its cgroup.events, or -1
        self._lagging: dict[bytes, float] = {}  # foreign runs that have ended, and until when to ask for the status
        self._looked_at = 0.0
        self._looked: tuple[set[int], dict[int, procs.Process]] = set(), {}
        self._doubtful: dict[bytes, float] = {}  # runs of which only such strangers may be left, and since when
        self._round_at: float | None = None
        self.unreaped = False  # children may have ended that are not reaped: an error came over it
        self._untold: list[Entry] = []  # those that are reaped and have ended, until the daemon is told

    # --- reaping ----------------------------------------------------------------------------------------------------
    def reap(self) -> None:
        """Reap all children that have ended, strangers too. After an error it is to be done again: `unreaped`."""
        self.unreaped = True
        strangers = False
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            entry = self.own.pop(pid, None)
            if entry is None:
                strangers |= not self._other_ended(pid, status)
            elif self._main_ended(entry, status, usage):
                self._untold.append(entry)
        self._settle(self._untold)
        if strangers:
            self.recheck()
        self.unreaped = False

    def _other_ended(self, pid: int, status: int) -> bool:
        """Note the end of a child that is no main process. Returns whether it is known."""
        if pid == self._keeper.daemon.pid:
            self._keeper.daemon_died(status)
        elif pid in self.dying:
            self._keeper.cgroups.leave(self.dying.pop(pid))
        elif self.helper is not None and pid == self.helper[0]:
            callback, self.helper = self.helper[1], None
            callback(status)
        elif pid in self.readers:
            self.readers.pop(pid)(status)
        elif not self._keeper.unix_checks.reaped(pid, status):
            self._keeper.helpers.reaped(pid, status)
            return False  # a helper may have been the last of its tree, too
        return True

    def _main_ended(self, entry: Entry, status: int, usage: struct_rusage) -> bool:
        """Note the end of a main process. Returns whether the daemon is to be told."""
        keeper = self._keeper
        keeper.requests.on_ctl(entry)  # its last words come before its end
        if keeper.table.get(entry.run) is not entry:
            keeper.cgroups.leave(self.dying.pop(entry.pid, ""))
            return False
        if not entry.went and not entry.step:
            keeper.requests.fail(entry, "child", errno.ESRCH)  # somebody killed it before its time
        keeper.requests.drop_ctl(entry)
        self._lagging.pop(entry.run, None)
        if entry.step:  # never executed anything, so there is no tree
            keeper.cgroups.leave(entry.cgroup)
            self._emptied(entry)
            return False
        rusage = [int(usage.ru_utime * 1e6), int(usage.ru_stime * 1e6), usage.ru_maxrss]
        entry.exit = {"status": status, "rusage": rusage, "at": time.time_ns(), "mono": time.monotonic_ns()}
        return True

    def _settle(self, ended: list[Entry]) -> None:
        ended[:] = [entry for entry in ended if entry.exit is not None and self._keeper.table.get(entry.run) is entry]
        for entry, empty in zip(list(ended), self._emptiness(ended), strict=True):
            ended.remove(entry)
            self._tell_exited(entry, empty)

    def _tell_exited(self, entry: Entry, empty: bool) -> None:
        assert entry.exit is not None
        self._keeper.send({"op": "exited", "run": entry.run, **entry.exit, "usage": entry.usage, "empty": empty})
        if empty:
            self._emptied(entry)
        else:
            self._add_late(entry)

    # --- trees ------------------------------------------------------------------------------------------------------
    def strangers(self, entry: Entry | None = None) -> set[int]:
        """Our children that are nobody's main process: orphans from the trees of runs, perhaps of one run."""
        if entry is not None and entry.cgroup:
            return set()  # that knows its own; to read our children takes milliseconds when there are thousands
        known = {self._keeper.daemon.pid, self.helper[0] if self.helper else 0, *self.readers}
        known |= self._keeper.helpers.pids() | self._keeper.unix_checks.pids()
        return tree.children() - self.own.keys() - self.dying.keys() - known

    def _emptiness(self, entries: list[Entry]) -> list[bool]:
        """For each run whose main process is gone: whether nothing of its tree is left."""
        orphaned: set[bytes] | None = None
        blank: list[int] = []
        result = []
        for entry in entries:
            if entry.helped:
                result.append(False)
            elif entry.cgroup:
                result.append(self._is_cgroup_empty(entry))
            elif not entry.child:
                result.append(not tree.members(entry, ()))
            elif not entry.doubted and tree.group_exists(entry.pid):
                result.append(False)
            else:
                if orphaned is None:
                    orphaned, blank = self._orphaned()
                result.append(entry.run not in orphaned and not self._is_doubtful(entry, blank))
        return result

    def _is_cgroup_empty(self, entry: Entry) -> bool:
        """Whether it is, and is removed: what it says of the run is read before, and when the main process ends."""
        if entry.usage is not None and cgroup.populated(entry.cgroup):
            return False
        if not entry.reopened:
            entry.usage = usage.of_group(entry.cgroup, self._keeper.cgroups.known) or entry.usage
        return self._keeper.cgroups.remove(entry.cgroup)

    def _is_doubtful(self, entry: Entry, blank: list[int]) -> bool:
        """Whether a stranger that shows no environment may still be of this run, of which nothing else is left."""
        now = time.monotonic()
        if not any(tree.may_be_of(entry, pid) for pid in blank):
            return False
        if now - self._doubtful.setdefault(entry.run, now) >= BLANK_SEC:
            return False
        self._round_at = min(self._round_at or now + ROUND_SEC, now + ROUND_SEC)
        return True

    def _orphaned(self) -> tuple[set[bytes], list[int]]:
        """The runs to which strangers among our children belong, and the strangers that do not show whose they are."""
        strangers = self.strangers()
        table = self._keeper.table
        mains = {entry.pid: entry.run for entry in table.values()} if strangers else {}
        found: set[bytes] = set()
        blank: list[int] = []
        for pid in strangers:
            process = procs.process(pid)
            if process is None or process.zombie:
                continue
            run = mains.get(process.session) or mains.get(process.group) or procs.run_of(pid)
            if run:
                found.add(run)
                self._doubtful.pop(run, None)
            elif run is None:
                blank.append(pid)
        return found, blank

    def _add_late(self, entry: Entry) -> None:
        if entry.run in self._late:
            return
        fd = -1
        if entry.cgroup:
            try:
                fd = os.open(entry.cgroup + "/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
                self._keeper.watch(fd, lambda: self._on_events(entry, fd), select.EPOLLPRI)
            except OSError:  # removed this instant, or not to be watched: looked at by the clock
                if fd >= 0:
                    os.close(fd)
                    fd = -1
                self._round_at = self._round_at or time.monotonic()
        elif not entry.child:
            self._round_at = self._round_at or time.monotonic()
        self._late[entry.run] = fd
        if entry.cgroup and not cgroup.populated(entry.cgroup):
            self.recheck()  # it emptied before we listened

    def reopened(self, entry: Entry) -> None:
        """A helper was made for a run whose main process may be gone, or could not be made."""
        if entry.ended and not entry.empty:
            self._add_late(entry)
            self.recheck()

    def _on_events(self, entry: Entry, fd: int) -> None:
        with suppress(OSError):  # somebody has removed it
            os.pread(fd, 256, 0)  # or the event stays
        if entry.run in self._late and not cgroup.populated(entry.cgroup):
            self.recheck()

    def recheck(self) -> None:
        """Look again at the trees that have outlived their main process."""
        entries = [self._keeper.table[run] for run in self._late]
        for entry, empty in zip(entries, self._emptiness(entries), strict=True):
            if empty:
                self._emptied(entry)

    def _emptied(self, entry: Entry) -> None:
        self._drop_late(entry)
        self._keeper.freezer.emptied(entry)
        entry.empty, entry.killing = True, 0
        if entry.watched:
            self._keeper.send({"op": "empty", "run": entry.run, "usage": entry.usage})

    def _drop_late(self, entry: Entry) -> None:
        self._doubtful.pop(entry.run, None)
        fd = self._late.pop(entry.run, -1)
        if fd >= 0:
            self._keeper.unwatch(fd)
            os.close(fd)

    def watch(self, entry: Entry) -> None:
        """Tell the daemon when the tree is empty, now if it is."""
        entry.watched = True
        if entry.empty or (entry.step and entry.pid not in self.own):
            self._keeper.send({"op": "empty", "run": entry.run, "usage": entry.usage})

    # --- killing ----------------------------------------------------------------------------------------------------
    def kill(self, entry: Entry) -> None:
        """SIGKILL the whole tree, again and again until nothing of it is left."""
        if not entry.empty and not entry.killing:
            entry.killing = 1
            self._round_at = time.monotonic() + ROUND_SEC
            self._kill_once(entry)

    def _kill_once(self, entry: Entry) -> None:
        """One round. Many runs that are killed together share a look at /proc; what it missed the next round meets."""
        with suppress(OSError):  # the next round comes in any case, and the others have their turn in this one
            if entry.cgroup:
                tree.kill_all(entry, ())
                return
            now = time.monotonic()
            if now - self._looked_at > LOOK_SEC:
                self._looked_at, self._looked = now, (self.strangers(), tree.all_processes())
            tree.kill_all(entry, *self._looked)

    def tick(self, now: float) -> float | None:
        """Do what is due. Returns when to look again."""
        if self.helper_until is not None and now >= self.helper_until[0]:
            pidfd.send_signal(self.helper_until[1], signal.SIGKILL)
            self.helper_until = None
        helper = [self.helper_until[0]] if self.helper_until is not None else []
        round_at = self._round(now)
        return min([*helper, round_at]) if round_at is not None else min(helper, default=None)

    def _round(self, now: float) -> float | None:
        if self._round_at is None or now < self._round_at:
            return self._round_at
        table = self._keeper.table
        for run, until in list(self._lagging.items()):
            self._ask_status(table[run], until)
        self.recheck()
        killing = [entry for entry in table.values() if entry.killing]
        for entry in killing:
            entry.killing += 1
            self._kill_once(entry)
        fast = self._lagging or self._doubtful or any(entry.killing <= ROUNDS for entry in killing)
        slow = killing or any(fd < 0 and (table[run].cgroup or not table[run].child) for run, fd in self._late.items())
        self._round_at = now + ROUND_SEC if fast else now + SLOW_ROUND_SEC if slow else None
        return self._round_at

    # --- leaving the table ------------------------------------------------------------------------------------------
    def discard(self, entry: Entry) -> None:
        """Forget a run whose program was never executed; its child is killed, and reaped when it is dead."""
        self._keeper.requests.drop_ctl(entry)
        self._leave(entry)
        if entry.pidfd is not None:
            pidfd.send_signal(entry.pidfd, signal.SIGKILL)
        if self.own.pop(entry.pid, None) is not None:
            self.dying[entry.pid] = entry.cgroup
        else:
            self._keeper.cgroups.leave(entry.cgroup)
        entry.close()

    def forget(self, entry: Entry) -> None:
        """The daemon has recorded the end."""
        self._keeper.freezer.forget(entry)
        self._leave(entry)
        self._keeper.helpers.forget(entry)
        if self.own.pop(entry.pid, None) is not None:
            self.dying[entry.pid] = entry.cgroup  # exec failed, and it is about to be reaped
        elif entry.cgroup and not entry.empty:
            self._keeper.cgroups.leave(entry.cgroup)
        self._keeper.shutdown.forgotten(entry)
        entry.close()

    def _leave(self, entry: Entry) -> None:
        """Nothing that comes of it concerns us any more."""
        self._keeper.table.pop(entry.run, None)
        self._drop_late(entry)
        self._lagging.pop(entry.run, None)
        if entry.notify is not None:
            self._keeper.notify_sockets.remove(entry.run)
        if entry.pidfd is not None:  # where that is watched
            self._keeper.unwatch(entry.pidfd)  # the daemon has it as well, so that closing ours does not do it

    # --- runs of another keeper -------------------------------------------------------------------------------------
    def adopt(self, entry: Entry) -> None:
        """Look after a run that came by a re-exec (our own child) or by a handover (somebody else's)."""
        self._keeper.table[entry.run] = entry
        entry.went = entry.went or (not entry.child and entry.ctl is None)  # if in doubt it ran
        if entry.ctl is not None:
            self._keeper.watch(entry.ctl.fileno(), lambda: self._keeper.requests.on_ctl(entry))
        if not entry.ended and (entry.child or entry.pidfd is not None):
            self._await_end(entry)
        elif not entry.ended:
            self._ask_status(entry, 0.0)
        if entry.ended and not entry.empty:
            self._add_late(entry)
        self._keeper.freezer.adopt(entry)
        self._keeper.helpers.adopt(entry)
        if entry.killing:
            self._round_at = time.monotonic()

    def change_main(self, entry: Entry, process: procs.Process, fd: int) -> None:
        """From here on the end of this process is the run's. That of the one before is a stranger's."""
        if entry.pidfd is not None:
            self._keeper.unwatch(entry.pidfd)
            os.close(entry.pidfd)
        self.own.pop(entry.pid, None)
        self._drop_late(entry)
        self._lagging.pop(entry.run, None)
        entry.pid, entry.start, entry.pidfd = process.pid, process.start, fd
        entry.exit, entry.doubted = None, False
        self._await_end(entry)

    def _await_end(self, entry: Entry) -> None:
        """Hear of the end of a main process: as its parent, and else from its pidfd."""
        main = procs.process(entry.pid)
        ours = main is not None and main.parent == os.getpid()
        if entry.child or ours:
            self.own[entry.pid] = entry  # if we are not its parent yet, we may be when that has ended
        if ours or (entry.child and main is None):
            return
        if entry.pidfd is not None:
            self._keeper.watch(entry.pidfd, lambda: self._foreign_ended(entry))

    def _foreign_ended(self, entry: Entry) -> None:
        assert entry.pidfd is not None
        until = time.monotonic() + (STATUS_SEC if pidfd.keeps_exit_status() else 0.0)
        self._keeper.unwatch(entry.pidfd)  # after an error in the above this comes again …
        self._lagging[entry.run] = until  # … and after one in the below the round does
        self._round_at = time.monotonic()
        if self.own.get(entry.pid) is entry:
            self.reap()
            if entry.ended or self.own.get(entry.pid) is not entry:
                return
        self._ask_status(entry, until)

    def _ask_status(self, entry: Entry, until: float) -> None:
        """Its parent has to reap it before the kernel tells the status."""
        now = time.monotonic()
        status = pidfd.exit_status(entry.pidfd) if entry.pidfd is not None else None
        if status is None and now < until:
            self._lagging[entry.run] = until
            self._round_at = min(self._round_at or now + ROUND_SEC, now + ROUND_SEC)
            return
        self._lagging.pop(entry.run, None)
        self.own.pop(entry.pid, None)
        entry.exit = {"status": UNKNOWN if status is None else status, "rusage": None, "at": time.time_ns()}
        entry.exit["mono"] = time.monotonic_ns()
        self._untold.append(entry)
        self.unreaped = True  # or it were not told after an error
        self._settle(self._untold)
