"""Writing: to stdout in full or not at all, to stderr one safe line at a time, and the one line of progress.

stdout's data goes out by write(2) on descriptor 1, never through sys.stdout: exact bytes, no second buffer, and every
failure is seen. SIGPIPE is left at its default by `__main__`, so a reader that went away ends jobctl as it ends cat.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C module; `signal` builds enums, which costs 2 ms
import os

STDOUT, STDERR = 1, 2
DEFAULT_COLUMNS = 80  # of a terminal that does not say, as systemd

RED, GREEN, YELLOW, BOLD, DIM, PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[1m", "\x1b[2m", "\x1b[0m"


GLYPH, FAILED_GLYPH = "●", "\u00d7"  # systemctl's; the second is a multiplication sign


class OutputError(Exception):
    """stdout cannot be written to."""


def write(data: bytes | bytearray | memoryview) -> None:
    """Write all of `data` to stdout.

    Raises:
        OutputError: the disk is full, say.
    """
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(STDOUT, view) :]
        except BlockingIOError:
            wait_writable()
        except OSError as e:
            raise OutputError(f"cannot write to standard output: {e.strerror}") from e


def wait_writable() -> None:
    """Wait until stdout, which somebody made non-blocking, takes more."""
    from select import POLLOUT, poll

    poller = poll()
    poller.register(STDOUT, POLLOUT)
    poller.poll()


def wait_input(fd: int) -> None:
    """Wait until `fd` can be read. If nobody reads our stdout any more, end as a write to it would: by SIGPIPE."""
    from select import POLLERR, POLLIN, poll

    poller = poll()
    poller.register(fd, POLLIN)
    poller.register(STDOUT, 0)
    while True:
        for ready, events in poller.poll():
            if ready == fd:
                return
            if events & POLLERR:
                end_by_sigpipe()
            poller.unregister(STDOUT)  # POLLHUP or POLLNVAL: no pipe, nothing to see


def keep_standard_descriptors() -> None:
    """Open what the caller closed of the first three, so that no socket of ours gets the number of one.

    Else `jobctl list >&-` would write its table to the daemon. stdout is opened for reading: a write fails, as cat's.
    """
    for fd, mode in ((0, os.O_RDONLY), (STDOUT, os.O_RDONLY), (STDERR, os.O_WRONLY)):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, mode)  # open(2) gives the lowest number that is free, and that is `fd`


def let_sigpipe_end_us() -> None:
    """Undo Python's ignoring of SIGPIPE."""
    _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)


def end_by_sigpipe() -> None:
    """End as cat does when the reader of its output has gone."""
    let_sigpipe_end_us()
    os.kill(os.getpid(), _signal.SIGPIPE)


def say(text: str) -> None:
    """Write text to stdout; what came in as surrogates goes out as the bytes it was."""
    write(text.encode("utf-8", "surrogateescape"))


def warn(message: str) -> None:
    """One line on stderr, escaped. A stderr that cannot be written to is nobody's trouble."""
    note(f"jobctl: {message}")


def note(message: str) -> None:
    """One line on stderr without a prefix: a name, a count, a question answered."""
    from jobctl.escape import escape

    try:
        os.write(STDERR, f"{escape(message)}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        return


def cut(line: str, width: int) -> str:
    """A line, without its newline, cut to `width` columns; 0 leaves it whole. Colours take no room."""
    if not width or len(line) <= width:
        return line
    shown = at = end = 0
    while at < len(line):
        if line[at] == "\x1b":  # ours: what others wrote is escaped
            at = line.index("m", at) + 1
            continue
        shown, at = shown + 1, at + 1
        if shown == width - 1:
            end = at
    if shown <= width:
        return line
    return f"{line[:end]}…{PLAIN if chr(27) in line[:end] else ''}"


def is_terminal(fd: int = STDOUT) -> bool:
    """Whether a person looks at this descriptor."""
    return os.isatty(fd)


def columns() -> int:
    """How wide the terminal on stdout is; 0 where there is none, so nothing is to be cut."""
    if not os.isatty(STDOUT):
        return 0
    try:
        return os.get_terminal_size(STDOUT).columns or DEFAULT_COLUMNS
    except OSError:
        return DEFAULT_COLUMNS


def use_colour() -> bool:
    """Colour on a terminal that knows it, unless NO_COLOR is set (no-color.org)."""
    return os.isatty(STDOUT) and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


class Progress:
    """What a long request waits for, on one line of a terminal's stderr that goes away at the end."""

    def __init__(self) -> None:
        self._terminal = os.isatty(STDERR)
        self._shown = ""

    def show(self, text: str) -> None:
        """Show `text` in place of what was shown."""
        if not self._terminal or text == self._shown:
            return
        from jobctl.escape import escape

        self._shown = text
        try:
            width = os.get_terminal_size(STDERR).columns or DEFAULT_COLUMNS
        except OSError:
            width = DEFAULT_COLUMNS
        self._put(f"\r\x1b[K{escape(text)[: width - 1]}")

    def clear(self) -> None:
        """Take the line away, before anything else is written."""
        if self._shown:
            self._shown = ""
            self._put("\r\x1b[K")

    def _put(self, text: str) -> None:
        try:
            os.write(STDERR, text.encode("utf-8", "backslashreplace"))
        except OSError:
            return
