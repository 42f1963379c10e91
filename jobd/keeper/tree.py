"""Which processes belong to a run, and signalling all of them.

With a cgroup the kernel says. Without one: the main process's group and session, orphans of the keeper (a subreaper)
whose environment names the run, and the descendants of all these. What changes its session, loses its parent and its
environment escapes. Numbers are believed only with a start time, and signals go by pidfd.
"""

from __future__ import annotations

import os
import signal

from jobd.host.procs import process, read, run_of, uids
from jobd.keeper import cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jobd.host.procs import Process
    from jobd.keeper.table import Entry

_CMDLINE_BYTES = 4096  # of a command line that is shown
_O_ACCMODE = 3
STOPPED = b"T"  # the state of a process in /proc/PID/stat


def all_processes() -> dict[int, Process]:
    """All processes of this machine (or container)."""
    return look(pids())


def pids() -> list[int]:
    """The numbers of all processes."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def look(listed: Iterable[int]) -> dict[int, Process]:
    """Those of these processes that are there still."""
    return {p.pid: p for p in map(process, listed) if p is not None}


def children() -> set[int]:
    """The keeper's own children, zombies included."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:
            return set(map(int, file.read().split()))
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN
        me = os.getpid()
        return {p.pid for p in all_processes().values() if p.parent == me}


def group_exists(pid: int) -> bool:
    """Whether a process of the group `pid` is left, of whomever."""
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def may_be_of(entry: Entry, pid: int) -> bool:
    """Whether a process that does not show whose it is may be of this run: not if it is another user's.

    He could have such processes without end, and no run of others would ever be seen to be over.
    """
    owner = entry.label.get("owner") if isinstance(entry.label, dict) else None
    return not owner or uids(pid)[0] in (0, owner)


def members(entry: Entry, strangers: Iterable[int], table: Mapping[int, Process] | None = None) -> dict[int, Process]:
    """The processes of a run's tree that are alive.

    Args:
        entry: the run.
        strangers: children of the keeper that are neither a run's main process nor its own.
        table: all processes, if somebody has just looked.
    """
    if entry.cgroup:
        return {p.pid: p for p in look(cgroup.processes(entry.cgroup)).values() if not p.zombie}
    table = all_processes() if table is None else table
    main = table.get(entry.pid)
    number_is_ours = not entry.doubted and (main is None or main.start == entry.start)
    asked = set(strangers) if entry.child else set(table)  # another keeper's orphans may be anybody's children
    ours: dict[int, Process] = {}
    helpers = {helper.pid for helper in entry.helpers.values() if not helper.done and helper.ctl is not None}
    for p in table.values():
        by_number = number_is_ours and entry.pid in (p.pid, p.group, p.session)
        by_number |= not helpers.isdisjoint((p.pid, p.group, p.session))  # our children: their numbers are theirs
        if by_number or (p.pid in asked and run_of(p.pid) == entry.run):
            ours[p.pid] = p
    fresh = set(ours)
    while fresh:
        below = {p.pid: p for p in table.values() if p.parent in fresh and p.pid not in ours}
        ours.update(below)
        fresh = set(below)
    return {pid: p for pid, p in ours.items() if not p.zombie and pid != os.getpid()}


def send_all(entry: Entry, sig: int, strangers: Iterable[int], table: Mapping[int, Process] | None = None) -> int:
    """Send a signal to the whole tree once. Returns how many processes got it."""
    return len(send_each(members(entry, strangers, table).values(), sig))


def send_each(found: Iterable[Process], sig: int) -> list[Process]:
    """Send a signal to processes that a look has found. Returns those that got it."""
    got: list[Process] = []
    for p in found:
        try:
            pidfd = os.pidfd_open(p.pid)
        except OSError:
            continue  # gone, or there is no descriptor to be had just now
        try:
            now = process(p.pid)  # the pidfd is of this number's present holder: is it still the one that was found?
            if now is not None and now.start == p.start:
                signal.pidfd_send_signal(pidfd, sig)
                got.append(p)
        except OSError:
            continue  # gone, or a setuid program, which only root may signal
        finally:
            os.close(pidfd)
    return got


def kill_all(entry: Entry, strangers: Iterable[int], table: Mapping[int, Process] | None = None) -> None:
    """One round of SIGKILL to the whole tree; whoever forks meanwhile is met by the next round."""
    if not (entry.cgroup and cgroup.kill(entry.cgroup)):
        send_all(entry, signal.SIGKILL, strangers, table)


def describe(found: dict[int, Process]) -> list[list[object]]:
    """[pid, ppid, command line] of processes."""
    return [[p.pid, p.parent, command_line(p.pid)] for p in found.values()]


def holders(entry: Entry) -> list[list[object]]:
    """[pid, command line] of processes that have the run's output open for writing, as far as we may look."""
    wanted = {f"pipe:[{os.fstat(fd).st_ino}]" for fd in (entry.out, entry.err) if fd is not None}
    return [[pid, command_line(pid)] for pid in pids() if _holds(pid, wanted)]


def _holds(pid: int, wanted: set[str]) -> bool:
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            if os.readlink(f"/proc/{pid}/fd/{fd}") in wanted:
                flags = read(pid, f"fdinfo/{fd}", 256).split(b"flags:", 1)
                if len(flags) == 2 and int(flags[1].split()[0], 8) & _O_ACCMODE != os.O_RDONLY:
                    return True
    except OSError:
        return False  # gone, or not ours to look at
    return False


def command_line(pid: int) -> bytes:
    """The arguments with blanks between them, or the name in brackets."""
    words = read(pid, "cmdline", _CMDLINE_BYTES).rstrip(b"\0").replace(b"\0", b" ")
    return words or b"[%s]" % read(pid, "comm", 64).rstrip(b"\n")
