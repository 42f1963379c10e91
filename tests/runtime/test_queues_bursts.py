"""Runs in queues between their turn and their process: what calls them back, on doubles."""

from __future__ import annotations

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.core.records import OPEN, PAUSED
from jobd.runtime import holding
from tests.runtime.fakes import ROOT, serving
from tests.runtime.jobs import Jobs
from tests.runtime.test_queues import KEY, queued, states


@pytest.mark.parametrize(("change", "left"), [({"state": PAUSED}, 16), ({"slots": 20}, 20)])
async def test_what_waits_for_a_place_between_fork_and_exec_waits_in_line_again(
    change: dict[str, object], left: int
) -> None:
    """All have slots, and a few at a time are begun: a queue that is paused then, or smaller, begins no more."""
    async with serving(queued(0)) as bed:
        runs = [bed.submit(queue="q") for _ in range(40)]
        spawned = bed.keeper.script.pop("spawn")
        bed.registry.queues.set(KEY, ROOT, slots=None)
        await wait_all_tasks_blocked()
        assert states(*runs) == ["starting"] * 16 + ["queued"] * 24
        bed.registry.queues.set(KEY, ROOT, **change)  # type: ignore[arg-type]  # a test's own words
        assert bed.registry.slots.board.used(KEY) == left
        assert all(run.wake.parked for run in runs[left:])
        bed.keeper.script["spawn"] = spawned
        for run in runs[:16]:
            bed.keeper.say(run.id, "spawned", **spawned[0][1])
        await wait_all_tasks_blocked()
        assert states(*runs) == ["running"] * left + ["queued"] * (40 - left)
        bed.registry.queues.set(KEY, ROOT, state=OPEN, slots=None)
        await wait_all_tasks_blocked()
        assert states(*runs) == ["running"] * 40
        begun = [event.run for event in bed.store.events if event.kind == "starting"]
        assert begun == [run.id for run in runs]


async def test_what_was_held_and_canceled_before_its_place_came_does_not_run() -> None:
    async with serving(queued(None)) as bed:
        spawned = bed.keeper.script.pop("spawn")
        for _ in range(16):
            bed.submit()
        run = bed.submit(queue="q", terms={"held": True})
        run.wake.set()  # so that it has a task
        await wait_all_tasks_blocked()
        holding.release(bed.registry, run, ROOT)
        await wait_all_tasks_blocked()
        assert (run.slot, run.row.state) == (True, "queued")
        holding.hold(bed.registry, run, ROOT)
        holding.cancel(bed.registry, run, ROOT)
        assert run.row.result == "canceled"
        for other in list(bed.registry.runs):
            bed.keeper.say(other, "spawned", **spawned[0][1])
        await wait_all_tasks_blocked()
        assert len(bed.keeper.ops("spawn")) == 16
        assert run.gone


async def test_who_has_his_turn_and_waits_for_another_job_gives_it_to_that(autojump_clock: MockClock) -> None:
    async with serving(queued()) as bed:
        jobs = Jobs(bed)
        first = jobs.make("first", queue="q")
        web = jobs.make("web", queue="q", after=("db",))
        db = jobs.make("db", queue="q", type="oneshot")
        await wait_all_tasks_blocked()
        assert states(first, web, db) == ["running", "queued", "queued"]
        await jobs.end("first")
        assert states(web, db) == ["queued", "starting"]
        await jobs.end("db")
        assert states(web) == ["running"]
        jobs.check()
