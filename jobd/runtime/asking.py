"""How much of the loop each owner's checks may have: their cost is ours, and how many there are is his.

A check costs a connection, a process, or the reading of lines; a thousand jobs that are asked ten times a second would
leave nothing for anybody else. So each owner has an allowance of time, and who has used it waits for more, outside of
any timeout: a job is not found to be dead because its owner has many. Names are looked up in threads of his own.
"""

from __future__ import annotations

from typing import Final

import trio

# A start of five hundred services with checks takes 2 s of it; then a quarter of the loop is his.
BURST_SEC: Final = 2.0
RATE: Final = 0.25
CONNECT_SEC: Final = 0.0003  # what a check by tcp or http costs (measured)
PROCESS_SEC: Final = 0.003  # what one by the keeper's child costs there and here (measured: helpers)
MOMENT_SEC: Final = 1e-6  # less is a rounding error
LOOKUPS: Final = 4  # threads of one owner that ask the name service


class Asking:
    """The allowances. One a daemon."""

    def __init__(self) -> None:
        self._left: dict[int, tuple[float, float]] = {}  # owner: seconds, and when that was so
        self._limiters: dict[int, trio.CapacityLimiter] = {}

    def lookups(self, owner: int) -> trio.CapacityLimiter:
        """Who limits the threads in which an owner's names are looked up."""
        return self._limiters.setdefault(owner, trio.CapacityLimiter(LOOKUPS))

    async def turn(self, owner: int, sec: float) -> None:
        """Wait until an owner has something left of his allowance, and take `sec` of it."""
        while (left := self._now(owner)) < -MOMENT_SEC:  # noqa: ASYNC110  # it is time that is waited for
            await trio.sleep(-left / RATE)
        self._left[owner] = left - sec, trio.current_time()

    def _now(self, owner: int) -> float:
        now = trio.current_time()
        left, at = self._left.get(owner, (BURST_SEC, now))
        return min(BURST_SEC, left + (now - at) * RATE)
