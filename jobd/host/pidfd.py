"""pidfds: a process named without the danger that its number now belongs to another one. Standard library only.

The kernel keeps a process's wait status in its pidfd once the parent has reaped it (Linux 6.15), which is how the
exits of runs are read that are nobody's children here.
"""

from __future__ import annotations

import os
import signal
from fcntl import ioctl
from struct import pack_into, unpack_from

_INFO_SIZE = 64  # struct pidfd_info as of Linux 6.13, the first with the ioctl
_GET_INFO = 3 << 30 | _INFO_SIZE << 16 | 0xFF << 8 | 11  # PIDFD_GET_INFO = _IOWR(0xFF, 11, 64), linux/pidfd.h
_INFO_EXIT = 1 << 3  # PIDFD_INFO_EXIT, Linux 6.15: set in the answer only after the reap
_STATUS_OFFSET = 60  # __s32 exit_code


def pidfd_open(pid: int) -> int:
    """A pidfd of `pid`. Raises OSError (ESRCH: no such process)."""
    return os.pidfd_open(pid)


def send_signal(pidfd: int, sig: int) -> bool:
    """Send a signal; whether the process was still there. Raises PermissionError."""
    try:
        signal.pidfd_send_signal(pidfd, sig)
    except ProcessLookupError:
        return False
    return True


def exit_status(pidfd: int) -> int | None:
    """The wait status of a process that has been reaped; None before that, and where the kernel does not keep it."""
    info = bytearray(_INFO_SIZE)
    pack_into("=Q", info, 0, _INFO_EXIT)
    try:
        ioctl(pidfd, _GET_INFO, info)
    except OSError:  # ENOTTY, EINVAL: an older kernel; ESRCH: not reaped, or reaped on a kernel that forgets it
        return None
    if not unpack_from("=Q", info)[0] & _INFO_EXIT:
        return None
    status: int = unpack_from("=i", info, _STATUS_OFFSET)[0]
    return status


def keeps_exit_status() -> bool:
    """Whether this kernel keeps the wait status of a reaped process in its pidfd."""
    info = bytearray(_INFO_SIZE)
    pidfd = os.pidfd_open(os.getpid())
    try:
        ioctl(pidfd, _GET_INFO, info)
    except OSError:
        return False
    finally:
        os.close(pidfd)
    release = os.uname().release.split(".")
    return (int(release[0]), int("".join(c for c in release[1] if c.isdigit()) or 0)) >= (6, 15)
