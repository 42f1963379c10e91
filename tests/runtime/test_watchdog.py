"""Who does not show that he lives, and who could not: on the autojump clock."""

from __future__ import annotations

import os
import signal

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.core import states
from tests.runtime.servicing import NOTIFY, served

INTERVAL = {"watchdog_usec": 30_000_000}


async def test_one_that_pings_lives(autojump_clock: MockClock) -> None:
    async with served(**NOTIFY, **INTERVAL) as at:
        await trio.sleep(50)
        assert at.sub == states.START, "its clock starts when it is ready"
        await at.say("READY=1")
        for _ in range(10):
            await trio.sleep(29)
            await at.say("WATCHDOG=1")
        assert at.sub == states.RUNNING


async def test_one_that_hangs_is_aborted_and_then_killed(autojump_clock: MockClock) -> None:
    async with served(**INTERVAL, stop_timeout_usec=10_000_000) as at:
        began = trio.current_time()
        await at.bed.keeper.until("signal abrt-1", within=31)
        assert trio.current_time() - began == pytest.approx(30, abs=0.1)
        assert at.bed.keeper.sent[-1][1]["sig"] == signal.SIGABRT
        assert at.sub == states.STOP_WATCHDOG
        await at.bed.keeper.until("kill-tree kill-1", within=11)
        at.bed.keeper.exited(at.run.id, 9)
        await wait_all_tasks_blocked()
        row = at.bed.row(at.run)
        assert (row.result, at.bed.store.jobs[0, "job-1"].active) == ("watchdog", "failed")
        assert row.reason == "it did not say within 30s that it lives (WATCHDOG=1)"


async def test_one_that_says_that_it_hangs(autojump_clock: MockClock) -> None:
    async with served(**INTERVAL) as at:
        await at.say("WATCHDOG=trigger")
        assert at.sub == states.STOP_WATCHDOG


async def test_another_interval_and_none(autojump_clock: MockClock) -> None:
    async with served(**INTERVAL) as at:
        await at.say("WATCHDOG_USEC=5000000")
        assert at.bed.row(at.run).watchdog_usec == 5_000_000
        await at.say("WATCHDOG_USEC=0")
        await trio.sleep(1000)
        assert at.sub == states.RUNNING
        await at.say("WATCHDOG=trigger")
        assert at.sub == states.RUNNING, "it has none"
        await at.say("WATCHDOG_USEC=5000000", "WATCHDOG=1")
        await trio.sleep(4.9)
        assert at.sub == states.RUNNING
        await trio.sleep(0.2)
        assert at.sub == states.STOP_WATCHDOG


async def test_what_is_frozen_is_not_hung(autojump_clock: MockClock) -> None:
    async with served(**INTERVAL) as at:
        await trio.sleep(20)
        at.bed.keeper.say(at.run.id, "frozen", frozen=True)
        await trio.sleep(1000)
        assert at.sub == states.RUNNING
        at.bed.keeper.say(at.run.id, "frozen", frozen=False)
        await trio.sleep(29.9)
        assert at.sub == states.RUNNING
        await trio.sleep(0.2)
        assert at.sub == states.STOP_WATCHDOG


async def test_what_was_said_in_time_and_not_heard_counts(autojump_clock: MockClock) -> None:
    async with served(**INTERVAL) as at:
        at.bed.keeper.members[os.getpid()] = at.run.id
        at.run.pid = 1
        asked = trio.Event()

        async def slow(pids: list[int]) -> list[bytes | None]:
            asked.set()
            await trio.sleep(0.5)
            return [at.run.id] * len(pids)

        at.bed.keeper.runs_of = slow  # type: ignore[method-assign]  # a keeper that is busy
        await trio.sleep(29.8)
        at.post("WATCHDOG=1")
        await asked.wait()
        await trio.sleep(5)
        assert at.sub == states.RUNNING


async def test_without_a_keeper_nobody_is_judged(autojump_clock: MockClock) -> None:
    async with served(**INTERVAL) as at:
        at.bed.keeper.alive = False
        await trio.sleep(100)
        assert at.sub == states.RUNNING


async def test_one_that_is_being_stopped_is_not_hung(autojump_clock: MockClock) -> None:
    async with served(**INTERVAL, stop_timeout_usec=None) as at:
        at.run.ask_stop(None)
        await trio.sleep(100)
        assert at.sub == states.STOP_SIGTERM
