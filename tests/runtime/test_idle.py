"""When a daemon that nobody needs leaves: to the second, on trio's autojump clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from jobd.runtime.idle import IdleExit, due_in

if TYPE_CHECKING:
    from trio.testing import MockClock

LIMIT_SEC = 900.0


@pytest.mark.parametrize(
    ("now", "since", "due"),
    [
        (100.0, 100.0, 900.0),
        (999.0, 100.0, 1.0),
        (1000.0, 100.0, 0.0),
        (1500.0, 100.0, -500.0),
        (100.0, 110.0, 900.0),  # someone is expected: he may come and leave at once
        (5000.0, None, 900.0),  # busy: the earliest it can be is a whole limit from now
    ],
)
def test_due_in(now: float, since: float | None, due: float) -> None:
    assert due_in(now, since, LIMIT_SEC) == due


class Daemon:
    """Idle since `since`; `visits` says how often it was looked at and when it left."""

    def __init__(self, since: float | None = 0.0) -> None:
        self.since = since
        self.looks: list[float] = []
        self.left: list[float] = []
        self.visitors = 0  # how often somebody comes in the moment of leaving

    def idle_since(self) -> float | None:
        self.looks.append(trio.current_time())
        return self.since

    def leave(self) -> bool:
        self.left.append(trio.current_time())
        self.visitors -= 1
        return self.visitors < 0


async def test_an_idle_daemon_leaves_after_the_limit(autojump_clock: MockClock) -> None:
    daemon = Daemon()
    await IdleExit(LIMIT_SEC, daemon.idle_since, daemon.leave).run()
    assert daemon.left == [LIMIT_SEC]
    assert autojump_clock.current_time() == LIMIT_SEC


async def test_it_counts_from_when_the_last_one_left(autojump_clock: MockClock) -> None:
    daemon = Daemon(None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(IdleExit(LIMIT_SEC, daemon.idle_since, daemon.leave).run)
        await trio.sleep(10_000)
        daemon.since = trio.current_time()
    assert daemon.left == [10_000 + LIMIT_SEC]
    assert autojump_clock.current_time() == 10_000 + LIMIT_SEC
    assert len(daemon.looks) <= 10_000 / LIMIT_SEC + 3  # woken once a limit, not by what happens


async def test_a_client_in_between_begins_it_anew(autojump_clock: MockClock) -> None:
    daemon = Daemon()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(IdleExit(LIMIT_SEC, daemon.idle_since, daemon.leave).run)
        await trio.sleep(899)
        daemon.since = trio.current_time()
    assert daemon.left == [899 + LIMIT_SEC]
    assert autojump_clock.current_time() == 899 + LIMIT_SEC


async def test_somebody_who_comes_as_it_leaves_is_stayed_for(autojump_clock: MockClock) -> None:
    daemon = Daemon()
    daemon.visitors = 1
    await IdleExit(LIMIT_SEC, daemon.idle_since, daemon.leave).run()
    assert daemon.left == [LIMIT_SEC, 2 * LIMIT_SEC]
    assert autojump_clock.current_time() == 2 * LIMIT_SEC


async def test_without_a_limit_it_never_leaves(autojump_clock: MockClock) -> None:
    daemon = Daemon()
    await IdleExit(0, daemon.idle_since, daemon.leave).run()
    assert daemon.looks == []
    assert autojump_clock.current_time() == 0
