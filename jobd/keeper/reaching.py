"""Signals that are to end a whole tree: each of its processes gets one, also those that a look does not meet.

A look at a tree is not one instant. Between it and its signals a process may be forked. Where there is no cgroup, one
whose parent ends just then may be seen with neither the old parent nor the new; and while it executes a program it
shows no environment that says whose it is. Each of these would live on until the stop timeout, and be killed.

So there are further looks, for those that were there when the signal was sent. What is started later is not told: it
is what a program does to end well. In a cgroup there are some at once, as the kernel knows all that is in it. Others
come a while later: without a cgroup for what did not show whose it is, and in one for children of who had got the
signal and was not dead of it yet, as on a busy machine: they looked like what he does to end well. Those that were
still to come are not known to the next keeper, nor to this one after a re-exec: a stop may then last until its timeout.
"""

from __future__ import annotations

import os
import signal
import time
from collections import namedtuple

from jobd.keeper import cgroup, tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jobd.host.procs import Process
    from jobd.keeper.loop import Keeper
    from jobd.keeper.table import Entry

LATER_SEC = (0.02, 0.1, 0.5)  # the further looks; what takes longer to show itself is for SIGKILL
_TICKS = os.sysconf("SC_CLK_TCK")
_LAST_PID = "/proc/sys/kernel/ns_last_pid"  # not where the kernel has no CONFIG_CHECKPOINT_RESTORE

# A moment as processes show it: in clock ticks, as /proc/PID/stat has their starts, and by the number that the kernel
# gave out last, None if it does not say.
_Moment = namedtuple("_Moment", ("tick", "pid"))  # typing costs the keeper a megabyte


def _now() -> _Moment:
    return _Moment(int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS), last_pid())


def last_pid() -> int | None:
    """The number that the kernel gave out last to a process of ours; None if it does not say."""
    try:
        with open(_LAST_PID, "rb", buffering=0) as file:
            return int(file.read(32) or b"")
    except (OSError, ValueError):
        return None


class Reach:
    """One signal on its way to a tree."""

    def __init__(self, entry: Entry, sig: int) -> None:
        self.entry = entry
        self._sig = sig
        self._told: set[tuple[int, int]] = set()
        self._before: _Moment | None = None  # just before it was sent first
        self._after = _Moment(0, None)  # just after it was sent last to somebody

    def tell(self, found: Iterable[Process]) -> int:
        """Send it to those of these that are meant and have not got it. Returns to how many it went.

        Those that are stopped go on after it, to see it: what systemd.kill(5) does, too.
        """
        seen = {p.pid: p for p in found}
        fresh = [p for p in seen.values() if (p.pid, p.start) not in self._told and self._was_there(p, seen)]
        self._before = self._before or _now()
        got = tree.send_each(fresh, self._sig)
        if got or not self._after.tick:
            self._after = _now()  # at once: who has got it may fork from now on
        tree.send_each([p for p in got if p.state == tree.STOPPED], signal.SIGCONT)
        self._told |= {(p.pid, p.start) for p in got}  # whom it has not reached, for want of a descriptor, gets it yet
        return len(got)

    def main_told(self) -> None:
        """The main process has got it by other means, and is not to have it twice."""
        self._told.add((self.entry.pid, self.entry.start))

    def _was_there(self, process: Process, seen: Mapping[int, Process]) -> bool:
        """Whether it was started before the signal was sent.

        The kernel counts starts in hundredths of a second, and a handler of SIGTERM forks sooner than that; numbers of
        processes say more, but for one that began while the signals were sent. And who was missed at first may have
        forked until he was told. So of those an orphan is taken for what the signal has missed: its parent is dead of
        it. Whose parent lives is taken for what that one does to end well.
        """
        before, after = self._before, self._after
        if before is None or process.start < before.tick:
            return True
        if process.start > after.tick:
            return False
        if None not in (before.pid, after.pid) and before.pid <= after.pid:  # else they began anew meanwhile
            if process.pid <= before.pid:
                return True
            if process.pid > after.pid:
                return False
        return process.parent not in seen


def reach(entry: Entry, sig: int, strangers: Iterable[int] = ()) -> tuple[Reach, int]:
    """Send it now, with as many looks as it takes where the kernel knows the tree. Returns to how many it went."""
    found = Reach(entry, sig)
    count = fresh = found.tell(tree.members(entry, strangers).values())
    for _ in range(cgroup.ROUNDS if entry.cgroup else 0):
        if not fresh:
            break
        fresh = found.tell(tree.members(entry, ()).values())
        count += fresh
    return found, count


class Reaching:
    """The signals on their way."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._later: list[tuple[float, int, Reach]] = []  # when to look again, and which look that is

    def send(self, entry: Entry, sig: int) -> int:
        """Send a signal that is to end the tree. Returns how many got it now."""
        found, count = reach(entry, sig, self._keeper.ends.strangers(entry))
        self._later.append((time.monotonic() + LATER_SEC[0], 0, found))
        return count

    def main_told(self, entry: Entry) -> None:
        """The main process has got by other means what was sent last to the tree."""
        for found in [found for _, _, found in self._later if found.entry is entry][-1:]:
            found.main_told()

    def tick(self, now: float) -> float | None:
        """Look again, where it is due. Returns when to come again."""
        if not self._later:
            return None
        table = self._keeper.table
        live = [one for one in self._later if table.get(one[2].entry.run) is one[2].entry and not one[2].entry.empty]
        later = [one for one in live if one[0] > now]
        due = [one for one in live if one[0] <= now]
        strangers: Iterable[int] = ()
        processes: Mapping[int, Process] = {}
        if not all(found.entry.cgroup for _, _, found in due):  # many that are stopped together share a look
            strangers, processes = self._keeper.ends.strangers(), tree.all_processes()
        for _, step, found in due:
            found.tell(tree.members(found.entry, strangers, processes).values())
            if step + 1 < len(LATER_SEC):
                later.append((now + LATER_SEC[step + 1], step + 1, found))
        self._later = later  # only now: what an error came over is still due
        return min((at for at, _, _ in self._later), default=None)
