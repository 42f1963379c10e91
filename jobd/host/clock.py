"""The machine's clocks, and an alarm by them: what wakes up when the clock of the wall is set, and after a sleep.

trio's own sleeps go by CLOCK_MONOTONIC, which knows nothing of either. Here are two timers of the kernel
(timerfd_create(2)): one by CLOCK_REALTIME, which ends when its moment comes and also when somebody sets the clock
(TFD_TIMER_CANCEL_ON_SET); and one by CLOCK_BOOTTIME, which goes on counting while the machine sleeps.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import time
from typing import Final

NSEC_PER_SEC: Final = 10**9
# linux/timerfd.h
_ABSTIME, _CANCEL_ON_SET = 1, 2
_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC


class _Timespec(ctypes.Structure):
    _fields_ = (("sec", ctypes.c_long), ("nsec", ctypes.c_long))  # time_t is a long where jobd runs: 64-bit Linux


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


def wall_ns() -> int:
    """What the clock of the wall shows."""
    return time.time_ns()


def boot_ns() -> int:
    """How long the machine is up, with the times that it slept."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Alarm:
    """Two timers behind one descriptor, which can be read when one of them has ended or the clock was set."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._wall = self._made(time.CLOCK_REALTIME)
        self._boot = self._made(time.CLOCK_BOOTTIME)
        self._epoll = select.epoll()
        self._epoll.register(self._wall, select.EPOLLIN)
        self._epoll.register(self._boot, select.EPOLLIN)

    def fileno(self) -> int:
        """The descriptor to wait at. It can be read until `set` is called."""
        return self._epoll.fileno()

    def set(self, wall: int | None, boot: int | None) -> None:
        """Have it end at these moments; None: not by this clock. Moments that have passed end at once."""
        self._arm(self._wall, wall, _ABSTIME | _CANCEL_ON_SET)
        self._arm(self._boot, boot, _ABSTIME)

    def close(self) -> None:
        """Give the descriptors back."""
        self._epoll.close()
        os.close(self._wall)
        os.close(self._boot)

    def _made(self, clock: int) -> int:
        fd: int = self._libc.timerfd_create(clock, _FLAGS)
        if fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        return fd

    def _arm(self, fd: int, at: int | None, flags: int) -> None:
        sec, nsec = divmod(0 if at is None else max(1, at), NSEC_PER_SEC)  # 0 is no moment but disarms
        spec = _Itimerspec(_Timespec(0, 0), _Timespec(sec, nsec))
        was_set = _was_set(fd)
        # The timer is armed also where this says ECANCELED: the clock was set between the reading and this.
        was_set = self._libc.timerfd_settime(fd, flags, ctypes.byref(spec), None) < 0 or was_set
        if was_set and at is not None:
            # It rings at once: whoever sets it need not be who is to look at the clock, and may not know.
            spec = _Itimerspec(_Timespec(0, 0), _Timespec(0, 1))
            self._libc.timerfd_settime(fd, _ABSTIME, ctypes.byref(spec), None)


def _was_set(fd: int) -> bool:
    """Have a timer that has ended be quiet. Returns whether it had not ended, but somebody had set the clock."""
    try:
        os.read(fd, 8)
    except BlockingIOError:
        return False  # it has not ended
    except OSError as error:
        return error.errno == errno.ECANCELED
    return False
