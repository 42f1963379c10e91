"""Runs that wait for the end of others, on doubles: what each end decides, and what a new daemon makes of it."""

from __future__ import annotations

import time

import pytest
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.core import after, records
from jobd.core import spec as specs
from jobd.core.after import ANY, FAILED, OK, Need
from jobd.core.policy import UserLimits
from jobd.core.spec import JobSpec
from jobd.runtime import together
from jobd.runtime import waiting as module
from jobd.runtime.recovery import recover
from jobd.runtime.slots import LimitReached
from tests.runtime.fakes import ROOT, WELCOME, Bed, serving
from tests.runtime.jobs import Jobs


@pytest.mark.parametrize(
    ("status", "begins"),
    [(0, {OK: True, FAILED: False, ANY: True}), (256, {OK: False, FAILED: True, ANY: True})],
)
async def test_an_end_lets_begin_or_ends_for_good(
    autojump_clock: MockClock, status: int, begins: dict[str, bool]
) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        first = jobs.make("first")
        waiting = {condition: jobs.behind(condition, (first, condition)) for condition in begins}
        await wait_all_tasks_blocked()
        assert {run.row.state for run in waiting.values()} == {"queued"}
        assert jobs.world.waiting.words(waiting[OK].row) == "for first to succeed"
        await jobs.end("first", status)
        for condition, run in waiting.items():
            row = bed.row(run)
            assert (row.state, row.result) == (("running", None) if begins[condition] else ("finished", "dependency"))
            assert run.gone is not begins[condition]
        never = bed.row(waiting[FAILED if status == 0 else OK]).reason
        how = "fail, which has succeeded" if status == 0 else "succeed, which has failed (exit-code)"
        assert never == f"it waits for first to {how}"
        jobs.check()


async def test_it_waits_for_all_of_them_and_for_none_that_has_ended_so_already(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        done, one, two = jobs.make("done"), jobs.make("one"), jobs.make("two")
        await wait_all_tasks_blocked()
        await jobs.end("done")
        run = jobs.behind("last", (done, OK), (one, OK), (two, ANY))
        await jobs.end("two", 256)
        assert run.row.state == "queued"
        assert run.row.after == f"{one.id.hex()}:ok"
        await jobs.end("one")
        assert (run.row.state, run.row.after) == ("running", "")
        jobs.check()


async def test_what_can_never_begin_is_accepted_and_ends_in_the_same_transaction(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        failed = jobs.make("failed")
        await wait_all_tasks_blocked()
        await jobs.end("failed", 256)
        bed.journal.held = []
        run = jobs.behind("never", (failed, OK))
        assert len(bed.journal.held) == 1
        assert (run.row.state, run.row.result) == ("finished", "dependency")
        bed.journal.held[0].settle(None)
        await wait_all_tasks_blocked()
        assert run.gone
        assert not jobs.world.runs
        assert "spawn" not in bed.keeper.ops()[2:]
        jobs.check()


async def test_a_long_chain_falls_at_once_and_without_recursion(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        last = first = jobs.make("first")
        runs = [first]
        for n in range(500):
            last = jobs.behind(f"link-{n}", (last, OK))
            runs.append(last)
        await wait_all_tasks_blocked()
        transactions = len(bed.store.events)
        began = time.perf_counter()
        await jobs.end("first", 256)
        assert time.perf_counter() - began < 5  # 0.05 s here
        assert {run.row.result for run in runs[1:]} == {"dependency"}
        assert runs[2].row.reason == "it waits for link-0 to succeed, which could not begin either"
        assert len(bed.store.events) - transactions < 2 * len(runs)
        assert not jobs.world.runs
        jobs.check()


async def test_the_run_of_a_job_that_starts_again_by_itself_is_followed(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        first = jobs.make("first", restart="on-failure", restart_delay_usec=5_000_000)
        run, end = jobs.behind("last", (first, OK)), jobs.behind("end", (first, ANY))
        await wait_all_tasks_blocked()
        await jobs.end("first", 256)
        assert [run.row.state, end.row.state] == ["queued", "queued"]
        late = jobs.behind("late", (first, OK))  # between the two
        while jobs.sub("first") != "running":
            await jobs.world.jobs[0, "first"].changed.wait()
        again = jobs.world.jobs[0, "first"].run
        assert again is not None
        assert run.row.after == late.row.after == f"{again.id.hex()}:ok"
        assert jobs.world.waiting.words(run.row) == "for first#2 to succeed"
        await jobs.end("first")
        assert {each.row.state for each in (run, end, late)} == {"running"}
        jobs.check()


async def test_what_was_to_start_again_is_stopped_between_its_runs(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        first = jobs.make("first", restart="on-failure", restart_delay_usec=5_000_000)
        run, cleanup = jobs.behind("last", (first, OK)), jobs.behind("cleanup", (first, FAILED))
        await wait_all_tasks_blocked()
        await jobs.end("first", 256)
        jobs.stop("first")
        await wait_all_tasks_blocked()
        assert bed.row(run).result == "dependency"
        assert cleanup.row.state == "running"
        jobs.check()


async def test_a_run_that_somebody_replaces_is_followed_and_one_that_is_stopped_is_not(
    autojump_clock: MockClock,
) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        first = jobs.make("first")
        run = jobs.behind("last", (first, OK))
        await wait_all_tasks_blocked()
        jobs.restart("first")
        await jobs.end("first", 15)
        again = jobs.world.jobs[0, "first"].run
        assert again is not None
        assert again is not first
        assert run.row.after == f"{again.id.hex()}:ok"
        jobs.stop("first")
        await wait_all_tasks_blocked()
        await jobs.end("first", 15)
        assert bed.row(run).reason == "it waits for first#2 to succeed, which was stopped"
        jobs.check()


async def test_a_waiting_run_that_is_stopped_ends_what_waits_for_it(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        first = jobs.make("first")
        second = jobs.behind("second", (first, OK))
        third, fourth = jobs.behind("third", (second, OK)), jobs.behind("fourth", (second, ANY), (first, ANY))
        await wait_all_tasks_blocked()
        jobs.stop("second")
        await wait_all_tasks_blocked()
        assert (bed.row(second).result, bed.row(second).stop_uid) == ("canceled", ROOT.uid)
        assert bed.row(third).reason == "it waits for second to succeed, which was canceled"
        assert fourth.row.after == f"{first.id.hex()}:any"
        await jobs.end("first")
        assert fourth.row.state == "running"
        jobs.check()


async def test_one_that_could_not_be_accepted_is_waited_for_by_nobody(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        bed.journal.held = []
        first = jobs.make("first")
        run = jobs.behind("last", (first, OK))
        accepted, later = bed.journal.held
        accepted.settle(RuntimeError("no room"))
        later.settle(None)
        await wait_all_tasks_blocked()
        assert run.row.reason.endswith("which is known no more")


@pytest.mark.parametrize("step", [1, 128])
async def test_killed_after_any_transaction_the_next_daemon_decides_what_this_one_had_not(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(module, "STEP", step)
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        snapshots = bed.journal.snapshots()
        first, second = jobs.make("first"), jobs.make("second")
        jobs.behind("both", (first, OK), (second, ANY))
        third = jobs.behind("third", (second, OK))
        jobs.behind("fourth", (third, OK), (first, OK))
        jobs.behind("fifth", (third, FAILED))
        await wait_all_tasks_blocked()
        await jobs.end("first")
        await jobs.end("second", 256)
        for name in ("both", "fifth"):
            await jobs.end(name)
    assert len(snapshots) >= 12
    for runs, rows in snapshots:
        again = Bed()
        again.store.runs, again.store.jobs, again.store.blobs = dict(runs), dict(rows), bed.store.blobs
        again.keeper.welcome = replace(WELCOME, keeper="another")
        async with serving(again):
            await recover(again.registry)
            await wait_all_tasks_blocked()
            for row in again.store.runs.values():
                needs = after.decode(row.after, 0)
                if row.state == records.QUEUED:
                    assert all(again.store.runs[need.run].state != records.FINISHED for need in needs)
                elif row.state != records.FINISHED:
                    assert not needs
                if row.run in runs and runs[row.run].state == records.FINISHED:
                    assert row.result == runs[row.run].result


async def test_what_ended_unseen_and_is_gone_by_now_was_no_success(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        first = jobs.make("first")
        jobs.behind("ok", (first, OK))
        jobs.behind("any", (first, ANY))
        await wait_all_tasks_blocked()
    again = Bed()
    again.store.runs = {run: row for run, row in bed.store.runs.items() if run != first.id}
    again.store.jobs, again.store.blobs = bed.store.jobs, bed.store.blobs
    async with serving(again):
        await recover(again.registry)
        await wait_all_tasks_blocked()
        found = {row.job: (row.state, row.result) for row in again.store.runs.values()}
        assert found == {"ok": ("finished", "dependency"), "any": ("running", None)}
        assert again.store.jobs[0, "ok"].sub == "failed"


@pytest.mark.parametrize(
    ("statuses", "begins"), [((0, 0), "oa"), ((0, 256), "fa"), ((256, 256), "fa")], ids=["well", "one-badly", "badly"]
)
async def test_an_array_has_ended_when_all_of_its_elements_have(
    autojump_clock: MockClock, statuses: tuple[int, ...], begins: str
) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        spec = JobSpec(argv=(b"true",), cwd=b"/", array="0-1")
        base = bytes(8) + b"\x80" + bytes(7)
        jobs.world.arrays.submit(0, "all", base, spec, specs.encode_env([]), ROOT, {})
        await wait_all_tasks_blocked()
        waiting = {condition[0]: jobs.after(condition, Need(0, base, condition)) for condition in (OK, FAILED, ANY)}
        assert jobs.world.waiting.words(waiting["o"].row) == "for all to succeed"
        await jobs.end("all@0", statuses[0])
        assert {run.row.state for run in waiting.values()} == {"queued"}
        await jobs.end("all@1", statuses[1])
        assert "".join(word for word, run in waiting.items() if run.row.state == "running") == begins
        late = jobs.after("late", Need(0, base, OK))
        await wait_all_tasks_blocked()
        assert late.row.state == ("running" if "o" in begins else "finished")
        jobs.check()


async def test_the_elements_of_an_array_that_can_never_begin_end_with_it(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        first = jobs.make("first")
        await wait_all_tasks_blocked()
        spec = JobSpec(argv=(b"true",), cwd=b"/", array="0-60")
        base = bytes(8) + b"\x80" + bytes(7)
        jobs.world.arrays.submit(0, "all", base, spec, specs.encode_env([]), ROOT, {"after": f"{first.id.hex()}:ok"})
        await jobs.end("first", 256)
        await wait_all_tasks_blocked()
        assert (bed.store.jobs[0, "all"].sub, bed.store.jobs[0, "all"].array_ended) == ("failed", "dependency=61")
        assert not jobs.world.runs
        jobs.check()


async def test_thousands_are_told_of_an_end_while_others_have_their_turns(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        first = jobs.make("first")
        waiting = [jobs.behind(f"n-{n}", (first, OK)) for n in range(3 * module.STEP)]
        await wait_all_tasks_blocked()
        bed.journal.held = []
        bed.keeper.exited(first.id, 256)
        await wait_all_tasks_blocked()
        ended = [run for run in waiting if run.row.result == "dependency"]
        assert ended == waiting[: 2 * module.STEP]  # the first with the end; the rest when these are durable
        canceled = waiting[-1]
        jobs.stop(canceled.row.job)
        while bed.journal.held:
            for commit in bed.journal.held[:]:
                bed.journal.held.remove(commit)
                commit.settle(None)
            await wait_all_tasks_blocked()
        assert {run.row.result for run in waiting[:-1]} == {"dependency"}
        assert canceled.row.result == "canceled"
        jobs.check()


async def test_a_users_runs_wait_for_so_many_others_altogether(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        jobs.world.limits = lambda: UserLimits(queued=2)
        waiting = jobs.world.waiting
        others = [jobs.make(f"other-{n}") for n in range(5)]
        first = jobs.submit("first", 5, {"after": " ".join(f"0/{run.id.hex()}:any" for run in others)}, {})
        with pytest.raises(LimitReached, match="those of uid 5 wait for 5 others, of the 8 that a user's may"):
            waiting.check_room(5, 4)
        waiting.check_room(5, 3)
        waiting.check_room(0, 4)
        await wait_all_tasks_blocked()
        await jobs.end("other-0")
        waiting.check_room(5, 4)
        together.stop(jobs.world, 5, ["first"], None)
        await wait_all_tasks_blocked()
        assert first.row.result == "canceled"
        waiting.check_room(5, 8)
        assert not waiting._by
        assert not waiting._counts


async def test_when_they_have_ended_it_waits_for_the_jobs_that_it_comes_after(autojump_clock: MockClock) -> None:
    """That are under way only since it was accepted: nobody walked it until then."""
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        first = jobs.make("first")
        run = jobs.behind("last", (first, OK), after=("db",))
        await wait_all_tasks_blocked()
        assert run.wake.parked
        spawned = bed.keeper.script.pop("spawn")
        db = jobs.make("db")
        await jobs.end("first")
        assert (run.row.after, run.row.state) == ("", "queued")
        bed.keeper.say(db.id, "spawned", **spawned[0][1])
        bed.keeper.script["spawn"] = spawned
        await wait_all_tasks_blocked()
        assert (db.row.state, run.row.state) == ("running", "running")
        jobs.check()
