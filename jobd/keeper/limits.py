"""What a run may use, and how ready the kernel is to kill it: from the daemon's message to what is written.

A daemon that is not root is not believed: numbers have bounds, and no process of others gets what only root may give
(a lower niceness, an `oom_score_adj` below the keeper's own), unless root has granted the command or the job is his.
"""

from __future__ import annotations

import os
from errno import EINVAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

PERIOD_USEC = 100_000  # of cpu.max: the kernel's default, and systemd's
MOST_BYTES = 1 << 62  # more than any machine has, and what the kernel takes
MOST_PERCENT = 100 * 8192  # the most processors that Linux can be built for
MOST_TASKS = 1 << 22  # PID_MAX_LIMIT
LEAST_OOM, MOST_OOM = -1000, 1000  # proc(5)
OOM_SCORE = "/proc/self/oom_score_adj"
# All of a run is killed when one of it is, as systemd stops a service then: what would be left is half a program.
OOM_GROUP = ("memory.oom.group", "1")

# Of a message → file of the control group, the most that is taken.
_BOUNDS = {
    "memory_max": ("memory.max", MOST_BYTES),
    "cpu_percent": ("cpu.max", MOST_PERCENT),
    "tasks_max": ("pids.max", MOST_TASKS),
}


def files(message: Mapping[str, object], *, changed: bool = False) -> list[tuple[str, str]]:
    """What is to be written to which files of a run's control group.

    Args:
        message: the request.
        changed: the group is in use, and None takes a limit away; else it is nothing to write.

    Raises:
        OSError: EINVAL, for a number that makes no sense.
    """
    found = []
    for name, (file, most) in _BOUNDS.items():
        value = message.get(name)
        if value is None:
            if changed and name in message:
                found.append((file, "max"))
            continue
        if type(value) is not int or not 1 <= value <= most:
            raise OSError(EINVAL, os.strerror(EINVAL))
        found.append((file, f"{value * PERIOD_USEC // 100} {PERIOD_USEC}" if file == "cpu.max" else str(value)))
    return found


def oom_score(asked: object, present: bytes, trusted: bool) -> bytes:
    """What a run's `oom_score_adj` is to be; b"" leaves it at what the keeper has.

    Args:
        asked: the request's.
        present: what the keeper had before it lowered its own, b"" if it did not.
        trusted: who asks may go below that.

    Raises:
        OSError: EINVAL, for a number that makes no sense.
    """
    if asked is None:
        return present
    if type(asked) is not int or not LEAST_OOM <= asked <= MOST_OOM:
        raise OSError(EINVAL, os.strerror(EINVAL))
    if not trusted:
        with open(OOM_SCORE, "rb", buffering=0) as file:
            asked = max(asked, int(present or file.read(16)))
    return b"%d" % asked
