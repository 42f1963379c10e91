"""What /proc says of a process: its relations, its control group, the run that its environment names.

Everything is None or empty for a process that is not there, or not ours to look at.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple

_ENVIRON: Final = b"JOBD_RUN="  # as the keeper looks for it (keeper.tree)
_ENVIRON_BYTES: Final = 1 << 21  # as there; execve(2) takes no more by default


class Process(NamedTuple):
    """Of /proc/PID/stat. A pid is the same process as long as its start time (clock ticks since boot) is the same."""

    pid: int
    parent: int
    group: int
    session: int
    start: int


def process(pid: int) -> Process | None:
    """One process."""
    text = _read(pid, "stat", 1024)
    fields = text[text.rfind(b")") + 2 :].split(None, 20)  # the name may hold blanks and parentheses
    if len(fields) < 20:
        return None
    return Process(pid, int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def control_group(pid: int) -> str:
    """Its path in the v2 hierarchy, from the root that we see."""
    for line in _read(pid, "cgroup", 1 << 16).splitlines():
        if line.startswith(b"0::"):
            return os.fsdecode(line[3:])
    return ""


def named_run(pid: int) -> bytes | None:
    """The id of the run that the environment names, with which the process was executed."""
    for entry in _read(pid, "environ", _ENVIRON_BYTES).split(b"\0"):
        if entry.startswith(_ENVIRON):
            try:
                return bytes.fromhex(entry[len(_ENVIRON) :].decode("ascii"))
            except ValueError:
                return None
    return None


def _read(pid: int, name: str, size: int) -> bytes:
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
