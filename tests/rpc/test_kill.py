"""A signal that has a name of its client's making: sent once, recorded once, and done when it was done."""

from __future__ import annotations

import pytest
from trio.testing import wait_all_tasks_blocked

from jobd.core.ids import ONCE_OPERATION, USER_OPERATION
from jobd.rpc.handlers import lifecycle
from jobd.wire import errors
from jobd.wire import messages as m
from tests.rpc.test_lifecycle import Answers, context_of
from tests.runtime.fakes import ROOT, Bed, serving
from tests.runtime.test_registry import ended

KEY = (0, "job-1")


async def ask(bed: Bed, once: str = "a", runs: list[bytes] | None = None) -> list[str]:
    bed.keeper.script["signal"] = [("signaled", {"o": ONCE_OPERATION + once, "repeated": False, "count": 1})]
    answers = Answers()
    request = m.Kill(id=1, names=["job-1"], signal=10, once=once, runs=runs or [])
    await lifecycle.kill(context_of(bed, answers), request)
    return [body.code for body in answers.bodies if isinstance(body, m.Done)]


def recorded(bed: Bed) -> int:
    return [event.kind for event in bed.store.events].count("kill SIGUSR1 all")


async def test_asked_again_it_is_recorded_once_and_the_keeper_knows_the_rest() -> None:
    async with serving(Bed()) as bed:
        run = bed.submit()
        await wait_all_tasks_blocked()
        for _ in range(2):
            assert await ask(bed) == [""]
        assert recorded(bed) == 1
        assert bed.keeper.ops("signal") == [f"signal {ONCE_OPERATION}a"] * 2
        assert run.once == (f"{ONCE_OPERATION}a",)
        assert await ask(bed, "b") == [""]
        assert recorded(bed) == 2
        assert bed.replayed().runs[0, run.id] == run.row


async def test_asked_again_when_the_signal_has_ended_it() -> None:
    async with serving(Bed()) as bed:
        run = bed.submit()
        await wait_all_tasks_blocked()
        assert await ask(bed) == [""]
        await ended(bed, run)
        assert await ask(bed) == [""]
        assert await ask(bed, runs=[run.id]) == [""]
        assert await ask(bed, "b") == [errors.NOT_APPLICABLE]
        assert await ask(bed, "") == [errors.NOT_APPLICABLE]
        assert recorded(bed) == 1


async def test_asked_again_when_the_next_run_is_there_it_is_not_for_that() -> None:
    async with serving(Bed()) as bed:
        run = bed.submit()
        await wait_all_tasks_blocked()
        assert await ask(bed) == [""]
        await ended(bed, run)
        bed.registry.submit(*KEY, b"2" * 16, run.spec, b"\x90", ROOT)
        await wait_all_tasks_blocked()
        assert await ask(bed) == [""]
        assert bed.keeper.ops("signal") == [f"signal {ONCE_OPERATION}a"]
        assert await ask(bed, runs=[b"2" * 16]) == [""]  # this one is meant
        assert len(bed.keeper.ops("signal")) == 2


@pytest.mark.parametrize("count", [1, 2])
async def test_without_a_name_each_is_meant_anew(count: int) -> None:
    async with serving(Bed()) as bed:
        bed.submit()
        await wait_all_tasks_blocked()
        for _ in range(count):
            assert await ask(bed, "") == [""]
        assert recorded(bed) == count
        ops = bed.keeper.ops("signal")
        assert len(set(ops)) == count
        assert all(op.startswith(f"signal {USER_OPERATION}") for op in ops)
