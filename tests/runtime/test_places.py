"""Places between fork and exec, and whose they are."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial

import trio
from trio.testing import wait_all_tasks_blocked

from jobd.runtime.places import Places

A, B, C = 61001, 61002, 61003


async def hold(places: Places, owner: int, held: list[int], until: trio.Event) -> None:
    async with places.place(owner):
        held.append(owner)
        await until.wait()


async def test_one_owner_does_not_get_all_places() -> None:
    places, held, end = Places(each=4, count=6), [], trio.Event()  # type: ignore[var-annotated]
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(hold, places, A, held, end)
        await wait_all_tasks_blocked()
        assert held == [A] * 4
        nursery.start_soon(hold, places, B, held, end)
        await wait_all_tasks_blocked()
        assert held == [A] * 4 + [B]
        end.set()
    assert len(held) == 11
    async with AsyncExitStack() as stack:  # all are free again
        for owner in (A, A, A, A, B, B):
            await stack.enter_async_context(places.place(owner))


async def test_places_go_to_owners_in_turn() -> None:
    places, held = Places(each=2, count=2), []  # type: ignore[var-annotated]
    ends = [trio.Event() for _ in range(9)]
    async with trio.open_nursery() as nursery:
        for at, owner in enumerate((A, A, A, A, A, A, B, B, C)):
            nursery.start_soon(hold, places, owner, held, ends[at])
            await wait_all_tasks_blocked()
        for end in ends:
            end.set()
            await wait_all_tasks_blocked()
    assert held[:2] == [A, A]  # nobody else was there
    assert set(held[2:5]) == {A, B, C}
    assert sorted(held) == [A] * 6 + [B] * 2 + [C]


async def test_who_stops_waiting_leaves_no_place_behind() -> None:
    places, held, end = Places(each=1, count=1), [], trio.Event()  # type: ignore[var-annotated]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, places, A, held, end)
        await wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            trio.lowlevel.current_trio_token().run_sync_soon(scope.cancel)
            async with places.place(B):
                held.append(B)
        assert held == [A]
        end.set()
    async with places.place(C):
        held.append(C)
    assert held == [A, C]


async def test_who_has_no_task_is_told_of_his_place_in_the_order_of_the_line() -> None:
    places, told, held = Places(each=2, count=4), [], []
    ends = [trio.Event() for _ in range(6)]
    runs = [bytes([number]) for number in range(6)]

    async def come(number: int) -> None:
        async with places.place(A, runs[number]):
            held.append(number)
            await ends[number].wait()

    async with trio.open_nursery() as nursery:

        def tell(number: int) -> None:
            told.append(number)
            nursery.start_soon(come, number)

        for number, run in enumerate(runs):
            places.keep(A, run, partial(tell, number))
        assert told == [0, 1]
        await wait_all_tasks_blocked()
        assert sorted(held) == [0, 1]
        places.forget(runs[3])
        for end in ends:
            end.set()
    assert told == [0, 1, 2, 4, 5]
    assert sorted(held) == told


async def test_what_was_kept_for_one_that_does_not_come_is_given_to_the_next() -> None:
    places, told = Places(each=1, count=1), []  # type: ignore[var-annotated]
    for name in (b"gone", b"next"):
        places.keep(A, name, partial(told.append, name))
    assert told == [b"gone"]
    places.forget(b"gone")
    assert told == [b"gone", b"next"]
    async with places.place(A, b"next"):
        pass
    places.forget(b"next")
    places.keep(A, b"last", partial(told.append, b"last"))
    assert told[2:] == [b"last"]
