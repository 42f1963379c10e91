"""The daemon's log: all that its parts say through `logging`, one record a line, with whatever clients put into it.

Whatever Python would print by itself (of threads, of objects that die, warnings) goes the same way.
"""

from __future__ import annotations

import logging
import sys
import threading
from typing import TYPE_CHECKING, Final

from jobd.core import logline
from jobd.host.logstream import LogStream

if TYPE_CHECKING:
    from types import TracebackType

LEVELS: Final = {name: getattr(logging, name.upper()) for name in logline.LEVELS}
DEFAULT_LEVEL: Final = "info"

log = logging.getLogger("jobd")


class Handler(logging.Handler):
    """Hands records to the stream; the lock of logging is the turn of its callers."""

    def __init__(self, stream: LogStream) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; a record that cannot be put together is shown in its parts."""
        try:
            text = record.getMessage()
        except Exception as error:  # the log must not take down what it tells of
            text = f"{record.msg!s:.200} (which lacks something: {type(error).__name__})"
        # By the words that stand in our code: what is put into them differs from record to record.
        kind = (record.name, record.levelno, record.msg if record.args else text[:30])
        if record.exc_info and record.exc_info[1] is not None:
            text = f"{text}: {logline.brief(record.exc_info[1])}"
        self._stream.write(kind, text, _level(record.levelno))


def begin(option: str) -> None:
    """Have everything logged to stderr.

    Args:
        option: the level that the command line has set; "" if it has not.
    """
    root = logging.getLogger()
    root.handlers[:] = [Handler(LogStream())]
    logging.raiseExceptions = False
    logging.captureWarnings(True)
    sys.excepthook = _on_exception
    sys.unraisablehook = _on_unraisable
    threading.excepthook = _on_thread
    set_level(option)


def set_level(level: str) -> None:
    """Leave out what is below this level; "" is the default."""
    logging.getLogger().setLevel(LEVELS[level or DEFAULT_LEVEL])


def _level(number: int) -> str:
    found = logline.LEVELS[0]
    for name, least in LEVELS.items():
        if number >= least:
            found = name
    return found


def _on_exception(_: type[BaseException], error: BaseException, __: TracebackType | None) -> None:
    log.error("the daemon fails: %s", logline.brief(error))


def _on_thread(args: threading.ExceptHookArgs) -> None:
    name = args.thread.name if args.thread is not None else "a thread"
    said = logline.brief(args.exc_value) if args.exc_value is not None else args.exc_type.__name__
    log.error("%s fails: %s", name, said)


def _on_unraisable(args: sys.UnraisableHookArgs) -> None:
    said = logline.brief(args.exc_value) if args.exc_value is not None else args.exc_type.__name__
    log.error("%s: %s", args.err_msg or "ignored", said)
