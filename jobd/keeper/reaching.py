"""Signals that are to end a whole tree: each of its processes gets one, also those that a look does not meet.

A look at a tree is not one instant. Between it and its signals a process may be forked. Where there is no cgroup, one
whose parent ends just then may be seen with neither the old parent nor the new; and while it executes a program it
shows no environment that says whose it is. Each of these would live on until the stop timeout, and be killed.

So there are further looks, for those that were there when the signal was sent. What is started later is not told: it is
what a program does to end well. A cgroup tells the truth at once. Without one there are looks a while later, too, and
many runs that are stopped together share them. Those that were still to come are not known to the next keeper, nor to
this one after a re-exec: a stop may then last until its timeout.
"""

from __future__ import annotations

import os
import signal
import time

from jobd.keeper import cgroup, tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jobd.host.procs import Process
    from jobd.keeper.loop import Keeper
    from jobd.keeper.table import Entry

LATER_SEC = (0.02, 0.1, 0.5)  # the further looks without a cgroup; what takes longer to show itself is for SIGKILL
_TICKS = os.sysconf("SC_CLK_TCK")


class Reach:
    """One signal on its way to a tree."""

    def __init__(self, entry: Entry, sig: int) -> None:
        self.entry = entry
        self._sig = sig
        self._told: set[tuple[int, int]] = set()
        # When it was sent, and when it was sent last to somebody: as /proc/PID/stat has the start of a process.
        self._sent_at: int | None = None
        self._last_at = 0

    def tell(self, found: Iterable[Process]) -> int:
        """Send it to those of these that are meant and have not got it. Returns to how many it went.

        Those that are stopped go on after it, to see it: what systemd.kill(5) does, too.
        """
        seen = {p.pid: p for p in found}
        fresh = [p for p in seen.values() if (p.pid, p.start) not in self._told and self._was_there(p, seen)]
        count = tree.send_each(fresh, self._sig)
        tree.send_each([p for p in fresh if p.state == tree.STOPPED], signal.SIGCONT)
        if fresh or self._sent_at is None:
            self._last_at = int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS)
            self._sent_at = self._last_at if self._sent_at is None else self._sent_at
        self._told |= {(p.pid, p.start) for p in fresh}
        return count

    def _was_there(self, process: Process, seen: Mapping[int, Process]) -> bool:
        """Whether it was started before the signal was sent.

        The kernel counts starts in hundredths of a second, and a handler of SIGTERM forks sooner than that; and who was
        missed at first may have forked until he was told. So of those that began in that time, an orphan is taken for
        what the signal has missed: its parent is dead of it. Whose parent lives is taken for what that one does to end
        well.
        """
        if self._sent_at is None or process.start < self._sent_at:
            return True
        return process.start <= self._last_at and process.parent not in seen


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
        if not entry.cgroup:
            self._later.append((time.monotonic() + LATER_SEC[0], 0, found))
        return count

    def tick(self, now: float) -> float | None:
        """Look again, where it is due. Returns when to come again."""
        if not self._later:
            return None
        table = self._keeper.table
        live = [one for one in self._later if table.get(one[2].entry.run) is one[2].entry and not one[2].entry.empty]
        self._later = [one for one in live if one[0] > now]
        if len(self._later) < len(live):
            strangers, processes = self._keeper.ends.strangers(), tree.all_processes()
            for at, step, found in live:
                if at <= now:
                    found.tell(tree.members(found.entry, strangers, processes).values())
                    if step + 1 < len(LATER_SEC):
                        self._later.append((now + LATER_SEC[step + 1], step + 1, found))
        return min((at for at, _, _ in self._later), default=None)
