"""What /proc says of a process: its relations, its control group, the run that its environment names.

Everything is None or empty for a process that is not there, or not ours to look at. Both halves look at processes by
this code: standard library only, and without `typing`, which the keeper does not load.
"""

from __future__ import annotations

import os

ENVIRON = b"JOBD_RUN="  # set for every run; what it starts inherits it
_ENVIRON_BYTES = 1 << 21  # execve(2) takes no more by default
_CGROUP_BYTES = 1 << 16  # a line for each hierarchy; a path has at most 4096
_STAT_BYTES = 1024
_STATUS_BYTES = 4096  # the uids are near the beginning


class Process:
    """A line of /proc/PID/stat. A pid is the same process as long as `start` (clock ticks after boot) is the same."""

    __slots__ = ("group", "parent", "pid", "session", "start", "state", "zombie")

    def __init__(self, pid: int, text: bytes) -> None:
        fields = text[text.rindex(b")") + 2 :].split(None, 20)  # the name may hold blanks and parentheses
        self.pid = pid
        self.state = fields[0]
        self.zombie = self.state in (b"Z", b"X")
        self.parent, self.group, self.session = int(fields[1]), int(fields[2]), int(fields[3])
        self.start = int(fields[19])


def process(pid: int) -> Process | None:
    """One process, None if there is none."""
    text = read(pid, "stat", _STAT_BYTES)
    return Process(pid, text) if text else None


def control_group(pid: int) -> str:
    """Its path in the v2 hierarchy, from the root that we see."""
    for line in read(pid, "cgroup", _CGROUP_BYTES).splitlines():
        if line.startswith(b"0::"):
            return os.fsdecode(line[3:])
    return ""


def run_of(pid: int) -> bytes | None:
    """The run that a process's environment names; b"" if it names none, None if there is no environment to be seen."""
    environ = read(pid, "environ", _ENVIRON_BYTES)
    for item in environ.split(b"\0"):
        if item.startswith(ENVIRON):
            try:
                return bytes.fromhex(item[len(ENVIRON) :].decode("ascii"))
            except ValueError:
                return b""
    return b"" if environ else None


def uids(pid: int) -> list[int]:
    """Its real, effective, saved and file system uid; [0] when it does not show them, since it may be root."""
    for line in read(pid, "status", _STATUS_BYTES).splitlines():
        if line.startswith(b"Uid:"):
            return [int(word) for word in line.split()[1:]]
    return [0]


def resident() -> int:
    """Bytes of memory that this process has; 0 if it cannot be told."""
    fields = read(os.getpid(), "statm", _STAT_BYTES).split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if len(fields) > 1 else 0


def read(pid: int, name: str, size: int) -> bytes:
    """The beginning of a file of the process's; b"" where there is nothing to be read."""
    try:
        fd = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, size)
    except OSError:
        return b""
    finally:
        os.close(fd)
