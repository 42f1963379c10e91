"""Runs that wait for the live run of their own job, on doubles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.core import records, states
from jobd.core import spec as specs
from jobd.core.after import ANY, OK
from jobd.core.spec import JobSpec
from jobd.runtime.ending import end_unbegun
from jobd.runtime.recovery import recover
from jobd.runtime.singletons import Undecided
from jobd.runtime.submission import NO_TERMS, NameTaken
from tests.runtime.fakes import ROOT, WELCOME, Bed, serving
from tests.runtime.jobs import Jobs

if TYPE_CHECKING:
    from jobd.runtime.run import Run
    from jobd.runtime.submission import Terms


def single(jobs: Jobs, program: bytes, terms: Terms = NO_TERMS, **fields: object) -> Run:
    spec = JobSpec(argv=(program,), cwd=b"/", **fields)  # type: ignore[arg-type]  # a test's own words
    env = specs.encode_env([b"A=" + program])
    return jobs.world.submit(0, "one", jobs.id(), spec, env, ROOT, terms, singleton=True)


def program(jobs: Jobs) -> bytes:
    """What the job is now."""
    row = jobs.world.catalog.row(0, "one")
    assert row is not None
    return jobs.world.spec(row.spec).argv[0]


async def test_one_after_the_other_in_order_and_the_job_is_what_runs(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        first = single(jobs, b"first")
        await wait_all_tasks_blocked()
        second, third = single(jobs, b"second"), single(jobs, b"third", description="the third")
        await wait_all_tasks_blocked()
        assert [run.row.number for run in (first, second, third)] == [1, 2, 3]
        assert [run.row.state for run in (first, second, third)] == ["running", "queued", "queued"]
        assert (jobs.world.singletons.words(second), jobs.world.singletons.words(third)) == (
            "for one#1 to end",
            "for one#2 to end",
        )
        assert (jobs.sub("one"), program(jobs)) == ("running", b"first")
        jobs.check()
        await jobs.end("one", 256)
        assert [run.row.state for run in (first, second, third)] == ["finished", "running", "queued"]
        assert (jobs.sub("one"), program(jobs), second.job.run) == ("running", b"second", second)
        row = bed.store.jobs[0, "one"]
        assert (row.latest, row.result, row.runs) == (second.id, "success", 3)
        jobs.check()
        await jobs.end("one")
        await jobs.end("one")
        assert bed.row(third).result == "success"
        assert (bed.store.jobs[0, "one"].latest, jobs.world.runs, jobs.world.singletons.line(0, "one")) == (
            third.id,
            {},
            (),
        )
        assert single(jobs, b"fourth").row.number == 4
        jobs.check()


async def test_without_a_live_run_it_begins_at_once_and_without_the_word_it_is_refused(
    autojump_clock: MockClock,
) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        run = single(jobs, b"first")
        assert not run.row.in_line
        await wait_all_tasks_blocked()
        with pytest.raises(NameTaken):
            jobs.make("one")


async def test_whether_there_is_a_live_run_is_known_when_that_is_durable(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        bed.journal.held = []
        first = single(jobs, b"first")
        with pytest.raises(Undecided) as undecided:
            single(jobs, b"second")
        assert undecided.value.run is first


async def test_a_stop_ends_all_and_a_restart_lets_them_wait(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        first = single(jobs, b"first")
        await wait_all_tasks_blocked()
        second = single(jobs, b"second")
        third = jobs.behind("third", (second, OK))
        jobs.restart("one")
        await jobs.end("one", 15)
        again = jobs.world.jobs[0, "one"].run
        assert again is not None
        assert (again.row.number, program(jobs), second.row.state) == (3, b"first", "queued")
        assert first.gone
        jobs.stop("one")
        await wait_all_tasks_blocked()
        assert (bed.row(second).result, bed.row(second).stop_uid) == ("canceled", 0)
        assert bed.row(third).reason == "it waits for one#2 to succeed, which was canceled"
        await jobs.end("one", 15)
        assert jobs.sub("one") == states.DEAD
        assert not jobs.world.runs
        jobs.check()


async def test_it_waits_while_the_job_is_to_start_again_by_itself(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        single(jobs, b"first", restart="on-failure", restart_delay_usec=1_000_000)
        await wait_all_tasks_blocked()
        await jobs.end("one", 256)
        assert jobs.sub("one") == states.AUTO_RESTART
        second = single(jobs, b"second")
        while jobs.sub("one") != states.RUNNING:
            await jobs.world.jobs[0, "one"].changed.wait()
        assert second.row.state == "queued"
        await jobs.end("one")
        assert (second.row.state, jobs.world.jobs[0, "one"].row.restarts) == ("running", 0)
        jobs.check()


async def test_what_waits_for_others_besides_keeps_its_place_or_leaves_the_line(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        single(jobs, b"first")
        other, lost = jobs.make("other"), jobs.make("lost")
        await wait_all_tasks_blocked()
        second = single(jobs, b"second", {"after": f"{lost.id.hex()}:ok"})
        third = single(jobs, b"third", {"after": f"{other.id.hex()}:any"})
        await jobs.end("lost", 256)
        assert bed.row(second).result == "dependency"
        assert (jobs.sub("one"), jobs.world.singletons.words(third)) == (states.RUNNING, "for one#1 to end")
        await jobs.end("one")
        assert (jobs.sub("one"), third.row.in_line, third.row.state) == (states.QUEUED, False, "queued")
        fourth = single(jobs, b"fourth")
        assert jobs.world.singletons.words(fourth) == "for one#3 to end"
        await jobs.end("other")
        assert third.row.state == "running"
        jobs.check()


async def test_one_for_which_there_is_no_room_leaves_no_trace(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        single(jobs, b"first")
        await wait_all_tasks_blocked()
        bed.journal.held = []
        run = single(jobs, b"second")
        bed.journal.held.pop().settle(RuntimeError("no room"))
        await wait_all_tasks_blocked()
        assert run.id not in jobs.world.runs
        assert (jobs.sub("one"), jobs.world.jobs[0, "one"].row.runs) == (states.RUNNING, 1)
        assert not jobs.world.singletons.line(0, "one")


async def test_who_stands_behind_one_that_is_canceled_moves_up(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        runs = [single(jobs, b"first")]
        await wait_all_tasks_blocked()
        runs += [single(jobs, str(at).encode()) for at in range(4)]
        await wait_all_tasks_blocked()
        end_unbegun(runs[2], bed.registry, "canceled")
        end_unbegun(runs[1], bed.registry, "canceled")
        await wait_all_tasks_blocked()
        singletons = bed.registry.singletons
        assert [singletons.words(run) for run in runs] == ["", "", "", "for one#1 to end", "for one#4 to end"]
        await jobs.end("one")
        assert [run.row.state for run in runs[3:]] == ["running", "queued"]
        assert singletons.words(runs[4]) == "for one#4 to end"


async def test_killed_after_any_transaction_each_runs_once_and_in_order(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        snapshots = bed.journal.snapshots()
        single(jobs, b"first")
        await wait_all_tasks_blocked()
        second = single(jobs, b"second")
        single(jobs, b"third", {"after": f"{second.id.hex()}:{ANY}"})
        for _ in range(3):
            await jobs.end("one")
        blobs = bed.store.blobs
    for runs, rows in snapshots:
        again = Bed()
        again.store.runs, again.store.jobs, again.store.blobs = dict(runs), dict(rows), dict(blobs)
        again.keeper.welcome = replace(WELCOME, keeper="another")
        async with serving(again):
            await recover(again.registry)
            more = Jobs(again)
            for _ in range(3):
                await wait_all_tasks_blocked()
                if (0, "one") in again.registry.jobs:
                    await more.end("one")
            assert {row.state for row in again.store.runs.values()} == {records.FINISHED}
            began = sorted((row.started_at, row.number) for row in again.store.runs.values() if row.started_at)
            assert [number for _, number in began] == sorted(number for _, number in began)
            assert again.store.jobs[0, "one"].latest == max(again.store.runs.values(), key=lambda row: row.seq).run
            lost = [row for row in again.store.runs.values() if row.result == "lost"]
            assert len(lost) <= 1
            assert len(began) + len(lost) >= len(again.store.runs)


async def test_who_is_in_line_when_jobd_leaves_has_his_turn_when_it_is_back(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        single(jobs, b"first")
        await wait_all_tasks_blocked()
        second = single(jobs, b"second")
        jobs.world.stopping = True
        await jobs.end("one", 15)
        assert (jobs.sub("one"), bed.row(second).in_line) == (states.FAILED, True)
    again = Bed()
    again.store.runs, again.store.jobs, again.store.blobs = bed.store.runs, bed.store.jobs, bed.store.blobs
    again.keeper.welcome = replace(WELCOME, keeper="another")
    async with serving(again):
        await recover(again.registry)
        await wait_all_tasks_blocked()
        assert (again.row(second).state, again.store.jobs[0, "one"].sub) == ("running", states.RUNNING)
        assert again.store.jobs[0, "one"].latest == second.id
