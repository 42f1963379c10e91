"""What the runs of the pump share of the machine: open files, free space, large pipes. Used by the pump thread only."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import time
from typing import TYPE_CHECKING

from jobd.runtime.pump_files import PIPE_DEFAULT

if TYPE_CHECKING:
    from jobd.runtime.pump_files import Run, Stream

# Kept free for the database beside the logs: room for thousands of state changes; of a small file system one percent.
_RESERVE_BYTES = 16 * 1024 * 1024
_RESERVE_SHARE = 100
# The free space is asked again after so many bytes (what others write meanwhile is a guess), or a second of writing.
_ALLOWANCE_BYTES = 16 * 1024 * 1024
_ASK_NS = 1_000_000_000
# Runs whose files are open at once, of three descriptors each; at most a quarter of what the process may have. Files
# are closed only when more runs than that write, the longest silent first: opening again is cheap, and to look for
# silent runs would need a timer.
_OPEN_RUNS = 256
_OPEN_LEAST = 8
# A pipe is made larger after this many splices in a row of a quarter of a default pipe (64 KiB) or more.
_BUSY_BYTES = 16 * 1024
_BUSY_TIMES = 3
# The most an ordinary user may ask for (/proc/sys/fs/pipe-max-size). 100-byte lines through stdio went in 0.50 s to a
# large pipe, in 0.68 s to one of 256 KiB.
_PIPE_BYTES = 1024 * 1024
# How many pipes are large at once: the kernel lets a user have 64 MiB of pipe buffers before it makes new pipes tiny
# (/proc/sys/fs/pipe-user-pages-soft), and these take at most a quarter.
_BIG_PIPES = 16


class Disk:
    """Free space and the runs with open files. All logs are on one file system."""

    def __init__(self, open_runs: int | None) -> None:
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        share = soft // 12 if soft > 0 else _OPEN_RUNS  # -1: no limit
        self._open_runs = open_runs or max(_OPEN_LEAST, min(_OPEN_RUNS, share))
        self._open: dict[Run, None] = {}
        self._allowance = 0
        self._asked_at = 0

    def open_files(self, stream: Stream) -> None:
        """Opens what a stream needs; closes files of the run that was silent longest if too many are open.

        Raises: OSError.
        """
        run = stream.run
        self._open.setdefault(run)
        while len(self._open) > self._open_runs:
            other = next(iter(self._open))
            del self._open[other]
            if other.touched or other is run:
                other.touched = False
                self._open[other] = None
            else:
                other.close_files()
        try:
            run.open_files(stream)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            for other in list(self._open):
                if other is not run:
                    self.close_files(other)
            run.open_files(stream)

    def close_files(self, run: Run) -> None:
        run.close_files()
        self._open.pop(run, None)

    def room(self, stream: Stream, limit: int) -> int:
        """How much of `limit` may be written to the file of `stream`, leaving the reserve. Raises: OSError."""
        now = time.monotonic_ns()
        if self._allowance < limit or now - self._asked_at > _ASK_NS:
            status = os.fstatvfs(stream.file)
            total, free = status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize
            # Some file systems have no numbers.
            spare = free - min(_RESERVE_BYTES, total // _RESERVE_SHARE) if total else _ALLOWANCE_BYTES
            self._allowance = min(spare, _ALLOWANCE_BYTES)
            self._asked_at = now
        return min(limit, self._allowance)

    def used(self, written: int) -> None:
        """So many bytes were written."""
        self._allowance -= written

    def ask_again(self) -> None:
        """Looks at the free space before the next write."""
        self._allowance = 0


class BigPipes:
    """Gives busy streams large pipes, and takes them back when too many are busy."""

    def __init__(self) -> None:
        self._big: dict[Stream, None] = {}

    def moved(self, stream: Stream, moved: int) -> None:
        """A splice brought so many bytes."""
        if moved < _BUSY_BYTES:
            stream.busy = 0
        elif not stream.big:
            stream.busy += 1
            if stream.busy >= _BUSY_TIMES:
                self._enlarge(stream)

    def forget(self, stream: Stream) -> None:
        self._big.pop(stream, None)

    def _enlarge(self, stream: Stream) -> None:
        stream.big = True  # tried, whatever comes of it
        if len(self._big) >= _BIG_PIPES:
            first = next(iter(self._big))
            del self._big[first]
            first.big, first.busy, first.pipe_bytes = False, 0, PIPE_DEFAULT
            with contextlib.suppress(OSError):  # it holds more than that now
                fcntl.fcntl(first.fd, fcntl.F_SETPIPE_SZ, PIPE_DEFAULT)
        with contextlib.suppress(OSError):  # EPERM: the user has too many already
            stream.pipe_bytes = fcntl.fcntl(stream.fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            self._big[stream] = None
