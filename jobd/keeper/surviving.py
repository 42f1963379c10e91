"""What the kernel refuses just now ends no keeper, and costs nobody but him whom it concerns.

Events stay until they are served, and what is due stays due: both come round again, after a pause. Whatever else there
is to do is done meanwhile.
"""

from __future__ import annotations

import time

from jobd.core import logline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from jobd.keeper.log import Log

    S = TypeVar("S")
    T = TypeVar("T")

PAUSE_SEC = 0.05  # after a round with errors: they may come again at once
SAY_SEC = 60.0  # until an error that stays is said again
MAX_SAID = 16  # errors that are remembered


class Surviving:
    """The errors of the loop's rounds."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._said: dict[str, float] = {}  # and when
        self.failed = False  # in this round

    def attempt(self, otherwise: S, act: Callable[..., T], *args: object) -> S | T:
        """What `act` gives; `otherwise` if the kernel refuses it something."""
        try:
            return act(*args)
        except (OSError, MemoryError) as e:
            self.failed = True
            self._say(f"going on after an error: {logline.brief(e)}")
            return otherwise

    def rest(self) -> None:
        """At the end of a round."""
        if self.failed:
            self.failed = False
            time.sleep(PAUSE_SEC)

    def _say(self, text: str) -> None:
        now = time.monotonic()
        if text in self._said and now < self._said[text] + SAY_SEC:
            return
        if len(self._said) >= MAX_SAID:
            self._said.clear()
        self._said[text] = now
        self._log(text, "error")
