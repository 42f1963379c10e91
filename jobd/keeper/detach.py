"""What a jobd in the background puts off of whoever started it: it serves all later clients as well.

Descriptors (somebody's lock or pipe would be held for ever), the directory, the umask, and, for a user's own daemon,
which is started by whichever client came first: limits, niceness, and the like. Jobs get theirs from the client that
submits them. What the kernel does not give back stays: hard limits, a raised nice value, and namespaces.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress

from jobd.keeper import kernel

UMASK = 0o022
# Those that could end or cripple a daemon. Not the stack's: with it, the layout of a process's memory changes.
LIMITS = ("CPU", "FSIZE", "DATA", "AS", "NPROC")


def leave_caller() -> None:
    """Keep nothing open but the standard streams, and nothing busy. Before anything is opened."""
    kernel.close_from(3)
    os.chdir("/")
    os.umask(UMASK)


def undo_limits() -> list[str]:
    """Be as free as this user can be; answers what could not be undone, in words."""
    left = [words for name in LIMITS if (words := _lift(name))]
    if os.getpriority(os.PRIO_PROCESS, 0) > 0:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, 0)
        if nice := os.getpriority(os.PRIO_PROCESS, 0):
            left.append(f"nice {nice}")
    with suppress(OSError):
        if os.sched_getscheduler(0) != os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    with suppress(OSError):
        os.sched_setaffinity(0, range(os.sysconf("SC_NPROCESSORS_CONF")))
    kernel.reset_io_priority()
    return left


def _lift(name: str) -> str:
    """Raise a limit as far as it goes; in words, if that is not without end."""
    which = getattr(resource, f"RLIMIT_{name}")
    hard = resource.getrlimit(which)[1]
    if name != "NPROC" and hard != resource.RLIM_INFINITY:
        with suppress(OSError, ValueError):  # only root may
            resource.setrlimit(which, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            return ""
    with suppress(OSError, ValueError):
        resource.setrlimit(which, (hard, hard))
    return "" if name == "NPROC" or hard == resource.RLIM_INFINITY else f"RLIMIT_{name} {hard}"
