"""Log lines about clients: one a second for each uid, so that the noise of one user hides nobody else's."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from typing import Final

log = logging.getLogger("jobd.rpc")

EVERY_SEC: Final = 1.0
MAX_UIDS: Final = 256  # of which it is known when they were last heard of; more would be noise in itself


class RateLimit:
    """Lets one log line a second pass."""

    def __init__(self) -> None:
        self._last = float("-inf")
        self._left_out = 0

    def say(self, text: str) -> None:
        """Log `text`, or count it as left out."""
        now = time.monotonic()
        if now - self._last < EVERY_SEC:
            self._left_out += 1
            return
        more = f" (and {self._left_out} more such lines)" if self._left_out else ""
        self._last, self._left_out = now, 0
        log.warning("%s%s", text, more)


class Noise:
    """The lines of all uids. Outlives their connections: who comes anew each time is noise all the same."""

    def __init__(self) -> None:
        self._of: OrderedDict[int, RateLimit] = OrderedDict()

    def say(self, uid: int, text: str) -> None:
        """Log `text`, which `uid` gave rise to, unless there was a line of his within the last second."""
        limit = self._of.get(uid)
        if limit is None:
            limit = self._of[uid] = RateLimit()
            if len(self._of) > MAX_UIDS:
                self._of.popitem(last=False)
        self._of.move_to_end(uid)
        limit.say(text)
