"""How much of the loop each owner's checks may have: on the autojump clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from jobd.runtime.asking import BURST_SEC, RATE, Asking

if TYPE_CHECKING:
    from trio.testing import MockClock

SECONDS = 40


async def test_who_asks_little_never_waits_and_who_asks_much_has_his_share(autojump_clock: MockClock) -> None:
    asking = Asking()
    asked = {1: 0, 2: 0}

    async def ask(owner: int, cost: float, pause: float) -> None:
        while True:
            await asking.turn(owner, cost)
            asked[owner] += 1
            await trio.sleep(pause)

    with trio.move_on_after(SECONDS):
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(ask, 1, 0.01, 0.1)  # five times what there is
            nursery.start_soon(ask, 2, 0.01, 1.0)
    assert asked[2] == pytest.approx(SECONDS, abs=1)
    assert asked[1] * 0.01 == pytest.approx(BURST_SEC + SECONDS * RATE, rel=0.05)


def test_each_owner_has_threads_of_his_own_for_names() -> None:
    asking = Asking()
    assert asking.lookups(1) is asking.lookups(1)
    assert asking.lookups(1) is not asking.lookups(2)
