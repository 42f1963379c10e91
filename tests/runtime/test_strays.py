"""What a run has left that was lost with its keeper is ended before the job runs again."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.runtime import together
from jobd.runtime.recovery import recover
from jobd.runtime.strays import TERM_SEC
from tests.runtime.fakes import ROOT, WELCOME, Bed, serving
from tests.runtime.test_recovery import killed_and_recovered

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from jobd.core.records import RunRow

LOST, NEXT = (1).to_bytes(16, "big"), b"n" * 16
STUBBORN = 1 << 20  # SIGTERMs


async def _lost(boot: str = "boot-1", **left: int) -> AbstractAsyncContextManager[Bed]:
    first = Bed()
    async with serving(first):
        first.submit()
        await wait_all_tasks_blocked()
    second = await killed_and_recovered(first)
    second.keeper.welcome = replace(WELCOME, keeper="keeper-2", boot_id=boot)
    second.keeper.strays = {LOST: left["left"]} if left else {}
    return serving(second)


async def _start(bed: Bed) -> None:
    await recover(bed.registry)
    assert bed.store.runs[LOST].result == "lost"
    bed.keeper.sent.clear()
    together.start(bed.registry, 0, {"job-1": NEXT}, together.Act(ROOT))
    await wait_all_tasks_blocked()


def _signals(bed: Bed) -> list[object]:
    return [fields["signal"] for op, fields in bed.keeper.sent if op == "end-stray" and fields["run"] == LOST]


@pytest.fixture
def clock(autojump_clock: MockClock) -> MockClock:
    return autojump_clock


async def test_they_get_a_sigterm_and_are_waited_for(clock: MockClock) -> None:
    async with await _lost(left=1) as bed:
        await _start(bed)
        assert bed.keeper.ops() == ["end-stray", "end-stray", "spawn", "go"]
        assert _signals(bed) == [signal.SIGTERM, 0]
        assert bed.store.runs[NEXT].state == "running"


async def test_what_ignores_it_is_killed(clock: MockClock) -> None:
    async with await _lost(left=STUBBORN) as bed:
        await _start(bed)
        await trio.sleep(TERM_SEC - 1)
        assert signal.SIGKILL not in _signals(bed)
        await trio.sleep(2)
        sent = [sig for sig in _signals(bed) if sig]
        assert sent[0] == signal.SIGTERM
        assert set(sent[1:]) == {signal.SIGKILL}
        assert bed.store.runs[NEXT].state == "running"


async def test_a_stop_meanwhile_is_heard(clock: MockClock) -> None:
    async with await _lost(left=STUBBORN) as bed:
        await _start(bed)
        together.stop(bed.registry, 0, ["job-1"], ROOT)
        await trio.sleep(1)
        assert bed.store.runs[NEXT].result == "canceled"
        assert "spawn" not in bed.keeper.ops()


async def test_after_a_reboot_there_is_nothing_to_look_for(clock: MockClock) -> None:
    async with await _lost(boot="boot-2") as bed:
        await _start(bed)
        assert bed.keeper.ops() == ["spawn", "go"]


async def test_runs_that_never_began_are_looked_behind_and_others_are_not(clock: MockClock) -> None:
    async with await _lost(left=STUBBORN) as bed:
        await _start(bed)
        together.stop(bed.registry, 0, ["job-1"], ROOT)
        await trio.sleep(1)
        bed.keeper.strays[LOST] = 1
        bed.keeper.sent.clear()
        together.start(bed.registry, 0, {"job-1": b"o" * 16}, together.Act(ROOT))
        await trio.sleep(1)
        assert bed.keeper.ops() == ["end-stray", "end-stray", "spawn", "go"]
        bed.keeper.exited(b"o" * 16, 0)
        bed.pump.end(b"o" * 16)
        await trio.sleep(1)
        bed.keeper.sent.clear()
        together.start(bed.registry, 0, {"job-1": b"p" * 16}, together.Act(ROOT))
        await wait_all_tasks_blocked()
        assert bed.keeper.ops() == ["spawn", "go"]


async def test_a_run_that_follows_in_the_transaction_of_the_loss_waits_for_that(clock: MockClock) -> None:
    first = Bed()
    async with serving(first):
        first.submit()
        await wait_all_tasks_blocked()
        together.restart(first.registry, 0, {"job-1": NEXT}, together.Act(ROOT))
        await wait_all_tasks_blocked()
    second = await killed_and_recovered(first)
    second.keeper.welcome = replace(WELCOME, keeper="keeper-2")
    second.keeper.strays = {LOST: 1}
    before, look = second.store.runs[LOST], second.store.run_number

    def as_written(owner: int, job: str, number: int) -> RunRow | None:
        following = second.registry.runs[NEXT].accepted
        assert following is not None
        return look(owner, job, number) if following.done else before

    second.store.run_number = as_written  # type: ignore[method-assign]
    second.journal.held = []
    async with serving(second), trio.open_nursery() as nursery:
        second.journal.flush = wait_all_tasks_blocked  # type: ignore[method-assign]
        nursery.start_soon(recover, second.registry)
        await trio.sleep(1)
        assert "spawn" not in second.keeper.ops()
        for commit in second.journal.held:
            commit.settle(None)
        second.journal.held = None
        await trio.sleep(1)
        assert second.keeper.ops("end-stray", "spawn") == ["end-stray", "end-stray", "spawn"]
