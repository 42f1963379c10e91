"""The lines of jobd's own log, the keeper's and the daemon's: one record is one line, whatever is in it. Pure.

To the journal's stream a line begins with its priority (sd-daemon(3)); anywhere else with the time and the process.
A line is at most PIPE_BUF bytes, so that those of keeper and daemon never mix. Both halves import this: standard
library only, and without `typing`, which the keeper does not load.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable

LEVELS = ("debug", "info", "warning", "error")
PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3}
MAX_BYTES = 4096  # PIPE_BUF: written at once or not at all
MAX_FRAMES = 30  # of a trace
MAX_CAUSES = 4
MAX_MESSAGE = 200  # characters of an exception's own words, which may be a client's

BURST = 20  # records of one kind
WINDOW_SEC = 60.0  # in this time; the others are counted
MAX_KINDS = 500  # that are remembered


def printable(text: str) -> str:
    """`text` in one line that does nothing to a terminal: what is not printable is written as in Python."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def line(text: str, level: str, stamp: str | None, pid: int) -> bytes:
    """One line of the log.

    Args:
        text: the record, of any length and with anything in it.
        level: one of LEVELS.
        stamp: the time as it is to be shown; None for the journal, which notes time and process itself.
        pid: whose record it is.
    """
    head = f"<{PRIORITIES[level]}>" if stamp is None else f"{stamp} jobd[{pid}]: {level}: "
    # What is longer than a line can be is not looked at: it may be a megabyte.
    clean = f"{head}{printable(text[:MAX_BYTES])}".encode("utf-8", "backslashreplace")
    if len(clean) < MAX_BYTES and len(text) <= MAX_BYTES:
        return clean + b"\n"
    return clean[: MAX_BYTES - 4].decode("utf-8", "ignore").encode() + "…".encode() + b"\n"


def is_journal(stream: str, device: int, inode: int) -> bool:
    """Whether a descriptor of this identity is what $JOURNAL_STREAM names (systemd.exec(5))."""
    return bool(stream) and stream == f"{device}:{inode}"


class RateLimit:
    """Lets so many records of each kind pass in a window, and counts the others."""

    def __init__(self, burst: int = BURST, window_sec: float = WINDOW_SEC) -> None:
        self._burst, self._window = burst, window_sec
        self._kinds: dict[Hashable, list[float]] = {}  # since when, how many, and how many of them were left out
        self._said: dict[Hashable, tuple[str, str]] = {}  # text and level of the last that was left out

    def admit(self, kind: Hashable, text: str, level: str, now: float) -> list[tuple[str, str]]:
        """The texts and levels to write for this record: it, or nothing, and what is to be told of earlier ones."""
        told = self.due(now)
        found = self._kinds.get(kind)
        if found is None:
            while len(self._kinds) >= MAX_KINDS:
                told += self._close(next(iter(self._kinds)))
            found = self._kinds[kind] = [now, 0, 0]
        found[1] += 1
        if found[1] <= self._burst:
            return [*told, (text, level)]
        found[2] += 1
        self._said[kind] = text, level
        return told

    def due(self, now: float) -> list[tuple[str, str]]:
        """What is to be told of windows that have ended."""
        told = []
        while self._kinds:
            kind = next(iter(self._kinds))  # the oldest
            if now - self._kinds[kind][0] < self._window:
                break
            told += self._close(kind)
        return told

    def _close(self, kind: Hashable) -> list[tuple[str, str]]:
        _, _, left_out = self._kinds.pop(kind)
        if not left_out:
            return []
        text, level = self._said.pop(kind)
        return [(f"{left_out:.0f} more such records were left out, the last: {text}", level)]


def brief(error: BaseException) -> str:
    """An exception with its places, causes and parts, in one line."""
    return _brief(error, 0)


def _brief(error: BaseException, depth: int) -> str:
    places: list[str] = []
    trace = error.__traceback__
    while trace is not None and len(places) < MAX_FRAMES:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    more = " > …" if trace is not None else ""
    text = f"{type(error).__name__}: {_message(error)}"
    if places:
        text += f" [{' > '.join(places)}{more}]"
    if depth >= MAX_CAUSES:
        return text
    if isinstance(error, BaseExceptionGroup):
        text += "; of " + ", and ".join(f"({_brief(part, depth + 1)})" for part in error.exceptions[:MAX_CAUSES])
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        text += f"; after {_brief(cause, depth + 1)}"
    return text


def _message(error: BaseException) -> str:
    try:
        return str(error)[:MAX_MESSAGE]
    except Exception as e:  # an exception that cannot be shown shall not take the log with it
        return f"(which cannot be shown: {type(e).__name__})"
