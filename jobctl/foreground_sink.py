"""Where output goes: our stdout or stderr, without ever waiting for who reads it.

A pipe is filled by splice(2), which can be told not to wait without changing the pipe for others who share it; so is a
socket by send(2). A terminal is opened once more for that, since a flag of the descriptor itself would be the shell's
too. A file never makes anybody wait.
"""

from __future__ import annotations

import errno
import os
from select import POLLERR, POLLHUP, POLLNVAL, POLLOUT, poll

from jobctl.client import MSG_NOSIGNAL
from jobctl.exits import ConnectionLostError
from jobctl.logs_raw import S_IFMT, is_fifo, widen_pipe
from jobctl.terminal import STDOUT, OutputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

    from jobctl.foreground_link import Link

S_IFSOCK = 0o140000  # stat(2)
MSG_DONTWAIT = 0x40  # send(2)
# A pipe that poll(2) calls writable takes this much without waiting (PIPE_BUF), and a terminal usually does.
SAFE_BYTES = 4096


class GoneError(Exception):
    """Nobody reads this descriptor any more."""


class HangupError(Exception):
    """The terminal has gone."""


class Sink:
    """One descriptor for output."""

    pending = False  # something is still to be written, whatever comes next

    def __init__(self, fd: int) -> None:
        self.fd = fd  # to poll and to write to
        self.is_stdout = fd == STDOUT
        self.splices = is_fifo(fd)
        self.is_terminal = os.isatty(fd)
        self._waits = self.splices or self.is_terminal  # a write might
        self._socket: socket | None = None
        self._reopened = False
        if self.splices:
            widen_pipe(fd)
        elif self.is_terminal:
            self._reopen(fd)
        elif os.fstat(fd).st_mode & S_IFMT == S_IFSOCK:
            from _socket import socket

            self._socket = socket(fileno=os.dup(fd))

    def _reopen(self, fd: int) -> None:
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            self.fd = os.open(f"/proc/self/fd/{fd}", flags)
        except OSError:  # another user's, after su; or /proc is not there
            return
        self._reopened, self._waits = True, False

    def close(self) -> None:
        """Close what was opened here."""
        if self._reopened:
            os.close(self.fd)
        if self._socket is not None:
            self._socket.close()

    # --- writing --------------------------------------------------------------------------------------------------
    def write(self, data: memoryview, offset: int) -> int:
        """Write what fits now of the data, which are at `offset` of their stream; answers how many bytes.

        Raises:
            GoneError: nobody reads any more.
            HangupError: the terminal has gone.
            OutputError: it cannot be written to: the disk is full, say.
        """
        del offset
        return self._put(data)

    def flush(self) -> None:
        """Write what is still to be written. Raises as `write`."""

    def _put(self, data: memoryview) -> int:
        if self._waits:
            if not self.ready():
                return 0
            data = data[:SAFE_BYTES]
        try:
            if self._socket is not None:
                return self._socket.send(data, MSG_DONTWAIT | MSG_NOSIGNAL)
            return os.write(self.fd, data)
        except BlockingIOError:
            return 0
        except OSError as e:
            raise self._error(e) from e

    def splice(self, link: Link, count: int) -> int:
        """Move so many bytes from a connection, or as many as are there and fit; raises as `write`, and when lost."""
        flags = os.SPLICE_F_MOVE | os.SPLICE_F_MORE | os.SPLICE_F_NONBLOCK
        try:
            moved = os.splice(link.fileno(), self.fd, count, flags=flags)
        except BlockingIOError:
            return 0
        except ConnectionResetError as e:
            raise ConnectionLostError from e
        except OSError as e:
            raise self._error(e) from e
        if not moved:
            raise ConnectionLostError
        return moved

    def _error(self, error: OSError) -> Exception:
        if error.errno in (errno.EPIPE, errno.ECONNRESET):
            return GoneError()
        if self.is_terminal and error.errno == errno.EIO:
            return HangupError()
        name = "standard output" if self.is_stdout else "standard error"
        return OutputError(f"cannot write to {name}: {error.strerror}")

    # --- watching -------------------------------------------------------------------------------------------------
    def ready(self) -> bool:
        """Whether poll(2) says that it takes more."""
        poller = poll()
        poller.register(self.fd, POLLOUT)
        return bool(poller.poll(0))

    def check(self, events: int) -> bool:
        """What poll(2) said of it; False if it need not be watched any more. Raises GoneError and HangupError."""
        if events & (POLLERR | POLLHUP) and self.is_terminal:
            raise HangupError
        if events & POLLERR or (events & POLLHUP and self._socket is not None):
            raise GoneError
        return not events & (POLLHUP | POLLNVAL)
