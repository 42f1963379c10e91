"""The keeper's log: one line per record on stderr, with everything escaped that is not printable ASCII."""

from __future__ import annotations

import os
import time

LEVELS = ("debug", "info", "warning", "error")


class Log:
    """Writes records of at least `level`. Never waits: a record that stderr does not take is dropped."""

    def __init__(self, level: str = "info") -> None:
        self._least = LEVELS.index(level)

    def __call__(self, text: str, level: str = "info") -> None:
        """Write one record."""
        if LEVELS.index(level) < self._least:
            return
        clean = text.encode("unicode_escape").decode("ascii")
        line = f"{time.strftime('%Y-%m-%dT%H:%M:%S')} jobd[{os.getpid()}]: {level}: {clean}\n"
        try:
            os.write(2, line.encode("ascii"))
        except OSError:
            return  # nobody reads it, or the disk is full; runs matter more
