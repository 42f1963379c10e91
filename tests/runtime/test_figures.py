"""Whose figures are made next, where several ask."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

import trio

from jobd.core.runfilter import RunFilter
from jobd.runtime import figures
from jobd.runtime.figures import Statistician

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from jobd.store.db import Store

STEPS = 3  # of each question
MANY, ONE = 61103, 61101


class Reader:
    def fetch(self) -> None:
        """Nothing is asked of it."""

    def close_reader(self) -> None:
        """Nor closed."""


class FakeStore:
    def another_reader(self) -> Reader:
        return Reader()


async def test_who_asks_much_has_the_turn_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    class Steps:
        def __init__(self, _fetch: Callable[[], None], _wanted: RunFilter, _after: tuple[int, str], who: int) -> None:
            self.who, self.left = who, STEPS
            self.found: list[figures.Figures] = []
            self.more = None

        def step(self) -> bool:
            seen.append(self.who)
            self.left -= 1
            return self.left > 0

    monkeypatch.setattr(figures, "Stats", Steps)
    monkeypatch.setattr(figures, "STEP_SEC", 0.0)
    statistician = Statistician(cast("Store", FakeStore()))
    async with trio.open_nursery() as nursery:
        for who in (*[MANY] * 8, ONE):
            ask = partial(statistician.figures, who, RunFilter(), (-1, ""), who, trio.lowlevel.checkpoint)
            nursery.start_soon(ask)
    assert len(seen) == 9 * STEPS
    last = max(at for at, who in enumerate(seen) if who == ONE)
    assert last < 4 * STEPS, seen  # one after the other it would be the last but few
