"""What a person sees on stderr while jobctl waits. Imported only where stderr is a terminal."""

from __future__ import annotations

import os

from jobctl import terminal, width
from jobctl.escape import escape

CLEAR = "\r\x1b[K"


class Line:
    """The one line, rewritten in place; it never reaches the last column, where some terminals wrap."""

    def __init__(self) -> None:
        self._shown = ""

    def show(self, text: str) -> None:
        """Show `text` in place of what was shown."""
        if text == self._shown:
            return
        self._shown = text
        room = max(1, terminal.width_of(terminal.STDERR) - 1)
        self._put(f"{CLEAR}{width.cut(escape(text), room)}")

    def clear(self) -> None:
        """Take the line away, before anything else is written."""
        if self._shown:
            self._shown = ""
            self._put(CLEAR)

    def _put(self, text: str) -> None:
        try:
            os.write(terminal.STDERR, text.encode("utf-8", "backslashreplace"))
        except OSError:
            return
