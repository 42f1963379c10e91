"""Writing: to stdout in full or not at all, to stderr one safe line at a time; and what is known of the terminal.

stdout's data goes out by write(2) on descriptor 1, never through sys.stdout: exact bytes, no second buffer, and every
failure is seen. SIGPIPE is left at its default by `__main__`, so a reader that went away ends jobctl as it ends cat.

Where a person looks at stdout, the first write may start a pager, and descriptor 1 is a pipe from then on. What is
asked about stdout here (is it a terminal, how wide, in colour) is answered for the terminal behind it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C module; `signal` builds enums, which costs 2 ms
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.pager import Pager
    from jobctl.progress import Line

STDOUT, STDERR = 1, 2
DEFAULT_COLUMNS = 80  # of a terminal that does not say, as systemd
EPIPE = 32

# systemd's: what is to be seen is bold as well.
RED, GREEN, YELLOW, BOLD = "\x1b[0;1;31m", "\x1b[0;1;32m", "\x1b[0;1;33m", "\x1b[0;1;39m"
GREY, UNDERLINED, PLAIN = "\x1b[0;90m", "\x1b[0;4m", "\x1b[0m"
COLOURS_ON = ("1", "yes", "y", "true", "t", "on", "16", "256", "24bit")  # of SYSTEMD_COLORS
COLOURS_OFF = ("0", "no", "n", "false", "f", "off")

GLYPH, FAILED_GLYPH = "●", "\u00d7"  # systemctl's; the second is a multiplication sign


class ReaderGoneError(Exception):
    """The person has left the pager: nothing more need be written, and nothing is wrong."""


class _Screen:
    """The pager in front of the terminal on stdout, if there is to be one."""

    pager: Pager | None = None


SCREEN = _Screen()  # of this process: descriptor 1 is the whole process's, too


def end_paging() -> None:
    """Wait until the person has left the pager, if there is one."""
    pager, SCREEN.pager = SCREEN.pager, None
    if pager is not None:
        pager.end()


class OutputError(Exception):
    """stdout cannot be written to."""


def write(data: bytes | bytearray | memoryview) -> None:
    """Write all of `data` to stdout.

    Raises:
        OutputError: the disk is full, say.
        ReaderGoneError: the person has seen enough.
    """
    pager = SCREEN.pager
    if pager is not None and data:
        pager.begin()
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(STDOUT, view) :]
        except BlockingIOError:
            wait_writable()
        except OSError as e:
            if pager is not None and e.errno == EPIPE:
                raise ReaderGoneError from None
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


def complain(message: str) -> None:
    """As `warn`, of a message that may have more lines, which are below it: the mistakes in a job file."""
    first, *more = message.split("\n")
    warn(first)
    for line in more:
        note(f"  {line}")


def note(message: str) -> None:
    """One line on stderr without a prefix: a name, a count, a question answered."""
    from jobctl.escape import escape

    try:
        os.write(STDERR, f"{escape(message)}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        return


def is_terminal(fd: int = STDOUT) -> bool:
    """Whether a person looks at this descriptor, if need be through our pager."""
    return os.isatty(fd) or (fd == STDOUT and SCREEN.pager is not None)


def columns() -> int:
    """How wide the terminal on stdout is; 0 where there is none, so nothing is to be cut."""
    if SCREEN.pager is not None:
        return SCREEN.pager.columns
    return width_of(STDOUT) if os.isatty(STDOUT) else 0


def width_of(fd: int) -> int:
    """How wide the terminal on `fd` is. COLUMNS, if it is set, says so for it, as for systemctl."""
    said = os.environ.get("COLUMNS", "")
    if said.isascii() and said.isdecimal() and int(said[:9]) > 0:
        return int(said[:9])
    try:
        return os.get_terminal_size(fd).columns or DEFAULT_COLUMNS
    except OSError:
        return DEFAULT_COLUMNS


def use_colour() -> bool:
    """Colour on a terminal that knows it, unless NO_COLOR is set (no-color.org); JOBCTL_COLORS overrides all that."""
    said = os.environ.get("JOBCTL_COLORS", "").lower()
    if said in COLOURS_ON or said in COLOURS_OFF:
        return said in COLOURS_ON
    return is_terminal() and not os.environ.get("NO_COLOR") and not is_dumb()


def is_dumb() -> bool:
    """Whether the terminal knows nothing but plain text."""
    return os.environ.get("TERM", "dumb") == "dumb"


def cut(line: str, width: int) -> str:
    """A line, without its newline, cut to `width` columns; 0 leaves it whole. Colours take no room."""
    if not width:
        return line
    from jobctl import width as columns_taken

    return columns_taken.cut(line, width)


class Progress:
    """What is waited for, on one line of a terminal's stderr that goes away at the end; nothing anywhere else."""

    def __init__(self, client: Client | None = None, text: str = "") -> None:
        """With a client: `text`, until another is shown, and for how long this client has been waiting."""
        self._line: Line | None = None
        if os.isatty(STDERR):
            from jobctl.progress import Elapsed, Line

            self._line = Line() if client is None else Elapsed(client, text)

    def show(self, text: str) -> None:
        """Show `text` in place of what was shown."""
        if self._line is not None:
            self._line.show(text)

    def clear(self) -> None:
        """Take the line away, before anything else is written."""
        if self._line is not None:
            self._line.clear()

    def end(self) -> None:
        """No more of it."""
        if self._line is not None:
            self._line.end()
