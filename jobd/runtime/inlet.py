"""What one run is fed: bytes that a client sent go into a file, and from there to the run. Used by the feeder's thread.

The file `in` beside the run's logs is opened once; the keeper holds that same description. Its position is how far the
run has been fed, moved by the very call that moves the bytes, and its size is how far the client has been heard: so
both survive a kill at any instant, and no byte is lost or comes twice. `in.end` beside it says that nothing follows.

What the run has had is given back to the file system by punching holes. A splice gives the pipe the file's own pages,
and a hole whose edge falls into such a page zeroes its part of it, under the reader's eyes. So edges are multiples of
the largest folio: whole ones are only let go.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import os
import time
from collections import deque
from typing import Final, TypeAlias

Data: TypeAlias = bytes | bytearray | memoryview

NAME: Final = "in"
END: Final = "in.end"
SMALL_BYTES: Final = 4096  # what a client sends in less is put together, where it has to wait
TURN_BYTES: Final = 1 << 20  # one splice: no pipe of an ordinary user holds more
# The largest folio of the page cache: MAX_PAGECACHE_ORDER is at most 11 (linux/pagemap.h).
PUNCH_BYTES: Final = os.sysconf("SC_PAGE_SIZE") << 11
RESERVE_BYTES: Final = 16 << 20  # left to the database, as the pump leaves it
# The free space is asked again after so many bytes, or so many seconds: as the pump does.
ASK_BYTES: Final = 4 << 20
ASK_SEC: Final = 1.0
MAX_PIECES: Final = 64  # written by one call
_FLAGS: Final = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE
_PUNCH: Final = 0x03  # fallocate(2): KEEP_SIZE | PUNCH_HOLE
_CLOSED: Final = (errno.EPIPE, errno.EIO)  # the run has closed its stdin; a terminal that nobody has open

_libc: Final = ctypes.CDLL(None)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def create(directory: str) -> int:
    """Open the file that feeds a run, empty if it is new. Raises OSError."""
    os.makedirs(directory, 0o700, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(f"{directory}/{NAME}", flags, 0o600)


def remove(directory: str) -> None:
    """Take away what `create` and the feeding made; of a run that wrote nothing, its directory too."""
    for name in (NAME, END):
        with contextlib.suppress(OSError):
            os.unlink(f"{directory}/{name}")
    with contextlib.suppress(OSError):
        os.rmdir(directory)


class Inlet:
    """One run's stdin. `target` is the pipe, or the terminal's master; it and `file` belong to the inlet."""

    __slots__ = (
        "_asked_at", "_directory", "_punched", "_unasked", "closed", "delivered", "ended", "file", "full", "listening",
        "received", "run", "target", "told", "trouble", "tty", "waiting",
    )  # fmt: skip

    def __init__(self, run: bytes, directory: str, target: int, file: int, tty: bool) -> None:
        """Raises OSError."""
        self.run = run
        self._directory = directory
        self.target = target
        self.file = file
        self.tty = tty
        self.received = os.fstat(file).st_size
        self.delivered = os.lseek(file, 0, os.SEEK_CUR)
        self._punched = self.delivered // PUNCH_BYTES * PUNCH_BYTES
        self.ended = os.path.exists(f"{directory}/{END}")  # nothing follows `received`
        self.closed = False  # nothing more can be fed
        self.waiting: deque[Data] = deque()  # taken, and not in the file yet; b"" is the end
        self.full = False  # the target takes nothing now
        self.listening = False  # to whether it does again
        self.told = self.received, self.delivered  # as the loop knows them
        self._unasked = 0  # bytes that may be written before the free space is asked
        self._asked_at = 0.0
        self.trouble = ""  # why nothing goes on

    # --- into the file ----------------------------------------------------------------------------------------------
    def take(self, data: Data) -> None:
        """More from the client; b"" is the end. A byte that waits costs a byte, in however small pieces it comes."""
        last = self.waiting[-1] if self.waiting else None
        if data and isinstance(last, bytearray):
            last += data
        else:
            self.waiting.append(bytearray(data) if 0 < len(data) < SMALL_BYTES else data)

    def write(self) -> None:
        """Bring what waits into the file. Raises OSError, with the rest still waiting: try again later."""
        waiting = self.waiting
        while waiting and not self.closed:
            if not waiting[0]:
                os.close(os.open(f"{self._directory}/{END}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
                self.ended = True
                waiting.popleft()
                continue
            pieces = list(itertools.takewhile(len, itertools.islice(waiting, MAX_PIECES)))
            self._check_room(sum(map(len, pieces)))
            written = os.pwritev(self.file, pieces, self.received)
            self.received += written
            self._unasked -= written
            while waiting and 0 < len(waiting[0]) <= written:
                written -= len(waiting.popleft())
            if written:
                waiting[0] = waiting[0][written:]

    def _check_room(self, count: int) -> None:
        now = time.monotonic()
        if self._unasked >= count and now - self._asked_at < ASK_SEC:
            return
        status = os.fstatvfs(self.file)
        total, free = status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize
        spare = free - min(RESERVE_BYTES, total // 100) if total else ASK_BYTES  # some file systems have no numbers
        if spare < 0:
            self._unasked = 0
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._unasked, self._asked_at = min(spare, ASK_BYTES), now

    # --- out of it --------------------------------------------------------------------------------------------------
    def deliver(self) -> bool:
        """Move what the target takes. Returns whether something moved; `full` and `closed` say how it stands then.

        Raises OSError: the file cannot be read.
        """
        before = self.delivered
        self.full = False
        try:
            while self.delivered < self.received and not self.full:
                self._move(min(self.received - self.delivered, TURN_BYTES))
        except OSError as error:
            if error.errno not in _CLOSED:
                raise
            self.closed = True
        if self.ended and self.delivered == self.received and not self.waiting and not self.tty:
            self.closed = True
        self._punch()
        return self.delivered != before

    def _move(self, count: int) -> None:
        try:
            if self.tty:
                moved = os.sendfile(self.target, self.file, None, count)  # None: at its position
            else:
                moved = os.splice(self.file, self.target, count, flags=_FLAGS)
        except BlockingIOError:
            moved = 0
        self.full = moved == 0
        self.delivered += moved

    def _punch(self) -> None:
        edge = self.delivered // PUNCH_BYTES * PUNCH_BYTES
        if edge > self._punched:
            _libc.fallocate(self.file, _PUNCH, self._punched, edge - self._punched)  # refused: it stays until the end
            self._punched = edge

    def close(self) -> None:
        """Close both descriptors; others may hold them, and the next daemon may feed the run on."""
        self.waiting.clear()
        for fd in (self.target, self.file):
            os.close(fd)
