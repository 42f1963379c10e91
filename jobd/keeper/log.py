"""The keeper's log: the lines and the stream of the daemon's."""

from __future__ import annotations

import sys

from jobd.core import logline
from jobd.host.logstream import LogStream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

DEFAULT_LEVEL = "info"
_NO_DIGITS = dict.fromkeys(map(ord, "0123456789"))
_KIND = 30  # characters of a record that say what kind it is


class Log:
    """Writes records of at least `level`. Never waits."""

    def __init__(self, level: str = "") -> None:
        self._stream = LogStream()
        self.set_level(level)

    def set_level(self, level: str) -> None:
        """Leave out what is below this level; "" is the default."""
        self._least = logline.LEVELS.index(level or DEFAULT_LEVEL)

    def __call__(self, text: str, level: str = "info") -> None:
        """Write one record."""
        if logline.LEVELS.index(level) >= self._least:
            self._stream.write((level, text[:_KIND].translate(_NO_DIGITS)), text, level)

    def take_failures(self) -> None:
        """A failure that ends the keeper is one record, too."""

        def say(_: type[BaseException], error: BaseException, __: TracebackType | None) -> None:
            self(f"the keeper fails: {logline.brief(error)}", "error")

        sys.excepthook = say
