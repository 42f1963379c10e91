"""Oneshots, jobs that remain, stop commands and reloads, on the autojump clock, and a daemon's death at each point."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.core import service, states
from jobd.runtime import reloading
from jobd.runtime.recovery import recover
from tests.runtime.fakes import HELPER, ROOT, Bed, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from jobd.runtime.run import Run

KEY = (0, "job-1")
STOP = (b"stop-it",)
RELOAD = (b"reload-it",)


@asynccontextmanager
async def running(**fields: object) -> AsyncIterator[tuple[Bed, Run]]:
    async with serving(Bed()) as bed:
        bed.keeper.script["helper"] = [("helper-started", HELPER)]
        bed.keeper.script["helper-kill"] = [("helper-done", {**HELPER, "done": True, "status": 9})]
        run = bed.submit(**fields)
        await wait_all_tasks_blocked()
        yield bed, run


async def ends(bed: Bed, run: Run, status: int = 0, empty: bool = True) -> None:
    bed.keeper.exited(run.id, status, empty)
    if empty:
        bed.pump.end(run.id)
    await wait_all_tasks_blocked()


async def helper_ends(bed: Bed, run: Run, opid: str, **how: object) -> None:
    bed.keeper.say(run.id, "helper-done", **{**HELPER, "o": opid, "done": True, **how})
    await wait_all_tasks_blocked()


async def emptied(bed: Bed, run: Run) -> None:
    bed.keeper.say(run.id, "empty")
    bed.pump.end(run.id)
    await wait_all_tasks_blocked()


def entry_of(run: Run, **told: object) -> dict[str, object]:
    """What a keeper has of a run."""
    fields: dict[str, object] = {
        "run": run.id, "pid": 77, "start": 1, "went": True, "execd": True, "step": "", "errno": 0, "exit": None,
        "empty": False, "tracking": "process", "cgroup": "", "merge": False, "ops": list(run.operations),
        "helpers": [], "label": None, "fds": [],
    }  # fmt: skip
    return {**fields, **told}


def _no_pipe(run: Run) -> None:
    """There is nothing to capture."""


EXITED_WELL = {"exit": {"status": 0, "rusage": [1, 2, 3], "at": 5}, "empty": True}


@asynccontextmanager
async def successor(first: Bed, run: Run, **told: object) -> AsyncIterator[tuple[Bed, Run]]:
    """The next daemon on the same database, and a keeper that tells this of the run."""
    second = Bed()
    second.store.__dict__.update(first.store.__dict__)
    second.keeper.script["helper"] = [("helper-started", HELPER)]
    second.keeper.entries = [(entry_of(run, **told), {})]
    second.registry.streams.capture = _no_pipe  # type: ignore[method-assign]  # a double
    async with serving(second):
        await recover(second.registry)
        await wait_all_tasks_blocked()
        yield second, second.registry.runs[run.id]


# --- oneshot ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("status", "sub", "result"), [(0, states.DEAD, "success"), (1 << 8, states.FAILED, "exit-code")]
)
async def test_a_oneshot_starts_for_as_long_as_it_runs(
    autojump_clock: MockClock, status: int, sub: str, result: str
) -> None:
    async with running(type=service.ONESHOT, ready_timeout_usec=None) as (bed, run):
        await trio.sleep(3600)
        assert (bed.store.jobs[KEY].sub, bed.row(run).state, run.launched, run.up) == ("start", "starting", True, False)
        await ends(bed, run, status)
        assert (bed.store.jobs[KEY].sub, bed.row(run).result, run.up) == (sub, result, True)


async def test_a_oneshot_has_its_runtime_limit_and_is_stopped_without_its_stop_command(
    autojump_clock: MockClock,
) -> None:
    async with running(type=service.ONESHOT, runtime_usec=60_000_000, stop_command=STOP) as (bed, run):
        await bed.keeper.until("signal term-1", within=100)
        assert bed.keeper.times[-1] == pytest.approx(60, abs=1)
        await ends(bed, run, 15)
        assert bed.row(run).result == "timeout"
        assert bed.keeper.ops("helper") == []


async def test_the_time_for_its_start_is_a_oneshots_too(autojump_clock: MockClock) -> None:
    async with running(type=service.ONESHOT, ready_timeout_usec=90_000_000, restart="on-failure") as (bed, run):
        await bed.keeper.until("signal term-1", within=100)
        assert bed.keeper.times[-1] == pytest.approx(90, abs=1)
        await ends(bed, run, 15)
        assert (bed.row(run).result, bed.store.jobs[KEY].sub) == ("timeout", states.AUTO_RESTART)


async def test_a_oneshot_that_is_killed_is_no_success(autojump_clock: MockClock) -> None:
    async with running(type=service.ONESHOT) as (bed, run):
        await ends(bed, run, signal.SIGTERM)
        assert bed.row(run).result == "signal"


async def test_a_later_daemon_carries_out_a_stop_that_came_during_a_start(autojump_clock: MockClock) -> None:
    async with running(type=service.ONESHOT, ready_timeout_usec=None, restart="on-failure") as (first, run):
        first.keeper.alive = False  # it has died before the signal
        run.ask_stop(ROOT)
        await wait_all_tasks_blocked()
    async with successor(first, run) as (bed, run):
        assert bed.keeper.ops("signal") == ["signal term-1"]
        await ends(bed, run, 15)
        assert (bed.store.jobs[KEY].sub, bed.row(run).result) == (states.DEAD, "stopped")


async def test_a_later_daemon_goes_on_with_a_start(autojump_clock: MockClock) -> None:
    async with running(type=service.ONESHOT, ready_timeout_usec=90_000_000) as (first, run):
        await trio.sleep(1)
    async with successor(first, run) as (bed, run):
        assert (run.launched, run.up, bed.store.jobs[KEY].sub) == (True, False, states.START)
        await ends(bed, run)
        assert (run.up, bed.row(run).result) == (True, "success")


# --- remain_after_exit ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", [service.EXEC, service.ONESHOT])
async def test_what_remains_is_active_until_it_is_stopped(autojump_clock: MockClock, kind: str) -> None:
    async with running(type=kind, remain_after_exit=True, restart="always") as (bed, run):
        await ends(bed, run)
        row = bed.store.jobs[KEY]
        assert (row.sub, row.active, run.up, bed.row(run).exit_code) == (states.EXITED, "active", True, 0)
        await trio.sleep(86_400)
        assert bed.store.jobs[KEY].sub == states.EXITED
        run.ask_stop(ROOT)
        await wait_all_tasks_blocked()
        assert (bed.store.jobs[KEY].sub, bed.row(run).result) == (states.DEAD, "stopped")
        assert bed.keeper.ops("signal") == []


async def test_what_fails_does_not_remain(autojump_clock: MockClock) -> None:
    async with running(remain_after_exit=True) as (bed, run):
        await ends(bed, run, 1 << 8)
        assert bed.store.jobs[KEY].sub == states.FAILED


async def test_what_a_remaining_job_has_left_behind_is_stopped_with_it(autojump_clock: MockClock) -> None:
    async with running(type=service.ONESHOT, remain_after_exit=True) as (bed, run):
        await ends(bed, run, empty=False)
        assert bed.store.jobs[KEY].sub == states.EXITED
        run.ask_stop(ROOT)
        await wait_all_tasks_blocked()
        assert bed.keeper.ops("signal") == ["signal term-1"]
        await emptied(bed, run)
        assert bed.store.jobs[KEY].sub == states.DEAD


async def test_a_later_daemon_keeps_what_remains(autojump_clock: MockClock) -> None:
    async with running(type=service.ONESHOT, remain_after_exit=True, stop_command=STOP) as (first, run):
        await ends(first, run)
    async with successor(first, run, **EXITED_WELL) as (bed, run):
        assert (bed.registry.jobs[KEY].row.sub, run.up) == (states.EXITED, True)
        run.ask_stop(ROOT)
        await wait_all_tasks_blocked()
        assert bed.keeper.ops("helper") == ["helper stop-cmd-1"]
        await helper_ends(bed, run, "stop-cmd-1")
        await emptied(bed, run)
        assert bed.store.jobs[KEY].sub == states.DEAD


async def test_what_remained_has_not_failed_when_the_machine_was_restarted(autojump_clock: MockClock) -> None:
    async with running(remain_after_exit=True) as (first, run):
        await ends(first, run)
    second = Bed()
    second.store.__dict__.update(first.store.__dict__)
    async with serving(second):
        await recover(second.registry)
        assert (second.store.jobs[KEY].sub, second.store.runs[run.id].result) == (states.DEAD, "success")


# --- the stop command -------------------------------------------------------------------------------------------------
async def test_a_stop_command_comes_first_and_the_signal_for_what_it_leaves(autojump_clock: MockClock) -> None:
    async with running(stop_command=STOP) as (bed, run):
        run.ask_stop(ROOT)
        await wait_all_tasks_blocked()
        assert (bed.store.jobs[KEY].sub, bed.keeper.ops()[2:]) == (states.STOP_COMMAND, ["helper stop-cmd-1"])
        await helper_ends(bed, run, "stop-cmd-1")
        assert bed.store.jobs[KEY].sub == states.STOP_SIGTERM
        assert bed.keeper.ops("signal") == ["signal term-1"]
        await ends(bed, run, 15)
        assert (bed.store.jobs[KEY].sub, bed.row(run).result) == (states.DEAD, "stopped")


async def test_a_stop_command_that_stops_the_job_needs_no_signal(autojump_clock: MockClock) -> None:
    async with running(stop_command=STOP) as (bed, run):
        run.ask_stop(ROOT)
        await wait_all_tasks_blocked()
        bed.keeper.exited(run.id, 0, empty=False)
        await wait_all_tasks_blocked()
        assert bed.row(run).exit_code == 0
        bed.keeper.script["watch"] = [("empty", {})]
        await helper_ends(bed, run, "stop-cmd-1", status=1 << 8)
        bed.pump.end(run.id)
        await wait_all_tasks_blocked()
        assert bed.keeper.ops("signal", "kill-tree") == []
        assert (bed.store.jobs[KEY].sub, bed.row(run).result) == (states.DEAD, "stopped")
        halted = next(event for event in bed.store.events if event.kind == "halted")
        assert halted.data["act.reason"] == "its stop command ended with exit code 1"


async def test_each_step_of_a_stop_has_its_time(autojump_clock: MockClock) -> None:
    async with running(stop_command=STOP, stop_timeout_usec=90_000_000) as (bed, run):
        run.ask_stop(ROOT)
        await bed.keeper.until("kill-tree kill-1", within=400)
        at = dict(zip(bed.keeper.ops(), bed.keeper.times, strict=True))
        assert at["helper-kill stop-cmd-1"] == pytest.approx(90, abs=0.1)
        assert at["signal term-1"] == pytest.approx(90, abs=0.1)
        assert at["kill-tree kill-1"] == pytest.approx(180, abs=0.2)
        await ends(bed, run, 9)
        assert bed.row(run).result == "timeout"


async def test_a_stop_timeout_of_zero_kills_at_once_and_of_infinity_never(autojump_clock: MockClock) -> None:
    async with running(stop_command=STOP, stop_timeout_usec=0) as (bed, run):
        run.ask_stop(ROOT)
        await bed.keeper.until("kill-tree kill-1", within=1)
        assert trio.current_time() < 2  # but for the look at what the command left
    async with running(stop_command=STOP, stop_timeout_usec=None) as (bed, run):
        run.ask_stop(ROOT)
        await trio.sleep(30 * 86_400)
        assert bed.store.jobs[KEY].sub == states.STOP_COMMAND
        await helper_ends(bed, run, "stop-cmd-1")
        await trio.sleep(30 * 86_400)
        assert bed.store.jobs[KEY].sub == states.STOP_SIGTERM
        assert bed.keeper.ops("kill-tree") == []


async def test_a_later_daemon_goes_on_with_a_stop_command_and_executes_none_twice(autojump_clock: MockClock) -> None:
    async with running(stop_command=STOP) as (first, run):
        run.ask_stop(ROOT)
        await wait_all_tasks_blocked()
    done = {**HELPER, "o": "stop-cmd-1", "done": True}
    async with successor(first, run, helpers=[done]) as (bed, run):
        await bed.keeper.until("signal term-1", within=1)
        await ends(bed, run, 15)
        assert (bed.store.jobs[KEY].sub, bed.row(run).result) == (states.DEAD, "stopped")


async def test_one_that_hangs_gets_sigabrt_then_sigkill(autojump_clock: MockClock) -> None:
    async with running(restart="on-watchdog") as (bed, run):
        run.ask_stop(None, "watchdog", hang=True)
        await wait_all_tasks_blocked()
        assert bed.store.jobs[KEY].sub == states.STOP_WATCHDOG
        assert (bed.keeper.sent[-1][1]["sig"], bed.keeper.ops()[-1]) == (signal.SIGABRT, "signal abrt-1")
        await bed.keeper.until("kill-tree kill-1", within=11)
        await ends(bed, run, 9)
        assert bed.store.jobs[KEY].sub == states.AUTO_RESTART


# --- reloads ----------------------------------------------------------------------------------------------------------
async def test_a_reload_by_signal_is_over_when_it_is_sent(autojump_clock: MockClock) -> None:
    async with running(reload_signal=int(signal.SIGHUP)) as (bed, run):
        assert reloading.ask(run, ROOT) is not None
        assert (bed.store.jobs[KEY].sub, bed.store.jobs[KEY].active) == (states.RELOAD, "reloading")
        assert reloading.ask(run, ROOT) is None
        await wait_all_tasks_blocked()
        op, fields = bed.keeper.sent[-1]
        assert (op, fields["o"], fields["sig"], fields["whom"]) == ("signal", "reload-1", signal.SIGHUP, "main")
        bed.keeper.say(run.id, "signaled", o="reload-1", repeated=False, count=1)
        await wait_all_tasks_blocked()
        assert (bed.store.jobs[KEY].sub, run.reload_trouble) == (states.RUNNING, "")
        reloading.ask(run, ROOT)
        await wait_all_tasks_blocked()
        assert bed.keeper.ops()[-1] == "signal reload-2"


@pytest.mark.parametrize(
    ("how", "trouble"),
    [
        ({}, ""),
        ({"status": 3 << 8}, "its reload command ended with exit code 3"),
        ({"status": 9}, "its reload command was ended by SIGKILL"),
        (
            {"status": -1, "step": "exec", "errno": 2},
            "its reload command could not be started: executing reload-it: No such file or directory",
        ),
    ],
)
async def test_a_reload_command_is_told_of_and_the_service_goes_on(
    autojump_clock: MockClock, how: dict[str, object], trouble: str
) -> None:
    async with running(reload_command=RELOAD) as (bed, run):
        reloading.ask(run, ROOT)
        await wait_all_tasks_blocked()
        assert bed.keeper.ops()[-1] == "helper reload-1"
        assert bed.store.jobs[KEY].sub == states.RELOAD
        await helper_ends(bed, run, "reload-1", **how)
        assert (bed.store.jobs[KEY].sub, run.reload_trouble) == (states.RUNNING, trouble)
        assert bed.store.events[-1].kind == ("reload-failed" if trouble else "reloaded")


async def test_a_reload_has_the_time_of_a_start(autojump_clock: MockClock) -> None:
    async with running(reload_command=RELOAD) as (bed, run):
        reloading.ask(run, ROOT)
        await bed.keeper.until("helper-kill reload-1", within=100)
        assert trio.current_time() == pytest.approx(90, abs=0.1)
        await wait_all_tasks_blocked()
        assert bed.store.jobs[KEY].sub == states.RUNNING
        assert run.reload_trouble == "its reload command took longer than 1min 30s"
    async with running(reload_command=RELOAD, ready_timeout_usec=None) as (bed, run):
        reloading.ask(run, ROOT)
        await trio.sleep(86_400)
        assert bed.store.jobs[KEY].sub == states.RELOAD


@pytest.mark.parametrize("command", [(), STOP])
async def test_a_stop_during_a_reload(autojump_clock: MockClock, command: tuple[bytes, ...]) -> None:
    async with running(reload_command=RELOAD, stop_command=command) as (bed, run):
        reloading.ask(run, ROOT)
        await wait_all_tasks_blocked()
        run.ask_stop(ROOT)
        await wait_all_tasks_blocked()
        assert bed.keeper.ops()[3:5] == ["helper-kill reload-1", "helper stop-cmd-1" if command else "watch"]
        if command:
            await helper_ends(bed, run, "stop-cmd-1")
        await ends(bed, run, 15)
        assert (bed.store.jobs[KEY].sub, bed.row(run).result) == (states.DEAD, "stopped")
        assert run.reload_trouble == "it has ended meanwhile, or is being stopped"


@pytest.mark.parametrize("command", [(), STOP])
async def test_a_later_daemon_carries_out_a_stop_that_came_during_a_reload(
    autojump_clock: MockClock, command: tuple[bytes, ...]
) -> None:
    async with running(reload_command=RELOAD, stop_command=command, restart="always") as (first, run):
        reloading.ask(run, ROOT)
        await wait_all_tasks_blocked()
        first.keeper.alive = False
        run.ask_stop(ROOT)
        await wait_all_tasks_blocked()
    async with successor(first, run, helpers=[{**HELPER, "o": "reload-1"}]) as (bed, run):
        assert bed.keeper.ops("signal", "helper") == ["helper stop-cmd-1" if command else "signal term-1"]
        if command:
            await helper_ends(bed, run, "stop-cmd-1")
        await helper_ends(bed, run, "reload-1", status=15)
        await ends(bed, run, 15)
        assert (bed.store.jobs[KEY].sub, bed.row(run).result) == (states.DEAD, "stopped")


async def test_an_end_during_a_reload_is_the_services_own(autojump_clock: MockClock) -> None:
    async with running(reload_command=RELOAD, restart="on-failure") as (bed, run):
        reloading.ask(run, ROOT)
        await wait_all_tasks_blocked()
        await ends(bed, run, 1 << 8)
        assert (bed.store.jobs[KEY].sub, bed.row(run).result) == (states.AUTO_RESTART, "exit-code")


async def test_a_reload_does_not_lengthen_the_runtime_limit(autojump_clock: MockClock) -> None:
    async with running(reload_signal=1, runtime_usec=60_000_000) as (bed, run):
        await trio.sleep(50)
        bed.keeper.script["signal"] = [("signaled", {"repeated": False, "count": 1})]
        reloading.ask(run, ROOT)
        await bed.keeper.until("signal term-1", within=11)


async def test_a_later_daemon_goes_on_with_a_reload_and_does_none_twice(autojump_clock: MockClock) -> None:
    async with running(reload_command=RELOAD) as (first, run):
        reloading.ask(run, ROOT)
        await wait_all_tasks_blocked()
    async with successor(first, run, helpers=[{**HELPER, "o": "reload-1"}]) as (bed, run):
        assert bed.keeper.ops()[1:] == ["helper reload-1"]  # which the keeper answers, and does not execute again
        await helper_ends(bed, run, "reload-1")
        assert bed.store.jobs[KEY].sub == states.RUNNING
    async with running(reload_signal=1) as (first, run):
        reloading.ask(run, ROOT)
        await wait_all_tasks_blocked()
    async with successor(first, run, ops=["reload-1"]) as (bed, run):
        assert bed.store.jobs[KEY].sub == states.RUNNING
        assert bed.keeper.ops("signal") == []
