"""Jobs that depend on each other, on doubles: who waits for whom, what one end means for others, and what it costs."""

from __future__ import annotations

import time

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.core import states
from jobd.core.graph import Refusal
from jobd.core.policy import UserLimits
from jobd.runtime import together
from jobd.runtime.places import Places
from jobd.runtime.slots import LimitReached
from tests.runtime.fakes import Bed, serving
from tests.runtime.jobs import ACT, Jobs


async def test_a_run_begins_when_what_it_comes_after_is_up_and_ends_first(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        jobs.make("db", type="oneshot", remain_after_exit=True)
        jobs.make("web", after=("db",), requires=("db",))
        await wait_all_tasks_blocked()
        assert jobs.subs("db", "web") == [states.START, states.QUEUED]
        web = jobs.world.jobs[0, "web"].run
        assert web is not None
        assert jobs.world.ordering.waits(web) == "for db (start)"
        await jobs.end("db")
        assert jobs.subs("db", "web") == [states.EXITED, states.RUNNING]
        jobs.stop("db")
        await wait_all_tasks_blocked()
        assert jobs.subs("db", "web") == [states.EXITED, states.STOP_SIGTERM]
        assert jobs.world.ordering.waits(jobs.world.jobs[0, "db"].run) == "for web (stop-sigterm)"  # type: ignore[arg-type]
        await jobs.end("web", 15)
        assert jobs.subs("db", "web") == [states.DEAD, states.DEAD]
        jobs.check()


async def test_what_it_requires_fails_and_it_ends_at_once_though_others_go_on(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        jobs.make("slow", type="oneshot")
        jobs.make("db", type="oneshot")
        web = jobs.make("web", after=("slow", "db"), requires=("slow", "db"))
        app = jobs.make("app", after=("web",), binds_to=("web",))
        await wait_all_tasks_blocked()
        await jobs.end("db", 256)
        assert jobs.subs("slow", "web", "app") == [states.START, states.FAILED, states.FAILED]
        assert bed.row(web).result == bed.row(app).result == "dependency"
        assert bed.row(web).reason == "it requires db, which has failed (exit-code)"
        assert bed.row(app).reason == "it is bound to web, which has failed (dependency)"
        jobs.check()


async def test_what_it_is_bound_to_ends_while_it_waits_for_its_place(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        bed.keeper.script["go"] = []
        db = jobs.make("db")
        await wait_all_tasks_blocked()
        web = jobs.make("web", after=("db",), binds_to=("db",))
        jobs.world.launching = Places(each=1, count=1)
        async with jobs.world.launching.place(0):
            bed.keeper.say(db.id, "execd")
            await wait_all_tasks_blocked()
            await jobs.end("db")
            assert jobs.subs("db", "web") == [states.DEAD, states.QUEUED]
        await wait_all_tasks_blocked()
        assert bed.row(web).result == "dependency"
        assert bed.keeper.ops("spawn") == ["spawn"]


async def test_an_order_without_a_requirement_does_not_care_how_it_ends(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        jobs.make("db", type="oneshot")
        jobs.make("web", after=("db", "gone"), wants=("db", "gone"))
        await wait_all_tasks_blocked()
        assert jobs.sub("web") == states.QUEUED
        await jobs.end("db", 256)
        assert jobs.subs("db", "web") == [states.FAILED, states.RUNNING]


async def test_a_requirement_without_an_order_is_not_waited_for(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        jobs.make("db", type="oneshot")
        jobs.make("web", requires=("db",))
        await wait_all_tasks_blocked()
        assert jobs.subs("db", "web") == [states.START, states.RUNNING]
        await jobs.end("db", 256)
        assert jobs.sub("web") == states.RUNNING, "it runs already"


async def test_a_start_of_what_runs_starts_what_it_requires_again(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        jobs.make("db")
        web = jobs.make("web", after=("db",), requires=("db",))
        await wait_all_tasks_blocked()
        await jobs.end("db", 256)
        assert jobs.subs("db", "web") == [states.FAILED, states.RUNNING]
        assert not jobs.start("web")
        await wait_all_tasks_blocked()
        assert jobs.subs("db", "web") == [states.RUNNING, states.RUNNING]
        assert jobs.world.jobs[0, "web"].run is web


async def test_a_limit_of_running_jobs_does_not_lock_out_what_is_waited_for(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        jobs.world.limits = lambda: UserLimits(running=2)
        for name in ("db", "w1", "w2", "w3"):
            jobs.make(name, 7, type="oneshot", **({} if name == "db" else {"after": ("db",), "requires": ("db",)}))
        await wait_all_tasks_blocked()
        db = jobs.world.jobs[7, "db"].run
        assert db is not None
        together.restart(jobs.world, 7, {"db": jobs.id()}, ACT)
        await wait_all_tasks_blocked()
        bed.keeper.exited(db.id, 15)
        bed.pump.end(db.id)
        await wait_all_tasks_blocked()
        again = jobs.world.jobs[7, "db"].run
        assert again is not None
        assert again.job.row.sub == states.START, "those that wait for it have no slot"
        bed.keeper.exited(again.id, 0)
        bed.pump.end(again.id)
        await wait_all_tasks_blocked()
        assert sorted(jobs.world.jobs[7, name].row.sub for name in ("w1", "w2", "w3")) == ["queued", "start", "start"]


async def test_a_restart_is_begun_by_the_end_of_the_run_and_committed_with_it(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        db = jobs.make("db")
        jobs.make("web", after=("db",), requires=("db",))
        await wait_all_tasks_blocked()
        jobs.restart("db")
        await wait_all_tasks_blocked()
        assert jobs.subs("db", "web") == [states.RUNNING, states.STOP_SIGTERM], "the one that comes after it is first"
        assert bed.row(db).next_run is not None
        await jobs.end("web", 15)
        assert jobs.subs("db", "web") == [states.STOP_SIGTERM, states.QUEUED]
        await jobs.end("db", 15)
        assert jobs.subs("db", "web") == [states.RUNNING, states.RUNNING]
        run = jobs.world.jobs[0, "db"].run
        assert run is not None
        assert (run.id, run.row.by_uid, run.row.cause) == (bed.row(db).next_run, 0, "")
        web = jobs.world.jobs[0, "web"].run
        assert web is not None
        assert web.row.cause == "restarted with db"
        jobs.check()


async def test_a_stop_takes_a_restart_back(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        jobs.make("db")
        await wait_all_tasks_blocked()
        jobs.restart("db")
        jobs.stop("db")
        await jobs.end("db", 15)
        assert jobs.sub("db") == states.DEAD


async def test_a_start_of_what_is_being_stopped_comes_after_the_stop(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        jobs.make("db")
        await wait_all_tasks_blocked()
        jobs.stop("db")
        jobs.start("db")
        jobs.start("db")
        await jobs.end("db", 15)
        assert jobs.sub("db") == states.RUNNING
        assert len(bed.store.runs) == 2


async def test_a_conflict_goes_both_ways(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        jobs.make("a")
        await wait_all_tasks_blocked()
        jobs.make("b", conflicts=("a",))
        await wait_all_tasks_blocked()
        assert jobs.subs("a", "b") == [states.STOP_SIGTERM, states.QUEUED]
        await jobs.end("a", 15)
        assert jobs.subs("a", "b") == [states.DEAD, states.RUNNING]
        jobs.start("a")
        await wait_all_tasks_blocked()
        assert jobs.subs("a", "b") == [states.QUEUED, states.STOP_SIGTERM]


async def test_what_waits_goes_on_waiting_while_what_it_requires_starts_again(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        limit = (2, 3600 * 10**6)
        jobs.make("db", type="oneshot", restart="on-failure", restart_delay_usec=10**6, start_limit=limit)
        worker = jobs.make("worker", after=("db",), binds_to=("db",))
        web = jobs.make("web", after=("worker",), requires=("worker",))
        await wait_all_tasks_blocked()
        await jobs.end("db", 256)
        assert jobs.subs("db", "worker", "web") == [states.AUTO_RESTART, states.QUEUED, states.QUEUED]
        await trio.sleep(2)
        assert jobs.subs("db", "worker", "web") == [states.START, states.QUEUED, states.QUEUED]
        assert (bed.row(worker).stop_asked, bed.row(web).stop_asked) == ("", "")
        await jobs.end("db", 256)
        await trio.sleep(3)  # its second delay is 2 s, a tenth more or less
        assert (bed.row(worker).result, bed.row(web).result) == ("dependency", "dependency")
        assert bed.row(worker).reason == "it is bound to db, which has failed (start-limit-hit)"
        jobs.check()


async def test_two_that_start_again_do_not_stop_each_other(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        jobs.make("db", restart="always", restart_delay_usec=10**6)
        jobs.make("web", after=("db",), requires=("db",), restart="always", restart_delay_usec=60 * 10**6)
        await wait_all_tasks_blocked()
        await jobs.end("web", 256)
        await jobs.end("db", 256)
        await trio.sleep(2)
        assert jobs.subs("db", "web") == [states.RUNNING, states.AUTO_RESTART]
        await trio.sleep(120)
        assert jobs.subs("db", "web") == [states.RUNNING, states.RUNNING]


async def test_of_a_transient_job_at_rest_nothing_is_kept(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        jobs.make("db")
        jobs.make("web", after=("db",), requires=("db",))
        await wait_all_tasks_blocked()
        graph = jobs.world.catalog.graphs.of(0)
        assert "web" in graph
        jobs.stop("db")
        await jobs.end("web", 15)
        await jobs.end("db", 15)
        assert (len(graph), graph.is_alone("db")) == (0, True)
        assert not jobs.start("web")
        await wait_all_tasks_blocked()
        assert jobs.subs("db", "web") == [states.RUNNING, states.RUNNING]


async def test_what_cannot_be_had_changes_nothing(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        jobs.make("a")
        await wait_all_tasks_blocked()
        before = len(bed.store.events)
        with pytest.raises(Refusal, match="it requires gone, which does not exist"):
            jobs.make("b", requires=("gone",), conflicts=("a",))
        assert len(bed.store.events) == before
        assert jobs.world.catalog.graphs.of(0).is_alone("a")


async def test_who_does_not_begin_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        jobs.make("db", 7, type="oneshot")
        await wait_all_tasks_blocked()
        for _ in range(3):
            jobs.make("web", 7, after=("db",))
            await wait_all_tasks_blocked()
            together.stop(jobs.world, 7, ["web"], ACT.by)
            await wait_all_tasks_blocked()
        assert not jobs.world.ordering._waiting
        jobs.world.limits = lambda: UserLimits(running=1, queued=0)
        graph = jobs.world.catalog.graphs.of(7)
        with pytest.raises(LimitReached):
            jobs.make("more", 7, after=("db",))
        assert "more" not in graph
        assert graph.named_by("db", "after") == ()


async def test_five_hundred_that_wait_for_each_other_cost_no_more_than_their_edges(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        count = 500
        jobs.make("hub", type="oneshot", remain_after_exit=True)
        for at in range(count):
            jobs.make(f"leaf-{at}", type="oneshot", after=("hub",), requires=("hub",))
        leaves = tuple(f"leaf-{at}" for at in range(count))
        jobs.make("top", after=leaves, requires=leaves)
        asked = 0
        before = jobs.world.ordering.before

        def counted(owner: int, name: str) -> str:
            nonlocal asked
            asked += 1
            return before(owner, name)

        jobs.world.ordering.before = counted  # type: ignore[method-assign]
        began = time.perf_counter()
        await jobs.end("hub")
        for name in leaves:
            run = jobs.world.jobs[0, name].run
            assert run is not None
            bed.keeper.exited(run.id, 0)
        await wait_all_tasks_blocked()
        assert jobs.sub("top") == states.RUNNING
        assert asked < 6 * count
        assert time.perf_counter() - began < 5
