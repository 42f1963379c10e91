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
    usage = Usage()
    cgroup = view.get("cgroup", "")
    processes = view.get("processes", [])
    if cgroup:
        usage.tasks = _number(_read(f"{cgroup}/pids.current"))
        usage.memory = _number(_read(f"{cgroup}/memory.current"))
        usage.peak = _number(_read(f"{cgroup}/memory.peak"))
        usage.cpu_usec = _number(_read(f"{cgroup}/cpu.stat").partition(b"usage_usec ")[2].partition(b"\n")[0])
    if usage.tasks is None and processes:
        usage.tasks = len(processes)
    user, system = view.get("cpu_user_usec"), view.get("cpu_system_usec")
    if user is not None and system is not None:
        usage.cpu_usec = user + system
    elif usage.cpu_usec is None and processes:
        usage.cpu_usec = sum(_cpu_usec(process["pid"]) for process in processes[:MAX_PROCESSES])
    if usage.peak is None:
        usage.peak = view.get("max_rss_bytes")
    return usage


def _read(path: str) -> bytes:
    """A small file of the kernel's; nothing where there is none, or it is another host's."""
    if FAR.remote is not None:
        return b""
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
    """The name of a process, as ps shows it; nothing for one that is not there."""
    return _read(f"/proc/{pid}/comm").rstrip(b"\n")
