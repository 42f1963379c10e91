"""Figures of what has run: made by a thread beside the loop, one at a time, and given up with who has asked.

Who has asked for many has a step of one of them made in his turn, as has who has asked for one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import trio

from jobd.runtime.places import Places
from jobd.store.stats import Figures, Stats

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jobd.core.runfilter import RunFilter
    from jobd.store.db import Store

__all__ = ["Figures", "Statistician"]

STEP_SEC: Final = 0.05  # of work in the thread, after which others that wait for it have their turn
AT_ONCE: Final = 1  # so that however many ask, one processor is left to what runs


class Statistician:
    """Owns the thread's time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._places = Places(AT_ONCE, AT_ONCE)

    async def figures(
        self, who: int, wanted: RunFilter, after: tuple[int, str], limit: int, turn: Callable[[], Awaitable[None]]
    ) -> tuple[list[Figures], tuple[int, str] | None]:
        """Of the jobs that are meant, by owner and name, behind the key `after`, at most `limit`; and where to go on.

        `who` asks for them, and `turn` is waited for between two steps. Cancelling waits for the end of one question.
        """
        reader = self._store.another_reader()
        stats = Stats(reader.fetch, wanted, after, limit)
        try:
            while await self._step(who, stats):
                await turn()
        finally:
            reader.close_reader()
        return stats.found, stats.more

    async def _step(self, who: int, stats: Stats) -> bool:
        async with self._places.place(who):
            return await trio.to_thread.run_sync(_work, stats)


def _work(stats: Stats) -> bool:
    end = time.monotonic() + STEP_SEC
    while stats.step():
        if time.monotonic() >= end:
            return True
    return False
