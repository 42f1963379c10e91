"""To which run a process belongs, found from the process: without asking for the tree of any run.

The answer is that of the trees (keeper.tree). A run with a control group has the processes in it and below it. Without
one it has its main process's group and session and all their descendants, and the orphans whose environment names it.
The keeper looks, as a daemon that is not root may see neither environments nor, under hidepid, other users' processes.
"""

from __future__ import annotations

import os
from binascii import unhexlify

from jobd.host import procs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobd.keeper.table import Entry

MAX_ANCESTORS = 4096  # deeper than processes are nested; a bound, should parents change while we walk
_ID_DIGITS = 32


class Membership:
    """Answers for the runs of the table as they are now; made for one question and thrown away."""

    def __init__(self, table: Mapping[bytes, Entry]) -> None:
        self._table = table
        self._mains = {entry.pid: entry for entry in table.values() if entry.pid and not entry.cgroup}

    def find(self, pid: int) -> Entry | None:
        """The run that the process belongs to."""
        return self._by_control_group(pid) or self._by_ancestry(pid)

    def _by_control_group(self, pid: int) -> Entry | None:
        parent = ""
        for part in procs.control_group(pid).split("/"):
            entry = self._table.get(_run_id(part))
            if entry is not None and entry.cgroup.endswith(f"/{parent}/{part}"):
                return entry
            parent = part
        return None

    def _by_ancestry(self, pid: int) -> Entry | None:
        if not self._mains:
            return None
        chain: list[int] = []
        process = procs.process(pid)
        while process is not None and process.pid > 1 and len(chain) < MAX_ANCESTORS:
            for number in (process.pid, process.group, process.session):
                entry = self._mains.get(number)
                if entry is not None and _is_still(entry):
                    return entry
            chain.append(process.pid)
            process = procs.process(process.parent) if process.parent != os.getpid() else None
        for ancestor in reversed(chain):
            entry = self._table.get(procs.run_of(ancestor) or b"")
            if entry is not None and not entry.cgroup:
                return entry
        return None


def _run_id(name: str) -> bytes:
    """The run that a control group is named for (keeper.cgroup: its id, and a number if that was taken)."""
    digits = name.partition(".")[0]
    try:
        return unhexlify(digits) if len(digits) == _ID_DIGITS else b""
    except ValueError:
        return b""


def _is_still(entry: Entry) -> bool:
    """Whether the number of its main process is not another process's by now."""
    main = procs.process(entry.pid)
    return not entry.doubted and (main is None or main.start == entry.start)
