"""The walk of one run on the autojump clock: exact times of stops, limits and drains, and every way to the end."""

from __future__ import annotations

import time

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.core import states
from jobd.core.records import Event, apply_job
from jobd.runtime import launching
from jobd.runtime.places import MAX_LAUNCHING
from jobd.runtime.recovery import recover
from jobd.runtime.submission import NameTaken
from tests.runtime.fakes import ROOT, Bed, serving


async def test_a_run_that_succeeds(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        run = bed.submit()
        await wait_all_tasks_blocked()
        assert run.job.row.sub == states.RUNNING
        bed.pump.end(run.id, 10, 20)
        bed.keeper.exited(run.id, 0)
        await wait_all_tasks_blocked()
        row = bed.row(run)
        assert (row.state, row.result, row.exit_code) == ("finished", "success", 0)
        assert (row.out_bytes, row.err_bytes, row.closed) == (10, 20, True)
        assert bed.keeper.ops() == ["spawn", "go", "ack"]
        assert bed.registry.runs == {}
        assert bed.registry.jobs == {}
        assert bed.replayed().runs == {(0, run.id): row}
        assert bed.replayed().jobs == bed.store.jobs


async def test_go_is_asked_for_only_when_starting_is_durable(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        bed.journal.held = []
        run = bed.submit()
        await wait_all_tasks_blocked()
        assert bed.keeper.ops() == ["spawn"]
        assert bed.row(run).state == "starting"
        bed.journal.held.pop(0).settle(None)
        await wait_all_tasks_blocked()
        assert bed.keeper.ops() == ["spawn", "go"]


async def test_a_full_disk_forgets_the_run_and_never_runs_it(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        bed.store.full = True
        run = bed.submit()
        await wait_all_tasks_blocked()
        assert run.gone
        assert bed.keeper.ops() == ["spawn", "ack"]
        assert bed.registry.jobs == {}


async def test_a_step_before_exec_fails(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        bed.keeper.script["spawn"] = [("spawn-failed", {"step": "chdir", "errno": 2})]
        run = bed.submit()
        await wait_all_tasks_blocked()
        row = bed.row(run)
        assert (row.result, row.step, row.errno, row.closed) == ("start-failed", "chdir", 2, True)
        assert bed.store.jobs[0, "job-1"].active == "failed"


async def test_stop_escalates_to_sigkill_after_the_stop_timeout(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        run = bed.submit(stop_timeout_usec=90_000_000)
        await wait_all_tasks_blocked()
        begun = trio.current_time()
        run.ask_stop(ROOT)
        await bed.keeper.until("kill-tree kill-1", within=200)
        at = dict(zip(bed.keeper.ops(), bed.keeper.times, strict=True))
        assert at["signal term-1"] == begun
        assert at["kill-tree kill-1"] == pytest.approx(begun + 90, abs=0.1)  # the wall clock counts as well
        assert run.job.row.sub == states.STOP_SIGKILL
        bed.keeper.exited(run.id, 9)
        bed.pump.end(run.id)
        await wait_all_tasks_blocked()
        assert bed.row(run).result == "timeout"
        assert bed.store.jobs[0, "job-1"].active == "failed"


async def test_a_stopped_run_is_no_failure_whatever_its_status(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        run = bed.submit()
        await wait_all_tasks_blocked()
        run.ask_stop(ROOT)
        await wait_all_tasks_blocked()
        bed.keeper.exited(run.id, 3 << 8)
        bed.pump.end(run.id)
        await wait_all_tasks_blocked()
        assert (bed.row(run).result, bed.row(run).exit_code) == ("stopped", 3)
        assert (bed.store.jobs[0, "job-1"].active, bed.store.jobs[0, "job-1"].result) == ("inactive", "success")


async def test_stopping_twice_signals_once(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        run = bed.submit()
        await wait_all_tasks_blocked()
        assert run.ask_stop(ROOT) is not None
        assert run.ask_stop(ROOT) is None
        await wait_all_tasks_blocked()
        assert bed.keeper.ops("signal") == ["signal term-1"]


async def test_the_rest_of_the_tree_is_stopped_when_the_main_process_ends(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        run = bed.submit(stop_timeout_usec=5_000_000)
        await wait_all_tasks_blocked()
        bed.keeper.exited(run.id, 7 << 8, empty=False)
        await wait_all_tasks_blocked()
        assert (bed.row(run).exit_code, bed.row(run).state) == (7, "stopping")  # recorded at once
        assert run.job.row.sub == states.FINAL_SIGTERM
        await bed.keeper.until("kill-tree kill-1", within=20)
        assert run.job.row.sub == states.FINAL_SIGKILL
        bed.keeper.say(run.id, "empty")
        bed.pump.end(run.id)
        await wait_all_tasks_blocked()
        assert (bed.row(run).result, bed.row(run).exit_code) == ("exit-code", 7)
        assert bed.keeper.ops("signal", "kill-tree") == ["signal final-term-1", "kill-tree kill-1"]


async def test_kill_mode_process_leaves_the_rest_alone(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        run = bed.submit(kill_mode="process")
        await wait_all_tasks_blocked()
        bed.keeper.exited(run.id, 0, empty=False)
        bed.pump.end(run.id)
        await wait_all_tasks_blocked()
        assert bed.row(run).result == "success"
        assert bed.keeper.ops("signal", "kill-tree", "watch") == []


async def test_kill_mode_mixed_kills_the_rest_when_the_main_process_has_ended(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        run = bed.submit(kill_mode="mixed")
        await wait_all_tasks_blocked()
        run.ask_stop(ROOT)
        await wait_all_tasks_blocked()
        assert bed.keeper.sent[-1][1]["whom"] == "main"
        bed.keeper.exited(run.id, 15, empty=False)
        await wait_all_tasks_blocked()
        assert bed.keeper.ops("signal", "kill-tree") == ["signal term-1", "kill-tree kill-1"]
        bed.keeper.say(run.id, "empty")
        bed.pump.end(run.id)
        await wait_all_tasks_blocked()
        assert bed.row(run).result == "stopped"  # the main process obeyed; the rest is killed by the rule


async def test_the_runtime_limit_stops_the_run_with_result_timeout(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        run = bed.submit(runtime_usec=3_600_000_000)
        await bed.keeper.until("signal term-1", within=4000)
        assert bed.keeper.times[-1] == pytest.approx(3600, abs=1)
        bed.keeper.exited(run.id, 15)
        bed.pump.end(run.id)
        await wait_all_tasks_blocked()
        assert bed.row(run).result == "timeout"


@pytest.mark.parametrize("step_sec", [-3600, 365 * 86_400])
async def test_a_stepped_wall_clock_changes_no_timeout(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, step_sec: int
) -> None:
    async with serving(Bed()) as bed:
        run = bed.submit(stop_timeout_usec=90_000_000, runtime_usec=600_000_000)
        await wait_all_tasks_blocked()
        now = time.time_ns()
        monkeypatch.setattr(time, "time_ns", lambda: now + step_sec * 10**9)
        await bed.keeper.until("signal term-1", within=1000)
        assert bed.keeper.times[-1] == 600
        await bed.keeper.until("kill-tree kill-1", within=1000)
        assert bed.keeper.times[-1] == 690
        bed.keeper.exited(run.id, 9)
        bed.pump.end(run.id)
        await wait_all_tasks_blocked()
        assert bed.row(run).result == "timeout"


async def test_output_held_open_is_closed_after_five_seconds_and_holders_named(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        run = bed.submit()
        await wait_all_tasks_blocked()
        bed.keeper.holders = [(99, b"sleep 60")]
        bed.keeper.exited(run.id, 0)
        await wait_all_tasks_blocked(0.01)
        assert bed.row(run).state == "finished"  # the end is not held up by the output
        assert not bed.row(run).closed
        await trio.sleep(4.5)
        assert bed.pump.closed == []
        await trio.sleep(0.6)
        assert bed.pump.closed == [run.id]
        assert "99 (sleep 60)" in bed.row(run).note


async def test_a_name_with_a_live_run_is_taken(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        run = bed.submit()
        await wait_all_tasks_blocked()
        with pytest.raises(NameTaken):
            bed.registry.submit(0, "job-1", b"y" * 16, run.spec, b"\x90", ROOT)


async def test_a_child_that_never_comes_to_its_program_holds_up_nobody_and_can_be_stopped(
    autojump_clock: MockClock,
) -> None:
    async with serving(Bed()) as bed:
        bed.keeper.script["go"] = []
        stuck = [bed.submit() for _ in range(MAX_LAUNCHING)]
        await wait_all_tasks_blocked()
        bed.keeper.script["go"] = [("execd", {})]
        other = bed.submit()
        await trio.sleep(launching.SLOT_SEC + 1)
        assert other.launched
        assert not stuck[0].launched
        stuck[0].ask_stop(ROOT)
        await bed.keeper.until("kill-tree kill-1", within=60)
        bed.keeper.say(stuck[0].id, "execd")
        bed.keeper.exited(stuck[0].id, 9)
        bed.pump.end(stuck[0].id)
        await wait_all_tasks_blocked()
        assert bed.row(stuck[0]).result == "stopped"


async def test_runs_that_wait_for_a_keeper_can_all_be_canceled(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        bed.keeper.alive = False
        runs = [bed.submit() for _ in range(MAX_LAUNCHING + 4)]
        await wait_all_tasks_blocked()
        runs[-1].ask_stop(ROOT)
        await wait_all_tasks_blocked()
        assert bed.row(runs[-1]).result == "canceled"
        bed.store.full = True
        never = bed.submit()
        await wait_all_tasks_blocked()
        assert never.gone
        assert never.id not in bed.registry.runs


async def test_what_waits_to_start_at_a_shutdown_stays_queued(autojump_clock: MockClock) -> None:
    first = Bed()
    async with serving(first):
        first.keeper.alive = False
        for _ in range(MAX_LAUNCHING + 4):
            first.submit()
        await wait_all_tasks_blocked()
    second = Bed()
    second.store.__dict__.update(first.store.__dict__)
    second.keeper.script["go"] = []  # so that some begin, and the others wait for their turn
    async with serving(second):
        await recover(second.registry)
        await wait_all_tasks_blocked()
        begun = [run for run in second.registry.runs.values() if run.row.state == "starting"]
        assert len(begun) == MAX_LAUNCHING
        async with trio.open_nursery() as nursery:
            nursery.start_soon(second.registry.stop_all)
            await wait_all_tasks_blocked()
            for run in begun:
                second.keeper.say(run.id, "exec-failed", step="chdir", errno=2)
        assert [run.row.state for run in second.registry.runs.values()] == ["queued"] * 4


async def test_a_task_that_fails_does_not_hold_up_a_shutdown(autojump_clock: MockClock) -> None:
    left = []
    async with serving(Bed()) as bed:
        bed.registry.on_crash = lambda: left.append(1)
        run = bed.submit()
        await wait_all_tasks_blocked()
        run.job.row = apply_job(
            run.job.row, Event(seq=9, at=9, kind="", owner=0, job="job-1", data={"job.sub": states.DEAD})
        )
        bed.keeper.exited(run.id, 0)
        await wait_all_tasks_blocked()
        assert run.log_error.startswith("internal error")
        assert left == [1]  # the daemon is replaced: the next takes the run up
        with trio.fail_after(1):
            await bed.registry.stop_all()


async def test_a_keeper_that_dies_before_go_leaves_the_run_queued(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        bed.keeper.script["spawn"] = []
        run = bed.submit()
        await wait_all_tasks_blocked()
        bed.keeper.alive = False
        bed.registry.lose_keeper()
        await wait_all_tasks_blocked()
        assert bed.row(run).state == "queued"
        run.ask_stop(ROOT)
        await wait_all_tasks_blocked()
        assert bed.row(run).result == "canceled"
