"""What a running job uses now: from its control group, or where it has none from /proc."""

from __future__ import annotations

import os

from jobctl.connect import FAR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.shapes import JobView

USEC = 1_000_000
MAX_PROCESSES = 1000  # of which /proc is read: 20 us each
FILE_BYTES = 4096
# Of /proc/PID/stat, counted from what follows the name: utime, stime, and those of children that were waited for.
TIMES = slice(11, 15)


class Usage:
    """Numbers; None for what is not known."""

    __slots__ = ("cpu_usec", "memory", "peak", "tasks")

    def __init__(self) -> None:
        self.tasks: int | None = None
        self.memory: int | None = None
        self.peak: int | None = None
        self.cpu_usec: int | None = None


def of(view: JobView) -> Usage:
    """What the job uses; of one that has ended, what it used."""
    cgroup, processes = view.get("cgroup", ""), view.get("processes", [])
    user, system = view.get("cpu_user_usec"), view.get("cpu_system_usec")
    pids = [process["pid"] for process in processes[:MAX_PROCESSES]] if user is None or system is None else []
    used = look(cgroup, pids) if FAR.remote is None else Usage()
    if FAR.remote is not None and (cgroup or pids):
        for name, number in FAR.remote.usage(cgroup, pids).items():
            if name in Usage.__slots__ and isinstance(number, int):
                setattr(used, name, number)
    if used.tasks is None and processes:
        used.tasks = len(processes)
    if user is not None and system is not None:
        used.cpu_usec = user + system
    if used.peak is None:
        used.peak = view.get("max_rss_bytes")
    return used


def look(cgroup: str, pids: list[int]) -> Usage:
    """What is used on this host by a control group, or where there is none by processes."""
    used = Usage()
    if cgroup:
        used.tasks = _number(_read(f"{cgroup}/pids.current"))
        used.memory = _number(_read(f"{cgroup}/memory.current"))
        used.peak = _number(_read(f"{cgroup}/memory.peak"))
        used.cpu_usec = _number(_read(f"{cgroup}/cpu.stat").partition(b"usage_usec ")[2].partition(b"\n")[0])
    if used.cpu_usec is None and pids:
        used.cpu_usec = sum(map(_cpu_usec, pids))
    return used


def _read(path: str) -> bytes:
    """A small file of the kernel's; nothing where there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, FILE_BYTES)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _number(text: bytes) -> int | None:
    text = text.strip()
    return int(text) if text.isdigit() else None


def _cpu_usec(pid: int) -> int:
    fields = _read(f"/proc/{pid}/stat").rpartition(b") ")[2].split()
    return sum(map(int, fields[TIMES])) * USEC // os.sysconf("SC_CLK_TCK")


def name_of(pid: int) -> bytes:
    """The name of a process, as ps shows it; nothing for one that is not there, or on another host."""
    if FAR.remote is not None:
        return b""
    return _read(f"/proc/{pid}/comm").rstrip(b"\n")
