"""The way down of a run: its stop command, its stop signal, its time, SIGKILL, until no process of its tree is left.

Whoever wants a run to stop has that committed (`Run.ask_stop`); what is done about it is done here, in the run's task.
"""

from __future__ import annotations

import logging
import signal
import time
from typing import TYPE_CHECKING, Final

import trio

from jobd.core import states, units
from jobd.runtime import helpers
from jobd.runtime.ending import own_result

if TYPE_CHECKING:
    from jobd.runtime.job import Value
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run

log = logging.getLogger("jobd.runtime")

NSEC_PER_SEC: Final = 1_000_000_000
STOP_OPERATION: Final = "stop-cmd-1"
LOOK_SEC: Final = 1.0  # for the keeper to look into a tree; it takes a millisecond


def left_sec(limit_usec: int | None, mono: float | None, since: int | None) -> float:
    """Seconds left of a limit that began at one moment.

    Under the daemon that saw it the monotonic clock counts. A later one has only the wall clock's `since`, which may
    have been stepped either way: the limit is never made longer by that, and at worst is up at once.

    Args:
        limit_usec: None is none.
        mono: the moment by trio's clock, if it was under this daemon.
        since: by the wall clock, ns; None: it has not come yet.
    """
    if limit_usec is None or since is None:
        return float("inf")
    limit = limit_usec / units.USEC_PER_SEC
    gone = trio.current_time() - mono if mono is not None else (time.time_ns() - since) / NSEC_PER_SEC
    return max(0.0, min(limit, limit - gone))


def _is_over(run: Run) -> bool:
    return run.ending is not None and (run.empty or run.spec.kill_mode == "process") and not run.helpers.at_work


def _note_exit(run: Run, world: Registry) -> None:
    """Record the exit of the main process at once when others of its tree live on."""
    if run.ending is not None and run.row.exited_at is None and not _is_over(run):
        fields = run.exit_fields(world.rss_floor_bytes)
        if not run.row.stop_asked:
            fields["result"] = own_result(run)
        run.job.fire(states.LEFT, "exited", None, **fields)


async def wind_down(run: Run, world: Registry) -> None:
    """Stop what is left: the whole tree if a stop was asked, else the rest of it after the main process ended."""
    await _take_turn(run, world)
    _note_exit(run, world)
    if run.job.row.sub == states.STOP_COMMAND:
        await _halt(run, world)
    if _is_over(run):
        return
    world.keeper.send("watch", run=run.id)
    if run.job.row.sub in (states.STOP_SIGTERM, states.FINAL_SIGTERM, states.STOP_WATCHDOG):
        await _terminate(run, world)
        if _is_over(run):
            return
        obeyed = run.spec.kill_mode == "mixed" and run.ending is not None and run.row.result is None
        result = {"result": run.row.stop_asked} if obeyed and run.row.stop_asked else {}
        await run.job.fire(states.TIME_UP, "killing", None, **result).wait()
    await _kill(run, world)


async def _take_turn(run: Run, world: Registry) -> None:
    """Of a run whose stop is only wished for so far: wait for what is to be stopped before it."""
    while run.row.stop_asked and run.job.row.sub in (states.START, states.RUNNING, states.EXITED, states.RELOAD):
        if run.ending is not None and run.row.exited_at is None:
            return  # it has ended by itself
        if not world.ordering.holds_stop(run):
            run.job.fire(run.stop_event, "stopping")
            return
        await run.wake.wait()


async def _halt(run: Run, world: Registry) -> None:
    """The stop command, and the time it is given; then it is the signal's turn, if anything is left."""
    await world.journal.flush()  # the intent is durable before the command
    with trio.move_on_after(_time_left(run)):
        await helpers.beside(run, world, STOP_OPERATION, run.spec.stop_command, lambda: _note_exit(run, world))
    end = run.helpers.end(STOP_OPERATION)
    trouble = "took too long" if end is None else end.trouble(run.spec.stop_command)
    if end is None:
        world.keeper.send("helper-kill", run=run.id, o=STOP_OPERATION)
    if trouble:
        log.warning("the stop command of %s %s", run.row.job, trouble)
    reason: dict[str, Value] = {"act.reason": f"its stop command {trouble}"} if trouble else {}
    run.job.fire(states.TIME_UP if end is None else states.HALTED, "halted", None, **reason)
    if run.ending is not None and not run.empty:
        world.keeper.send("watch", run=run.id)
        await _told_whether_empty(run)


async def _told_whether_empty(run: Run) -> None:
    """The command was a process of the tree; the keeper says at once when it was the last one."""
    with trio.move_on_after(LOOK_SEC):
        while not (run.empty or run.keeper_lost):
            await run.wake.wait()


def _time_left(run: Run) -> float:
    left = left_sec(run.spec.stop_timeout_usec, run.entered_mono, run.job.row.changed_at)
    return left if run.service is None else max(left, run.service.extension_sec)


async def _terminate(run: Run, world: Registry) -> None:
    """The stop signal, and the time it is given."""
    await world.journal.flush()  # the intent is durable before the first signal
    only_main = run.spec.kill_mode != "control-group"
    announced = run.job.row.sub == states.STOP_SIGTERM and not run.row.stop_asked  # it stops by itself (STOPPING=1)
    if (run.ending is None or not only_main) and not announced:
        opid, number = _signal_of(run)
        whom = "main" if only_main else "all"
        world.keeper.send("signal", run=run.id, o=opid, sig=number, whom=whom)
    while not _is_over(run) and (left := _time_left(run)) > 0:
        if run.spec.kill_mode == "mixed" and run.ending is not None:
            return  # systemd's mixed: the rest gets SIGKILL as soon as the main process has ended
        with trio.move_on_after(left):  # for which a service may ask for more
            await run.wake.wait()
        _note_exit(run, world)


def _signal_of(run: Run) -> tuple[str, int]:
    """The operation and the signal of a stop. One that hangs is to leave a core, as systemd has it (WatchdogSignal)."""
    if run.job.row.sub == states.STOP_WATCHDOG:
        return "abrt-1", signal.SIGABRT
    return "final-term-1" if run.job.row.sub == states.FINAL_SIGTERM else "term-1", run.spec.stop_signal


async def _kill(run: Run, world: Registry) -> None:
    """SIGKILL, and wait until nothing is left."""
    if run.spec.kill_mode == "process":
        world.keeper.send("signal", run=run.id, o="kill-1", sig=9, whom="main")
    else:
        world.keeper.send("kill-tree", run=run.id, o="kill-1")
    while not _is_over(run):
        await run.wake.wait()
        _note_exit(run, world)
