"""What is left of a run that was lost when its keeper and the daemon died at once: ended before its job runs again.

Nobody has its pipes or waits for it, so it may run on for as long as it likes; but beside its next run it would be the
same service twice. With control groups its processes are those in its own, else those whose environment names the run,
and their descendants.
"""

from __future__ import annotations

import signal

from jobd.keeper import cgroup, tree
from jobd.keeper.table import Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jobd.keeper.link import Fds, Message
    from jobd.keeper.loop import Keeper

_SIGNALS = (0, signal.SIGTERM, signal.SIGKILL)


class Strays:
    """The request to end them. It comes again until nothing is left."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self.handlers: dict[str, Callable[[Message, Fds], None]] = {"end-stray": self._end}

    def _end(self, message: Message, _: Fds) -> None:
        run, tag, sig = message["run"], message["tag"], message["signal"]
        assert isinstance(run, bytes)
        assert type(tag) is int
        assert sig in _SIGNALS
        left = False
        if run not in self._keeper.table:
            left = self._in_groups(run, sig) if self._keeper.cgroups.usable else _by_environment(run, sig)
        self._keeper.send({"op": "stray", "tag": tag, "left": left})

    def _in_groups(self, run: bytes, sig: object) -> bool:
        known = {entry.cgroup for entry in self._keeper.table.values()}
        found = [path for path in self._keeper.cgroups.strays(known) if self._keeper.cgroups.is_of(path, run)]
        for path in found:
            if sig == signal.SIGTERM:
                cgroup.terminate(path)
            elif sig == signal.SIGKILL and not cgroup.kill(path):
                tree.send_each(tree.look(cgroup.processes(path)).values(), signal.SIGKILL)
        return bool(found)


def _by_environment(run: bytes, sig: object) -> bool:
    stray = Entry(run)
    stray.child = False  # its parents are anybody
    stray.doubted = True  # and its number may be anybody's
    found = tree.members(stray, ()).values()
    if sig:
        tree.send_each(found, int(str(sig)))
        tree.send_each(found, signal.SIGCONT)  # a stopped process must see its TERM
    return bool(found)
