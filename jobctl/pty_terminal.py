"""Our own terminal, while a job has it: raw, sized, given back as it was; and the key that leaves the job."""

from __future__ import annotations

import contextlib
import errno
import os
import termios
from select import POLLOUT, poll

from jobctl.foreground_sink import GoneError, HangupError, Sink
from jobctl.pty_modes import Modes
from jobctl.terminal import OutputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    Attributes: TypeAlias = list[int | list[bytes | int]]

STDIN = 0
# ^] as terminals send it: as a control character, and in the encodings that programs may ask for (xterm's
# modifyOtherKeys, kitty's keyboard protocol with and without the kind of event). systemd-run and telnet use it too.
DETACH_KEYS = (b"\x1d", b"\x1b[27;5;93~", b"\x1b[93;5u", b"\x1b[93;5:1u")
DETACH_COUNT = 3
DETACH_SEC = 1.0  # all three within; systemd's ESCAPE_USEC
REST_BYTES = 64  # in which a control sequence ends
RESTORE_MS = 1000  # for a terminal that takes no output just now
MAX_SIZE = 65535  # struct winsize has unsigned shorts


def window() -> tuple[int, int] | None:
    """Rows and columns of our terminal; None if there is none, or it does not say."""
    for fd in (1, STDIN, 2):
        try:
            size = os.get_terminal_size(fd)
        except OSError:
            continue
        if 0 < size.lines <= MAX_SIZE and 0 < size.columns <= MAX_SIZE:
            return size.lines, size.columns
    return None


class RawTerminal:
    """The terminal on stdin without line editing, echo and keys that are signals: a context manager."""

    def __init__(self) -> None:
        self._before: Attributes | None = None

    @property
    def is_raw(self) -> bool:
        """Whether a newline has to be written as CR LF."""
        return self._before is not None

    def enter(self) -> None:
        """Make it raw; also once more, when a shell has had it in between."""
        if self._before is None:
            self._before = termios.tcgetattr(STDIN)
        _set(_raw(self._before))

    def leave(self) -> None:
        """Give it back. One that has gone needs nothing, nor does one that a shell has taken back from us."""
        before, self._before = self._before, None
        if before is None or not self.is_ours():
            return
        with contextlib.suppress(termios.error):
            _set(before)

    def is_ours(self) -> bool:
        """Whether we are in the foreground; to set modes from the background would stop us."""
        try:
            return os.tcgetpgrp(STDIN) == os.getpgrp()
        except OSError:
            return False


def _set(attributes: Attributes) -> None:
    """Set them now: a terminal that takes no output would never be drained. In the background this stops us first."""
    while True:
        try:
            return termios.tcsetattr(STDIN, termios.TCSANOW, attributes)
        except termios.error as e:
            if e.args[0] != errno.EINTR:
                raise


def _raw(before: Attributes) -> Attributes:
    """As cfmakeraw(3)."""
    iflag, oflag, cflag, lflag, ispeed, ospeed, keys = before
    assert isinstance(iflag, int)
    assert isinstance(oflag, int)
    assert isinstance(cflag, int)
    assert isinstance(lflag, int)
    assert isinstance(keys, list)
    t = termios
    iflag &= ~(t.IGNBRK | t.BRKINT | t.PARMRK | t.ISTRIP | t.INLCR | t.IGNCR | t.ICRNL | t.IXON)
    oflag &= ~t.OPOST
    lflag &= ~(t.ECHO | t.ECHONL | t.ICANON | t.ISIG | t.IEXTEN)
    cflag = cflag & ~(t.CSIZE | t.PARENB) | t.CS8
    keys = [*keys]
    keys[t.VMIN], keys[t.VTIME] = 1, 0
    return [iflag, oflag, cflag, lflag, ispeed, ospeed, keys]


class DetachKey:
    """Looks for the detach key among what is typed."""

    def __init__(self) -> None:
        self._times: list[float] = []

    @property
    def is_begun(self) -> bool:
        """Whether the last that was typed is the key, and more of it may follow."""
        return bool(self._times)

    def is_in(self, data: bytes, now: float) -> bool:
        """Whether the key has now been typed often enough, and nothing else in between.

        Args:
            data: what one read gave. A key of several bytes comes in one.
            now: of time.monotonic.
        """
        at = 0
        while at < len(data):
            key = next((key for key in DETACH_KEYS if data.startswith(key, at)), b"")
            if not key:
                self._times.clear()
                at = min((found for each in DETACH_KEYS if (found := data.find(each, at + 1)) > 0), default=len(data))
                continue
            at += len(key)
            self._times = [time for time in self._times if now - time <= DETACH_SEC] + [now]
            if len(self._times) >= DETACH_COUNT:
                return True
        return False


class TerminalSink(Sink):
    """stdout as a terminal: what passes is noted, so that it can be undone.

    What comes before `show_from` is only looked at, to know how the terminal was; then the terminal is brought to that
    state, and what was there when we came (before `live_from`) is shown without what it would answer to.
    """

    def __init__(self, fd: int, show_from: int = 0, live_from: int = 0) -> None:
        super().__init__(fd)
        self.modes = Modes()
        self.in_line = False  # the last byte written was no newline
        self._show_from = show_from
        self._live_from = live_from
        self._is_shown = show_from == 0
        self._more = memoryview(b"")  # of ours, to be written first

    @property
    def pending(self) -> bool:  # type: ignore[override]  # here it changes
        """Whether something of ours is to be written still."""
        return bool(self._more)

    def write(self, data: memoryview, offset: int) -> int:
        """As Sink.write."""
        if offset < self._show_from:
            count = min(len(data), self._show_from - offset)
            self.modes.feed(data[:count])
            if offset + count == self._show_from:
                self._show()
            return count
        if not self._is_shown:  # some bytes were dropped
            self._show()
        self.flush()
        if self._more:
            return 0
        if offset < self._live_from:
            return self._write_again(data, offset)
        count = self._put(data)
        self._note(data[:count])
        return count

    def _show(self) -> None:
        self._is_shown = True
        self._more = memoryview(self.modes.redo())

    def _write_again(self, data: memoryview, offset: int) -> int:
        data = data[: self._live_from - offset]
        kept = bytearray()
        self.modes.feed(data, kept)
        if not self.modes.is_between:  # the rest of that sequence is still to be judged
            self._live_from = max(self._live_from, offset + len(data) + REST_BYTES)
        self.in_line = kept[-1:] != b"\n"
        self._more = memoryview(bytes(kept))
        self.flush()
        return len(data)

    def _note(self, data: memoryview) -> None:
        if data:
            self.modes.feed(data)
            self.in_line = data[-1] != ord("\n")

    def flush(self) -> None:
        """Write what is ours."""
        while self._more:
            count = self._put(self._more)
            if not count:
                return
            self._more = self._more[count:]

    def restore(self, new_line: bool) -> None:
        """Put the terminal back to where it was before the job wrote to it, as far as it takes that.

        Args:
            new_line: something of ours follows: it begins a line.
        """
        if not self._is_shown:
            return
        in_line = self.in_line and not self.modes.on_other_screen  # on the first, the line had ended, most likely
        left = memoryview(self.modes.undo() + (b"\r\n" if new_line and in_line else b""))
        poller = poll()
        poller.register(self.fd, POLLOUT)
        try:
            while left and poller.poll(RESTORE_MS):
                left = left[self._put(left) :]
        except (HangupError, GoneError, OutputError):
            return
