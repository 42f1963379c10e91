"""What a new daemon makes of its predecessor's runs, from the database and what the keeper holds."""

from __future__ import annotations

import os

import pytest
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.core import states
from jobd.core.records import NOT_FOUND, UNDEFINED, Event, apply_job
from jobd.runtime import together
from jobd.runtime.recovery import recover
from tests.runtime.fakes import ROOT, WELCOME, Bed, serving


async def killed_and_recovered(first: Bed, **entry: object) -> Bed:
    """A new daemon on the first one's database; the keeper holds `entry` (nothing if empty)."""
    second = Bed()
    second.store = first.store
    second.journal.store = first.store
    second.registry.store = first.store  # type: ignore[assignment]  # a double
    if entry:
        fields: dict[str, object] = {
            "run": (1).to_bytes(16, "big"), "pid": 77, "start": 1, "went": True, "execd": True, "step": "", "errno": 0,
            "exit": None, "empty": False, "tracking": "process", "cgroup": "", "merge": False, "ops": [],
            "label": {"owner": 0, "job": "job-1", "number": 1}, "fds": [],
        }  # fmt: skip
        second.keeper.entries = [({**fields, **entry}, {})]
    return second


async def test_a_run_that_never_went_is_started_once_more(autojump_clock: MockClock) -> None:
    first = Bed()
    async with serving(first):
        first.keeper.script = {}
        run = first.submit()
        await wait_all_tasks_blocked()
    second = await killed_and_recovered(first)
    async with serving(second):
        await recover(second.registry)
        await wait_all_tasks_blocked()
        assert second.keeper.ops() == ["list", "spawn", "go"]
        assert second.row(run).state == "running"


async def test_a_run_that_may_have_gone_under_a_dead_keeper_is_lost(autojump_clock: MockClock) -> None:
    first = Bed()
    async with serving(first):
        first.keeper.script = {}
        run = first.submit()
        await wait_all_tasks_blocked()
    second = await killed_and_recovered(first)
    second.keeper.welcome = replace(WELCOME, keeper="keeper-2")
    async with serving(second):
        await recover(second.registry)
        assert second.row(run).result == "lost"
        assert second.keeper.ops() == ["list", "ack"]


async def test_what_was_to_follow_a_run_that_is_lost_begins(autojump_clock: MockClock) -> None:
    first = Bed()
    async with serving(first):
        run = first.submit()
        await wait_all_tasks_blocked()
        together.restart(first.registry, 0, {"job-1": b"n" * 16}, together.Act(ROOT))
        await wait_all_tasks_blocked()
    second = await killed_and_recovered(first)
    second.keeper.welcome = replace(WELCOME, keeper="keeper-2")
    async with serving(second):
        await recover(second.registry)
        await wait_all_tasks_blocked()
        assert (second.row(run).result, second.store.runs[b"n" * 16].state) == ("lost", "running")
        assert list(second.registry.runs) == [b"n" * 16]


async def test_a_job_that_remained_and_has_no_file_any_more_goes_after_a_reboot(autojump_clock: MockClock) -> None:
    first = Bed()
    async with serving(first):
        run = first.submit(type="oneshot", remain_after_exit=True)
        await wait_all_tasks_blocked()
        first.keeper.exited(run.id, 0)
        first.pump.end(run.id)
        await wait_all_tasks_blocked()
        gone = replace(run.job.row, transient=False, load=NOT_FOUND)
        first.registry.catalog.write(gone, UNDEFINED, ROOT)
        assert run.job.row.sub == states.EXITED
    second = await killed_and_recovered(first)
    second.keeper.welcome = replace(WELCOME, keeper="keeper-2", boot_id="boot-2")
    async with serving(second):
        await recover(second.registry)
        assert second.row(run).result == "success"
        assert not second.store.jobs


@pytest.mark.parametrize(("boot", "ends"), [("boot-1", ["failed", "failed"]), ("boot-2", ["start", "queued"])])
async def test_what_a_queued_run_requires_is_lost(autojump_clock: MockClock, boot: str, ends: list[str]) -> None:
    first = Bed()
    async with serving(first):
        db = first.submit(type="oneshot")
        web = first.submit(after=("job-1",), requires=("job-1",))
        await wait_all_tasks_blocked()
    second = await killed_and_recovered(first)
    second.keeper.welcome = replace(WELCOME, keeper="keeper-2", boot_id=boot)
    async with serving(second):
        await recover(second.registry)
        await wait_all_tasks_blocked()
        assert second.row(db).result == "lost"
        assert [second.store.jobs[0, run.row.job].sub for run in (db, web)] == ends


async def test_an_exit_that_came_while_the_daemon_was_away_is_recorded(autojump_clock: MockClock) -> None:
    first = Bed()
    async with serving(first):
        run = first.submit()
        await wait_all_tasks_blocked()
    ending = {"status": 5 << 8, "rusage": [1, 2, 3], "at": 9}
    second = await killed_and_recovered(first, exit=ending, empty=True)
    async with serving(second):
        await recover(second.registry)
        await wait_all_tasks_blocked()
        assert (second.row(run).result, second.row(run).exit_code, second.row(run).exited_at) == ("exit-code", 5, 9)
        assert second.keeper.ops() == ["list", "ack"]


async def test_a_stop_asked_for_before_the_kill_is_carried_out(autojump_clock: MockClock) -> None:
    first = Bed()
    async with serving(first):
        run = first.submit()
        await wait_all_tasks_blocked()
        run.ask_stop(ROOT)
    second = await killed_and_recovered(first, ops=["term-1"])
    async with serving(second):
        await recover(second.registry)
        await wait_all_tasks_blocked()
        assert second.keeper.ops("signal") == ["signal term-1"]  # the keeper knows that it is done
        second.keeper.exited(run.id, 15)
        await wait_all_tasks_blocked()
        assert second.row(run).result == "stopped"


async def test_who_waits_for_a_run_that_had_ended_before_the_kill_is_told(autojump_clock: MockClock) -> None:
    first = Bed()
    async with serving(first):
        run = first.submit()
        await wait_all_tasks_blocked()
        first.keeper.exited(run.id, 0)  # its output is still open
        await wait_all_tasks_blocked(0.01)
        assert (first.row(run).state, first.row(run).closed) == ("finished", False)
    second = await killed_and_recovered(first, exit={"status": 0, "rusage": [1, 2, 3], "at": 9}, empty=True)
    second.keeper.entries = [(fields, {"out": os.open(os.devnull, os.O_RDONLY)}) for fields, _ in second.keeper.entries]
    async with serving(second):
        await recover(second.registry)
        assert second.registry.runs[run.id].gone


async def test_an_entry_that_is_recorded_already_is_acknowledged(autojump_clock: MockClock) -> None:
    first = Bed()
    async with serving(first):
        run = first.submit()
        await wait_all_tasks_blocked()
        first.pump.end(run.id)
        first.keeper.exited(run.id, 0)
        await wait_all_tasks_blocked()
    second = await killed_and_recovered(first, empty=True)
    async with serving(second):
        await recover(second.registry)
        assert second.keeper.ops() == ["list", "ack"]
        assert second.row(run).result == "success"


async def test_a_run_missing_from_a_new_database_is_taken_up_under_its_name(autojump_clock: MockClock) -> None:
    second = await killed_and_recovered(Bed(), went=True)
    async with serving(second):
        await recover(second.registry)
        await wait_all_tasks_blocked()
        assert second.store.jobs[0, "job-1"].active == "active"
        assert len(second.registry.runs) == 1


async def test_a_task_that_fails_again_does_not_end_this_daemon_too(autojump_clock: MockClock) -> None:
    first = Bed()
    async with serving(first):
        run = first.submit()
        await wait_all_tasks_blocked()
    second = await killed_and_recovered(first, pid=77)
    left = []
    async with serving(second):
        second.registry.on_crash = lambda: left.append(1)
        await recover(second.registry)
        again = second.registry.runs[run.id]
        broken = Event(seq=9, at=9, kind="", owner=0, job="job-1", data={"job.sub": states.DEAD})
        again.job.row = apply_job(again.job.row, broken)
        second.keeper.exited(run.id, 0)
        await wait_all_tasks_blocked()
        assert again.log_error.startswith("internal error")
        assert not left
