"""What the end of one job means for others: what is bound to it, its hooks, and jobd itself."""

from __future__ import annotations

import os
from typing import Any

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.core import records, states
from jobd.core import spec as specs
from tests.runtime.fakes import Bed, serving
from tests.runtime.jobs import Jobs


async def test_what_is_bound_stops_and_comes_back_where_the_other_does(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        jobs.make("db", restart="on-failure", restart_delay_usec=5_000_000)
        jobs.make("web", after=("db",), binds_to=("db",))
        jobs.make("side", requires=("db",))
        await wait_all_tasks_blocked()
        await jobs.end("db", 256)
        assert jobs.subs("db", "web", "side") == [states.AUTO_RESTART, states.STOP_SIGTERM, states.RUNNING]
        await jobs.end("web", 15)
        assert jobs.sub("web") == states.QUEUED
        await trio.sleep(6)
        await wait_all_tasks_blocked()
        assert jobs.subs("db", "web", "side") == [states.RUNNING, states.RUNNING, states.STOP_SIGTERM]
        await jobs.end("side", 15)
        assert jobs.sub("side") == states.RUNNING, "what requires it is restarted with it"
        await jobs.end("db", 0)
        await jobs.end("web", 15)
        assert jobs.subs("db", "web", "side") == [states.DEAD, states.DEAD, states.RUNNING]


async def test_hooks_start_at_rest_and_not_between_two_runs(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        for name in ("alert", "done"):
            jobs.make(name, type="oneshot")
            await wait_all_tasks_blocked()
            await jobs.end(name)
        hooks: dict[str, Any] = {"on_failure": ("alert", "gone"), "on_success": ("done",)}
        jobs.make("web", restart="on-failure", start_limit=(2, 10_000_000), restart_delay_usec=1000, **hooks)
        await wait_all_tasks_blocked()
        await jobs.end("web", 256)
        assert jobs.subs("web", "alert") == [states.AUTO_RESTART, states.DEAD]
        await trio.sleep(1)
        await jobs.end("web", 9)
        await trio.sleep(1)
        assert jobs.subs("web", "alert", "done") == [states.FAILED, states.START, states.DEAD]
        alert = jobs.world.jobs[0, "alert"].run
        assert alert is not None
        words = specs.decode_env(bed.store.blobs[alert.row.env])
        assert {
            b"A=1", b"MONITOR_SERVICE_RESULT=start-limit-hit", b"MONITOR_EXIT_CODE=killed", b"MONITOR_EXIT_STATUS=KILL",
            b"MONITOR_UNIT=web",
        } <= set(words)  # fmt: skip
        assert alert.row.cause == "on failure of web"
        await jobs.end("alert")
        jobs.start("web")
        await wait_all_tasks_blocked()
        await jobs.end("web", 256)
        await trio.sleep(1)
        await jobs.end("web", 256)
        await trio.sleep(1)
        alert = jobs.world.jobs[0, "alert"].run
        assert alert is not None
        words = specs.decode_env(bed.store.blobs[alert.row.env])
        assert [word for word in words if b"STATUS" in word] == [b"MONITOR_EXIT_STATUS=1"]
        jobs.start("web")
        await wait_all_tasks_blocked()
        jobs.restart("web")
        await jobs.end("web", 15)
        assert jobs.subs("web", "done") == [states.RUNNING, states.DEAD]
        jobs.stop("web")
        await jobs.end("web", 15)
        assert jobs.subs("web", "done") == [states.DEAD, states.START]
        jobs.check()


async def test_a_hook_is_in_the_transaction_of_the_end(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        jobs.make("alert", type="oneshot")
        await wait_all_tasks_blocked()
        await jobs.end("alert")
        web = jobs.make("web", on_failure=("alert",))
        await wait_all_tasks_blocked()
        bed.journal.held = []
        await jobs.end("web", 256)
        assert [bed.row(web).state, jobs.sub("alert")] == [records.FINISHED, states.START]
        assert len(bed.journal.held) == 1


@pytest.mark.parametrize(("owner", "shared", "ends"), [(0, True, True), (7, True, False), (7, False, True)])
async def test_an_essential_job_is_roots_or_ones_own(
    autojump_clock: MockClock, owner: int, shared: bool, ends: bool
) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        bed.keeper.shared = shared
        told: list[tuple[str, int]] = []
        jobs.world.on_essential = lambda job, status: told.append((job, status))
        run = jobs.make("web", owner, essential=True)
        await wait_all_tasks_blocked()
        bed.keeper.exited(run.id, 7 << 8)
        bed.pump.end(run.id)
        await wait_all_tasks_blocked()
        assert told == ([("web", 7)] if ends else [])


async def test_the_end_of_an_essential_job_is_found_by_the_next_daemon(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        told: list[tuple[str, int]] = []
        run = jobs.make("web", os.geteuid(), essential=True)
        await wait_all_tasks_blocked()
        bed.keeper.exited(run.id, 3 << 8)
        bed.pump.end(run.id)
        await wait_all_tasks_blocked()
        row = bed.store.jobs[os.geteuid(), "web"]
        jobs.world.on_essential = lambda job, status: told.append((job, status))
        jobs.world.aftermath.look_for_ends()
        assert told == [], "a transient one is not kept in mind"
        bed.store.jobs[os.geteuid(), "web"] = replace(row, transient=False, file="/web.toml")
        jobs.world.aftermath.look_for_ends()
        assert told == [("web", 3)]
        plain = jobs.make("plain", os.geteuid())
        await wait_all_tasks_blocked()
        bed.keeper.exited(plain.id, 0)
        bed.pump.end(plain.id)
        await wait_all_tasks_blocked()
        bed.store.jobs[os.geteuid(), "plain"] = replace(row, job="plain", latest=plain.id, transient=False)
        jobs.world.aftermath.look_for_ends()
        assert told == [("web", 3)] * 2, "it was none when it ran"
        bed.keeper.welcome = replace(bed.keeper.welcome, keeper="keeper-2")
        jobs.world.aftermath.look_for_ends()
        assert len(told) == 2, "it was another jobd's"
