"""Readers of events are told in rounds: once for a change, together, and never for a tenth of the loop's time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from jobd.runtime import followers
from jobd.runtime.followers import Followers
from jobd.runtime.wake import Changed
from jobd.store.changes import Wanted

if TYPE_CHECKING:
    from trio.testing import MockClock

    from jobd.core.records import Event

ALL = Wanted(globs=((None, "*"),))
ANYBODY: frozenset[int | None] = frozenset({None})


class Store:
    """Has so many events, and counts what it is asked."""

    def __init__(self) -> None:
        self.events = 0
        self.asked = 0

    def last_event(self, _owner: int | None) -> int:
        self.asked += 1
        return self.events

    def removed_events(self, _owner: int | None) -> int:
        return 0

    def changes_page(self, _wanted: Wanted, _after: int, upto: int, _limit: int) -> tuple[list[Event], int, bool]:
        self.asked += 1
        return [], upto, False


class Bed:
    """Readers, each of which notes when he was told how far the events are."""

    def __init__(self) -> None:
        self.store = Store()
        self.journal = SimpleNamespace(store=self.store, changed=Changed())
        self.followers = Followers(self.journal)  # type: ignore[arg-type]  # a double
        self.began = trio.current_time()
        self.told: dict[int, list[tuple[float, int]]] = {}

    def commit(self) -> None:
        self.store.events += 1
        self.journal.changed.set()

    async def reader(self, name: int, cost_sec: float) -> None:
        told = self.told[name] = []
        position = self.store.events
        while True:
            last = self.followers.last(ANYBODY)
            if last > position:
                assert self.followers.page(ALL, ANYBODY, position, last, 64).end == last
                position = last
                told.append((trio.current_time() - self.began, last))
                self.followers.charge(cost_sec)
            else:
                await self.followers.wait()


@pytest.fixture
async def bed() -> Bed:
    return Bed()


async def test_all_are_told_and_the_database_is_asked_once(autojump_clock: MockClock, bed: Bed) -> None:
    async with trio.open_nursery() as nursery:
        for name in range(100):
            nursery.start_soon(bed.reader, name, 0.0)
        await trio.testing.wait_all_tasks_blocked()
        asked = bed.store.asked
        bed.commit()
        await trio.sleep(1)
        assert all([last for _, last in told] == [1] for told in bed.told.values())
        assert bed.store.asked == asked + 2
        nursery.cancel_scope.cancel()


async def test_after_a_round_there_is_a_pause_of_ten_such(
    autojump_clock: MockClock, bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers, "WAKE_SEC", 0.0)
    async with trio.open_nursery() as nursery:
        for name in range(20):
            nursery.start_soon(bed.reader, name, 0.001)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(5):
            bed.commit()
            await trio.sleep(0.1)
        await trio.sleep(1)
        bed.commit()
        await trio.sleep(1)
        expected = [(0.0, 1), (0.2, 3), (0.4, 5), (1.5, 6)]
        for told in bed.told.values():
            assert [(round(at, 1), last) for at, last in told] == expected
        nursery.cancel_scope.cancel()


async def test_a_reader_who_takes_long_is_not_waited_for(autojump_clock: MockClock, bed: Bed) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bed.reader, 0, 60.0)
        await trio.testing.wait_all_tasks_blocked()
        bed.commit()
        await trio.sleep(0.05)
        bed.commit()
        await trio.sleep(0.05)
        assert [last for _, last in bed.told[0]] == [1, 2]
        nursery.cancel_scope.cancel()


async def test_when_the_one_who_waits_for_all_leaves_another_does(autojump_clock: MockClock, bed: Bed) -> None:
    async with trio.open_nursery() as nursery:
        scopes = []
        for name in range(3):
            scope = trio.CancelScope()
            scopes.append(scope)

            async def read(name: int = name, scope: trio.CancelScope = scope) -> None:
                with scope:
                    await bed.reader(name, 0.0)

            nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        for gone in range(3):
            bed.commit()
            await trio.sleep(1)
            scopes[gone].cancel()
            await trio.sleep(1)
        assert [len(bed.told[name]) for name in range(3)] == [1, 2, 3]


async def test_what_is_committed_within_a_round_is_the_next_ones(autojump_clock: MockClock, bed: Bed) -> None:
    async with trio.open_nursery() as nursery:
        for name in range(3):
            nursery.start_soon(bed.reader, name, 0.0)
        await trio.testing.wait_all_tasks_blocked()
        bed.commit()
        await trio.lowlevel.checkpoint()  # the first of them has begun the round
        bed.commit()
        await trio.sleep(1)
        assert all(told[-1][1] == 2 for told in bed.told.values())
        nursery.cancel_scope.cancel()
