"""What a new daemon makes of its predecessor's runs, from the database and what the keeper holds."""

from __future__ import annotations

import os

from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.core import states
from jobd.core.records import Event, apply_job
from jobd.runtime.recovery import recover
from tests.runtime.fakes import ROOT, Bed, serving


async def _killed_and_recovered(first: Bed, **entry: object) -> Bed:
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
    second = await _killed_and_recovered(first)
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
    second = await _killed_and_recovered(first)
    second.keeper.welcome = second.keeper.welcome.__class__(
        "keeper-2", 10, "0.1.0", "boot-1", 1, "socket", "/s", "/state", "/config", "process", 0
    )
    async with serving(second):
        await recover(second.registry)
        assert second.row(run).result == "lost"
        assert second.keeper.ops() == ["list", "ack"]


async def test_an_exit_that_came_while_the_daemon_was_away_is_recorded(autojump_clock: MockClock) -> None:
    first = Bed()
    async with serving(first):
        run = first.submit()
        await wait_all_tasks_blocked()
    ending = {"status": 5 << 8, "rusage": [1, 2, 3], "at": 9}
    second = await _killed_and_recovered(first, exit=ending, empty=True)
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
    second = await _killed_and_recovered(first, ops=["term-1"])
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
    second = await _killed_and_recovered(first, exit={"status": 0, "rusage": [1, 2, 3], "at": 9}, empty=True)
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
    second = await _killed_and_recovered(first, empty=True)
    async with serving(second):
        await recover(second.registry)
        assert second.keeper.ops() == ["list", "ack"]
        assert second.row(run).result == "success"


async def test_a_run_missing_from_a_new_database_is_taken_up_under_its_name(autojump_clock: MockClock) -> None:
    second = await _killed_and_recovered(Bed(), went=True)
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
    second = await _killed_and_recovered(first, pid=77)
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
