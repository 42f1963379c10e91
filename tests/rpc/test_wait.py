"""`wait` of a queue: the runs that are in it, each told as it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.core.records import SHARED
from jobd.rpc.context import Refused
from jobd.rpc.handlers import hold
from jobd.rpc.handlers.wait import wait
from jobd.wire import messages as m
from tests.rpc.test_queues import ALICE, BOB, ask, context_of, filled
from tests.runtime.fakes import ROOT, Bed, serving
from tests.runtime.jobs import Jobs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Waiter:
    """One request, and what it was told so far."""

    def __init__(self, bed: Bed, request: m.Wait, uid: int) -> None:
        self._context = context_of(bed, uid)
        self._request = request
        self.over = False

    async def serve(self) -> None:
        await wait(self._context, self._request)
        self.over = True

    @property
    def ended(self) -> list[str]:
        return [body.run.job for body in self._context.connection.bodies]  # type: ignore[attr-defined]  # a double


@pytest.fixture
async def waits(autojump_clock: MockClock) -> AsyncIterator[Callable[..., Waiter]]:
    async with trio.open_nursery() as nursery:

        def begin(bed: Bed, uid: int = 0, **asked: object) -> Waiter:
            waiter = Waiter(bed, m.Wait(id=1, **asked), uid)  # type: ignore[arg-type]  # each test's own
            nursery.start_soon(waiter.serve)
            return waiter

        yield begin
        nursery.cancel_scope.cancel()


async def test_a_queue_means_what_is_in_it_now(waits: Callable[..., Waiter]) -> None:
    async with serving(Bed()) as bed:
        jobs = filled(bed, 1, "a", "b", "held")
        await wait_all_tasks_blocked()
        await ask(bed, hold.hold, m.Hold(id=1, names=["held"]))
        waiter, first = waits(bed, queue="build"), waits(bed, queue="build", any=True)
        await wait_all_tasks_blocked()
        jobs.make("later", queue="build")
        await jobs.end("a")
        await jobs.end("b")
        assert (waiter.ended, first.ended, first.over) == (["a", "b"], ["a"], True)
        await ask(bed, hold.release, m.Release(id=1, names=["held"]))
        await jobs.end("later")
        assert not waiter.over
        await jobs.end("held")
        assert (waiter.ended, waiter.over) == (["a", "b", "held"], True)


async def test_of_a_shared_queue_those_that_he_may_see(waits: Callable[..., Waiter]) -> None:
    async with serving(Bed()) as bed:
        bed.registry.queues.add(SHARED, "all", 2, ROOT)
        jobs = Jobs(bed)
        jobs.make("hers", ALICE, queue="all")
        his = jobs.make("his", BOB, queue="all")
        await wait_all_tasks_blocked()
        waiter, empty = waits(bed, BOB, queue="all"), waits(bed, 61003, queue="all")
        await wait_all_tasks_blocked()
        assert (waiter.over, empty.over) == (False, True)
        bed.keeper.exited(his.id, 0)
        bed.pump.end(his.id)
        await wait_all_tasks_blocked()
        assert (waiter.ended, waiter.over) == (["his"], True)


async def test_a_queue_that_is_not_there_is_an_error_that_names_those_that_are(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        with pytest.raises(Refused, match="there are: batch"):
            await wait(context_of(bed), m.Wait(id=1, queue="build"))
