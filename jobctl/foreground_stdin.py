"""Our stdin, read as far as the run takes it: a pipe, a file, or a terminal whose keys are the job's."""

from __future__ import annotations

import errno
import os
import time
from select import POLLERR, POLLHUP, POLLIN, POLLNVAL

from jobctl.exits import Fault
from jobctl.foreground_feed import OPEN, SHUT, TAKEN
from jobctl.foreground_pages import PassingFeed
from jobctl.foreground_sink import HangupError
from jobctl.logs_raw import S_IFMT, is_fifo, widen_pipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.foreground_feed import Feed
    from jobctl.pty_terminal import DetachKey

STDIN, STDERR = 0, 2
S_IFREG, S_IFCHR = 0o100000, 0o020000  # stat(2)
NULL_DEVICE = os.makedev(1, 3)  # Linux, Documentation/admin-guide/devices.txt
INVALID = "invalid"  # of jobd.wire.errors
EOF_KEY = b"\x04"  # ^D, which a new terminal takes for the end (VEOF)
KEY_BYTES = 4096  # read and thrown away when nobody takes keys any more


def is_file() -> bool:
    """Whether stdin is a regular file: it has a place, and can be read again."""
    return os.fstat(STDIN).st_mode & S_IFMT == S_IFREG


def is_null() -> bool:
    """Whether stdin is /dev/null, as in cron, or where it was closed: nobody means to say anything by it."""
    status = os.fstat(STDIN)
    return status.st_mode & S_IFMT == S_IFCHR and status.st_rdev == NULL_DEVICE


class Stdin:
    """Reads descriptor 0 into a Feed."""

    detached = False  # the user wants to leave the job
    why_lost = ""  # what to say once when a key goes nowhere

    def __init__(self, feed: Feed, warn: Callable[[str], None], again: bool = False) -> None:
        """`again`: it is all of the run's input once more, so that what the run has had is left out."""
        self.feed = feed
        self.warn = warn
        self._again = again
        self.is_terminal = os.isatty(STDIN)
        self._closed = False
        if is_fifo(STDIN):
            widen_pipe(STDIN)

    def begin(self) -> None:
        """The run's first answer has come: go to where its input stands.

        Raises:
            Fault: that is behind the end of our file.
        """
        at = self.feed.received
        if not at or self.feed.state != OPEN:
            return
        self.warn(f"stdin goes on at byte {at}")
        if not self._again:
            return
        if not is_file():
            self.feed.skip = at
        elif (missing := os.lseek(STDIN, at, os.SEEK_CUR) - os.fstat(STDIN).st_size) > 0:
            raise _too_short(missing)

    def wants(self, wanted: dict[int, int]) -> None:
        """Add what to poll for. Where there is no room it is nothing: not even that the writer has gone."""
        if self.feed.room():
            wanted[STDIN] = POLLIN

    def polled(self, events: int) -> bool:
        """See to what poll(2) found; whether this is the end of stdin.

        Raises:
            HangupError: the terminal has gone, which is no end.
        """
        if events & (POLLHUP | POLLERR) and self.is_terminal:
            raise HangupError
        if events & POLLNVAL:
            return True
        try:
            count = self.read()
        except BlockingIOError:  # somebody else was faster
            return False
        except OSError as e:
            if e.errno == errno.EIO and self.is_terminal:
                raise HangupError from e
            if e.errno != errno.EBADF:  # a stdin for writing only, as nohup(1) gives: as good as closed
                self.warn(f"cannot read standard input: {e.strerror}; it ends here")
            return True
        return not count

    def read(self) -> int:
        """Read once; how many bytes came."""
        if isinstance(self.feed, PassingFeed) and self.feed.passes:
            return self.feed.take(STDIN)
        count = os.readv(STDIN, [self.feed.buffer()])
        self.feed.add(count)
        return count

    def finish(self) -> None:
        """Stdin has ended.

        Raises:
            Fault: the run has had more than there is.
        """
        if self.feed.skip:
            raise _too_short(self.feed.skip)
        self.feed.finish()

    def settle(self) -> None:
        """When nobody takes input any more, let go of the other end, so that who writes there gets SIGPIPE."""
        if not self._closed and self.feed.state in (SHUT, TAKEN):
            self._closed = True
            self.let_go()

    def let_go(self) -> None:
        """Have /dev/null in stdin's place. A terminal stays: the shell's next line is typed there."""
        if self.is_terminal:
            return
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        os.dup2(null, STDIN, inheritable=False)
        os.close(null)


def _too_short(missing: int) -> Fault:
    text = f"it has {missing} bytes less than the job has had already (is it the same input? --input more appends)"
    return Fault(INVALID, f"cannot go on with stdin: {text}")


def _ring() -> None:
    """The terminal's bell, where it disturbs no picture."""
    try:
        if os.isatty(STDERR):
            os.write(STDERR, b"\a")
    except OSError:
        return


class Keys(Stdin):
    """As Stdin, for a job at a terminal of its own: every key is read, as it may be the detach key."""

    def __init__(self, feed: Feed, warn: Callable[[str], None], detach: DetachKey) -> None:
        super().__init__(feed, warn)
        self._detach = detach
        self._last = b"\n"

    def wants(self, wanted: dict[int, int]) -> None:
        """As Stdin.wants."""
        if self.feed.room() or (self.is_terminal and self.feed.state in (SHUT, TAKEN)):
            wanted[STDIN] = POLLIN

    def read(self) -> int:
        """As Stdin.read."""
        if not self.feed.room():
            data = os.read(STDIN, KEY_BYTES)
            self.detached = self._detach.is_in(data, time.monotonic())
            if not self.detached:
                self._lose(data)
            return self._typed(len(data))
        buffer = self.feed.buffer()
        count = self._typed(os.readv(STDIN, [buffer]))
        if count:
            self._last = bytes(buffer[count - 1 : count])
        if self.is_terminal and self._detach.is_in(bytes(buffer[:count]), time.monotonic()):
            self.detached = True
            return count
        self.feed.add(count)
        return count

    def _lose(self, data: bytes) -> None:
        """Tell who types that it goes nowhere: in words once, as the job has drawn over what was said, then by bell."""
        if not data or self.feed.state != TAKEN or self._detach.is_begun:
            return
        if self.why_lost:
            self.warn(self.why_lost)
            self.why_lost = ""
        else:
            _ring()

    def _typed(self, count: int) -> int:
        if not count and self.is_terminal:  # raw, it has no end but this
            raise HangupError
        return count

    def begin(self) -> None:
        """As Stdin.begin: a terminal has no place."""

    def finish(self) -> None:
        """A terminal has no end but a key, which ends a line as well: it takes two behind half a line."""
        self.feed.put(EOF_KEY if self._last == b"\n" else EOF_KEY * 2)
        self.feed.finish()
