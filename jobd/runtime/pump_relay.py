"""A second pipe between a busy pipe and its file, so that the job writes on while its last bytes go to the file.

The kernel holds a pipe's lock while it splices from it into a file: a fast job and the pump take turns, at 0.7 of the
speed of `job | cat > file` (100-byte lines through stdio, two processors). From pipe to pipe only pages change hands,
which takes no time; this second pipe, the relay, is then written to the file with the job's pipe free: 0.95.

No byte is only in the daemon's hands all the same: the keeper has the relay open too, and gives it to the next daemon.
A note in the state directory, written before the first byte goes in, says whose bytes it holds; they go to that log
before anything else of their stream. Only an empty relay changes hands.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobd.runtime.pump_files import Stream

# As large as the largest turn; the most an ordinary user may ask for (/proc/sys/fs/pipe-max-size).
_PIPE_BYTES = 1024 * 1024
# The note: run id, number of the stream, directory, NUL. One page, as a write within it is done wholly or not at all.
_ID_BYTES = 16
_NOTE_BYTES = 4096
_SPLICE = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE


class Relay:
    """The relay pipe. `pending` bytes are in it, of stream `number` of `run`, whose log is in `directory`."""

    __slots__ = ("_note", "_owner", "_write_fd", "directory", "number", "pending", "read_fd", "run")

    def __init__(self, read_fd: int, write_fd: int, note: str) -> None:
        """
        Args:
            read_fd: with write_fd the ends of a pipe that the keeper holds as well; owned from here on.
            write_fd: see read_fd.
            note: path of the file that says whose bytes are in it.

        Raises: OSError.
        """
        self._note = os.open(note, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self.read_fd = read_fd
        self._write_fd = write_fd
        with contextlib.suppress(OSError):  # EPERM: the user has too many large pipes; smaller turns, then
            fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self.pending = int.from_bytes(fcntl.ioctl(read_fd, termios.FIONREAD, b"\0\0\0\0"), "little")
        self._owner: Stream | None = None
        left = os.pread(self._note, _NOTE_BYTES, 0) if self.pending else b""
        self.run = left[:_ID_BYTES]
        self.number = left[_ID_BYTES] if len(left) > _ID_BYTES else 0
        self.directory = os.fsdecode(left[_ID_BYTES + 1 :].partition(b"\0")[0])

    def close(self) -> None:
        for fd in (self.read_fd, self._write_fd, self._note):
            os.close(fd)

    def pipe(self) -> tuple[int, int]:
        """Both ends, for who takes the runs over."""
        return self.read_fd, self._write_fd

    def holds(self, stream: Stream) -> bool:
        """Whether bytes of this stream are in the relay."""
        return self.pending > 0 and self.number == stream.number and self.run == stream.run.id

    def take(self, stream: Stream, limit: int) -> int:
        """Moves up to `limit` bytes of a stream into the relay, which must be empty; 0 at the end of the stream.

        Raises:
            BlockingIOError: the stream's pipe is empty.
            OSError: the note cannot be written.
        """
        assert self.pending == 0
        if self._owner is not stream:
            self._claim(stream)
        self.pending = os.splice(stream.fd, self._write_fd, limit, flags=_SPLICE)
        return self.pending

    def _claim(self, stream: Stream) -> None:
        self._owner = None
        note = stream.run.id + bytes([stream.number]) + os.fsencode(stream.run.directory) + b"\0"
        if len(note) > _NOTE_BYTES:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        if os.pwrite(self._note, note.ljust(_NOTE_BYTES, b"\0"), 0) != _NOTE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._owner, self.run, self.number = stream, stream.run.id, stream.number

    def write(self, file: int, at: int) -> int:
        """Moves what it holds, or a part, to position `at` of `file`. Returns how many bytes. Raises: OSError."""
        moved = os.splice(self.read_fd, file, self.pending, offset_dst=at, flags=_SPLICE)
        self.pending -= moved
        return moved
