"""Which process of a run is its main one, where a service says that it is another than the one that was started.

A service that replaces itself forks, says MAINPID= and leaves; what it leaves is an orphan and so, as we are a
subreaper, our own child, whose end we read as that of any other. One whose parent lives is waited for by its pidfd.
"""

from __future__ import annotations

import errno
import os

from jobd.host import pidfd, procs
from jobd.keeper.membership import Membership

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jobd.keeper.link import Fds, Message
    from jobd.keeper.loop import Keeper
    from jobd.keeper.table import Entry


class Mains:
    """The request for another main process, and what all of them get."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self.handlers: dict[str, Callable[[Message, Fds], None]] = {"set-main": self._set_main}

    def forward(self, sig: int) -> None:
        """As PID 1: hand a signal on to the main process of every run."""
        for entry in self._keeper.table.values():
            if entry.execd and not entry.ended and entry.pidfd is not None:
                try:
                    pidfd.send_signal(entry.pidfd, sig)
                except PermissionError:  # a setuid program; the others are to have it
                    self._keeper.log(f"not allowed to signal process {entry.pid}", "warning")

    def _set_main(self, message: Message, _: Fds) -> None:
        run, tag, pid = message["run"], message["tag"], message["pid"]
        assert isinstance(run, bytes)
        assert type(tag) is int
        assert type(pid) is int
        entry = self._keeper.table.get(run)
        number = errno.ESRCH if entry is None else self._change(entry, pid)
        answer: Message = {"op": "main", "run": run, "tag": tag, "errno": number}
        if entry is None or number or entry.pidfd is None:
            self._keeper.send({**answer, "errno": number or errno.ESRCH})
            return
        self._keeper.send({**answer, "pid": entry.pid, "start": entry.start, "fds": ["pidfd"]}, [entry.pidfd])

    def _change(self, entry: Entry, pid: int) -> int:
        """Make a process of its tree the main one. Returns an errno."""
        if pid == entry.pid and not entry.ended:
            return 0
        if not entry.went or entry.step or entry.empty:
            return errno.ESRCH
        if any(helper.pid == pid and not helper.done for helper in entry.helpers.values()):
            return errno.EINVAL
        try:
            fd = os.pidfd_open(pid)
        except (OSError, ValueError, OverflowError) as e:
            return (isinstance(e, OSError) and e.errno) or errno.EINVAL
        found = Membership(self._keeper.table).find(pid)
        process = procs.process(pid)  # the pidfd is of whoever has this number: it is looked at after that was opened
        if found is not entry or process is None or process.zombie:
            os.close(fd)
            return errno.ESRCH if process is None or process.zombie else errno.EPERM
        self._keeper.ends.change_main(entry, process, fd)
        return 0
