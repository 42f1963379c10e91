"""Jobs that start again by themselves, on the autojump clock: exact times, and everything that can come in between."""

from __future__ import annotations

import random
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.core import records, restarts, states
from jobd.core.ids import new_run_id
from jobd.runtime import restarting, resting
from jobd.runtime.recovery import recover
from jobd.runtime.submission import NameTaken
from tests.runtime.fakes import ROOT, Bed, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from jobd.runtime.job import Value
    from jobd.runtime.run import Run

BEGIN = 1_700_000_000 * 10**9
KEY = (0, "job-1")


@pytest.fixture(autouse=True)
def _one_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock goes with trio's, and chance is even."""
    real = time.time_ns

    def now() -> int:
        try:
            return BEGIN + round(trio.current_time() * 10**9)
        except RuntimeError:
            return real()

    monkeypatch.setattr(time, "time_ns", now)
    monkeypatch.setattr(random, "random", lambda: 0.5)


async def ends(bed: Bed, run: Run, status: int = 1 << 8) -> None:
    bed.keeper.exited(run.id, status)
    bed.pump.end(run.id)
    await wait_all_tasks_blocked()


async def next_run(bed: Bed, after: Run | None, within: float = 10_000) -> Run:
    """The run that follows, once it runs."""
    with trio.fail_after(within):
        while True:
            job = bed.registry.jobs.get(KEY)
            assert job is not None
            if job.run is not None and job.run is not after and job.row.sub == states.RUNNING:
                return job.run
            await job.changed.wait()


@asynccontextmanager
async def service(**fields: object) -> AsyncIterator[tuple[Bed, Run]]:
    async with serving(Bed()) as bed:
        run = bed.submit(**{"restart": "always", **fields})
        await wait_all_tasks_blocked()
        yield bed, run


async def test_a_job_starts_again_with_growing_delays_and_an_hour_is_not_too_long(autojump_clock: MockClock) -> None:
    times = []
    async with service(start_limit=(0, 0), restart_delay_usec=10**6, restart_max_delay_usec=3600 * 10**6) as (bed, run):
        for _ in range(14):
            await ends(bed, run)
            begun = trio.current_time()
            assert bed.store.jobs[KEY].sub == states.AUTO_RESTART
            assert bed.store.jobs[KEY].active == "activating"
            assert bed.store.jobs[KEY].result == "exit-code"
            run = await next_run(bed, run)
            times.append(round(trio.current_time() - begun))
        assert times == [min(2**n, 3600) for n in range(14)]
        assert bed.store.jobs[KEY].restarts == 14
        assert (run.row.number, run.row.cause) == (15, "restart")
        assert bed.replayed().jobs == bed.store.jobs
        assert {run: row for (_, run), row in bed.replayed().runs.items()} == bed.store.runs


async def test_the_next_start_is_committed_with_the_end(autojump_clock: MockClock) -> None:
    async with service() as (bed, run):
        await ends(bed, run)
        event = next(e for e in bed.store.events if e.kind == "finished")
        assert event.data["job.restart_at"] == bed.store.jobs[KEY].restart_at == time.time_ns() + 100 * 10**6
        assert (event.data["job.sub"], event.data["result"]) == (states.AUTO_RESTART, "exit-code")


async def test_the_delays_begin_anew_after_a_healthy_while(autojump_clock: MockClock) -> None:
    async with service(start_limit=(0, 0), restart_max_delay_usec=10**6) as (bed, run):
        for _ in range(3):
            await ends(bed, run)
            run = await next_run(bed, run)
        await trio.sleep(10)
        await ends(bed, run)
        assert bed.store.jobs[KEY].restart_delay_usec == 100_000


async def test_a_job_that_exits_well_in_a_loop_is_stopped_by_its_start_limit(autojump_clock: MockClock) -> None:
    async with service(start_limit=(5, 10 * 10**6)) as (bed, run):
        for _ in range(4):
            await ends(bed, run, 0)
            run = await next_run(bed, run)
        await ends(bed, run, 0)
        with trio.fail_after(10):
            while KEY in bed.registry.jobs:
                await bed.registry.jobs[KEY].changed.wait()
                await wait_all_tasks_blocked()
        row = bed.store.jobs[KEY]
        assert (row.active, row.result, row.runs, row.restart_at) == ("failed", "start-limit-hit", 5, None)
        assert bed.store.events[-1].data["act.reason"] == "it was started 5 times within 10s"
        # Whoever starts it by hand may, and the counting begins anew.
        again = bed.registry.rerun(row, new_run_id(), ROOT)
        await wait_all_tasks_blocked()
        row = bed.store.jobs[KEY]
        assert (row.restarts, len(row.starts.split()), row.restart_delay_usec) == (0, 1, 0)
        await ends(bed, again, 0)
        assert bed.store.jobs[KEY].sub == states.AUTO_RESTART


async def test_a_stop_between_two_runs_brings_the_job_to_rest_at_once(autojump_clock: MockClock) -> None:
    async with service(restart_delay_usec=3600 * 10**6) as (bed, run):
        await ends(bed, run)
        begun = trio.current_time()
        await restarting.stop_job(bed.registry, KEY, ROOT)
        assert trio.current_time() == begun
        row = bed.store.jobs[KEY]
        assert (row.sub, row.result, row.restart_at) == (states.DEAD, "success", None)
        await trio.sleep(7200)
        assert bed.store.jobs[KEY].runs == 1
        assert bed.registry.jobs == {}


async def test_a_start_between_two_runs_starts_now_and_once(autojump_clock: MockClock) -> None:
    async with service(restart_delay_usec=3600 * 10**6) as (bed, run):
        await ends(bed, run)
        begun = trio.current_time()
        bed.registry.rerun(bed.registry.jobs[KEY].row, new_run_id(), ROOT)
        second = await next_run(bed, run)
        assert trio.current_time() == begun
        assert (second.row.cause, bed.store.jobs[KEY].restarts) == ("", 0)
        await trio.sleep(7200)
        assert bed.store.jobs[KEY].runs == 2


async def test_nobody_else_takes_the_name_between_two_runs(autojump_clock: MockClock) -> None:
    async with service(restart_delay_usec=3600 * 10**6) as (bed, run):
        await ends(bed, run)
        with pytest.raises(NameTaken):
            bed.registry.submit(0, "job-1", b"y" * 16, run.spec, b"\x90", ROOT)
        with pytest.raises(NameTaken):
            bed.registry.rerun(bed.row(run), b"y" * 16, ROOT)


@pytest.mark.parametrize("status", [0, 1 << 8, 15])
async def test_a_run_that_was_stopped_does_not_start_again(autojump_clock: MockClock, status: int) -> None:
    async with service() as (bed, run):
        run.ask_stop(ROOT)
        await wait_all_tasks_blocked()
        await ends(bed, run, status)
        assert (bed.store.jobs[KEY].active, bed.row(run).result) == ("inactive", "stopped")


async def test_somebody_who_stops_what_a_limit_stops_is_heard(autojump_clock: MockClock) -> None:
    async with service(runtime_usec=10**6) as (bed, run):
        await bed.keeper.until("signal term-1", within=2)
        assert run.ask_stop(ROOT) is not None
        assert run.ask_stop(ROOT) is None
        await ends(bed, run, 15)
        assert (bed.store.jobs[KEY].active, bed.row(run).result) == ("failed", "timeout")
    async with service(runtime_usec=10**6) as (bed, run):
        await bed.keeper.until("signal term-1", within=2)
        await ends(bed, run, 15)
        assert bed.store.jobs[KEY].sub == states.AUTO_RESTART


async def test_a_stop_while_the_rest_of_a_tree_is_stopped_keeps_the_job_from_starting_again(
    autojump_clock: MockClock,
) -> None:
    async with service() as (bed, run):
        bed.keeper.exited(run.id, 1 << 8, empty=False)
        await wait_all_tasks_blocked()
        assert run.job.row.sub == states.FINAL_SIGTERM
        run.ask_stop(ROOT)
        bed.keeper.say(run.id, "empty")
        bed.pump.end(run.id)
        await wait_all_tasks_blocked()
        assert (bed.store.jobs[KEY].active, bed.row(run).result) == ("failed", "exit-code")


async def test_a_failed_start_is_tried_again(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        bed.keeper.script["spawn"] = [("spawn-failed", {"step": "chdir", "errno": 2})]
        run = bed.submit(restart="on-failure", start_limit=(3, 10**8))
        await wait_all_tasks_blocked()
        assert bed.store.jobs[KEY].sub == states.AUTO_RESTART
        await trio.sleep(60)
        row = bed.store.jobs[KEY]
        assert (row.runs, row.result, row.active) == (3, "start-limit-hit", "failed")
        assert bed.row(run).result == "start-failed"


async def test_what_was_said_of_a_run_counts_for_more_than_the_policy(autojump_clock: MockClock) -> None:
    async with service(restart="no") as (bed, run):
        run.ask_stop(None, "watchdog", again=restarts.RESTART, reason="it does not answer")
        await wait_all_tasks_blocked()
        await ends(bed, run, 15)
        assert (bed.store.jobs[KEY].sub, bed.row(run).result) == (states.AUTO_RESTART, "watchdog")
        assert bed.row(run).reason == "it does not answer"


async def test_reset_failed_counts_the_starts_anew(autojump_clock: MockClock) -> None:
    async with service(start_limit=(2, 3600 * 10**6), restart_delay_usec=10**6) as (bed, run):
        await ends(bed, run)
        run = await next_run(bed, run)
        await resting.reset_failed(bed.registry, KEY, ROOT)
        assert (bed.store.jobs[KEY].restarts, bed.store.jobs[KEY].starts) == (0, "")
        for _ in range(2):
            await ends(bed, run)
            run = await next_run(bed, run)
        await ends(bed, run)
        await trio.sleep(60)
        assert bed.store.jobs[KEY].result == "start-limit-hit"
        await resting.reset_failed(bed.registry, KEY, ROOT)
        row = bed.store.jobs[KEY]
        assert (row.sub, row.result, row.starts) == (states.DEAD, "success", "")
        assert bed.registry.jobs == {}


@pytest.mark.parametrize(
    "change",
    [{"job.masked": True}, {"job.load": records.NOT_FOUND}, {"job.load": records.BAD_SETTING, "job.problem": "x:1"}],
)
async def test_what_may_not_be_started_does_not_start_again(
    autojump_clock: MockClock, change: dict[str, Value]
) -> None:
    async with service(restart_delay_usec=10**6) as (bed, run):
        await ends(bed, run)
        job = bed.registry.jobs[KEY]
        await job.note(None, "masked", ROOT, None, **change).wait()
        await trio.sleep(2)
        row = bed.store.jobs[KEY]
        assert (row.active, row.result, row.runs) == ("failed", "start-failed", 1)


async def test_a_full_disk_puts_the_next_start_off(autojump_clock: MockClock) -> None:
    async with service() as (bed, run):
        await ends(bed, run)
        bed.store.full = True
        await trio.sleep(60)
        assert bed.store.jobs[KEY].sub == states.AUTO_RESTART
        assert bed.keeper.ops("spawn") == ["spawn"] * 7  # the first, and one every ten seconds
        bed.store.full = False
        second = await next_run(bed, run, within=11)
        assert bed.row(second).number == 2


# --- a daemon that is killed ------------------------------------------------------------------------------------------
def successor(first: Bed) -> Bed:
    """A daemon on the same database."""
    second = Bed()
    second.store.__dict__.update(first.store.__dict__)
    return second


async def test_a_later_daemon_goes_on_where_the_backoff_was(autojump_clock: MockClock) -> None:
    async with service(restart_delay_usec=60 * 10**6) as (first, run):
        await ends(first, run)
        due = trio.current_time() + 60
        await trio.sleep(40)
    second = successor(first)
    async with serving(second):
        await recover(second.registry)
        again = await next_run(second, None)
        assert trio.current_time() == pytest.approx(due, abs=0.01)
        assert (again.row.number, again.row.cause) == (2, "restart")


@pytest.mark.parametrize(("step_sec", "waits_sec"), [(-86_400, 66), (86_400, 0)])
async def test_a_stepped_clock_makes_no_backoff_longer(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, step_sec: int, waits_sec: int
) -> None:
    async with service(restart_delay_usec=60 * 10**6, restart_max_delay_usec=60 * 10**6) as (first, run):
        await ends(first, run)
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + step_sec * 10**9)
    second = successor(first)
    async with serving(second):
        begun = trio.current_time()
        await recover(second.registry)
        await next_run(second, None)
        assert trio.current_time() - begun == pytest.approx(waits_sec, abs=0.01)


async def test_a_later_daemon_can_stop_a_job_between_two_runs(autojump_clock: MockClock) -> None:
    async with service(restart_delay_usec=60 * 10**6) as (first, run):
        await ends(first, run)
    second = successor(first)
    async with serving(second):
        await recover(second.registry)
        await wait_all_tasks_blocked()
        assert second.registry.jobs[KEY].run is None
        await restarting.stop_job(second.registry, KEY, ROOT)
        await trio.sleep(120)
        assert second.store.jobs[KEY].sub == states.DEAD
        assert second.registry.jobs == {}


async def test_a_lost_run_is_not_started_again(autojump_clock: MockClock) -> None:
    async with service() as (first, run):
        pass
    second = successor(first)  # with a keeper that does not know the run
    async with serving(second):
        await recover(second.registry)
        await wait_all_tasks_blocked()
        assert second.store.runs[run.id].result == "lost"
        assert second.store.jobs[KEY].active == "failed"


async def test_a_task_that_fails_has_the_daemon_replaced_once(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("planted")

    left = []
    monkeypatch.setattr(restarts, "may_start", fail)
    async with service() as (first, run):
        first.registry.on_crash = lambda: left.append(1)
        await ends(first, run)
        await trio.sleep(1)
        assert left == [1]
    second = successor(first)
    async with serving(second):
        second.registry.on_crash = lambda: left.append(2)
        await recover(second.registry)
        await trio.sleep(1)
        assert left == [1]
        assert second.registry.jobs[KEY].row.sub == states.AUTO_RESTART  # whoever starts or stops it may


# --- the end of jobd --------------------------------------------------------------------------------------------------
async def test_a_shutdown_starts_nothing_again(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        waits, runs, ends_itself = (bed.submit(restart="always", restart_delay_usec=10**6) for _ in range(3))
        await wait_all_tasks_blocked()
        await ends(bed, waits)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bed.registry.stop_all)
            await wait_all_tasks_blocked()
            await ends(bed, runs, 15)
            await ends(bed, ends_itself, 0)
        assert {row.sub for row in bed.store.jobs.values()} == {states.DEAD}
        await trio.sleep(10)
        assert {row.state for row in bed.store.runs.values()} == {records.FINISHED}
        assert len(bed.store.runs) == 3
