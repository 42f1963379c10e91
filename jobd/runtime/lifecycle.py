"""The walk of one run, from acceptance to its recorded end: one task, and its place in the code is the state.

    launch    spawn ‖ commit of `starting` → go → exec succeeded, or a step failed            (launching)
    be ready  at once, or when it says so or a check does                                      (readiness)
    watch     until the main process ends, somebody asks for a stop, or the runtime limit is up; reloads   (reloading)
    remain    of those that do, until they are stopped
    wind down the stop command, the stop signal, the timeout, SIGKILL, until no process of the tree is left (stopping)
    end       at rest, or before the next run; output to EOF, or 5 s after the tree is gone;
              then the keeper may forget                                                       (ending)

Every step can be entered directly: a daemon that was killed takes its runs up where they are. What was done already is
known from the committed row and from the keeper, whose operation ids keep a signal from being sent twice.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio

from jobd.core import records, service, states, units
from jobd.runtime import readiness, supervision
from jobd.runtime.ending import close, finish
from jobd.runtime.launching import launch
from jobd.runtime.reloading import reload
from jobd.runtime.service import ACTIVE, LIVING
from jobd.runtime.stopping import left_sec, wind_down

if TYPE_CHECKING:
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run


async def live(run: Run, world: Registry) -> None:
    """Walk a run to its end. Cancelling leaves it as it is: the next daemon takes it up from the same place."""
    if run.row.closed:
        return  # it never began: who has decided that sees to its end
    if run.row.started_at is None and run.row.state != records.FINISHED and not await launch(run, world):
        return
    run.launched = True
    if run.row.state != records.FINISHED:
        if supervision.is_needed(run.spec):
            async with supervision.supervised(run, world):
                await _serve(run, world)
        else:
            await _serve(run, world)
        await finish(run, world)
    await close(run, world)


async def _serve(run: Run, world: Registry) -> None:
    """From exec until no process is left."""
    if run.job.row.sub == states.START and readiness.is_needed(run.spec):
        await _become_ready(run, world)
    if run.job.row.sub in (*ACTIVE, states.EXITED) and not run.up:  # one that is being stopped never is
        run.up = True
        run.changed.set()
    if run.job.row.sub != states.EXITED:
        await _watch(run, world)
    if _remains(run):
        _remain(run, world)
    while run.job.row.sub == states.EXITED and not run.row.stop_asked:
        await run.wake.wait()
    await wind_down(run, world)


# --- becoming ready -------------------------------------------------------------------------------------------------
async def _become_ready(run: Run, world: Registry) -> None:
    """Wait until it is ready, or there is nothing to wait for any more."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_find_out, run, world)
        while not (run.ready or run.ending or run.row.stop_asked):
            await run.wake.wait()
        nursery.cancel_scope.cancel()
    if run.ready and run.job.row.sub == states.START and not run.row.stop_asked:
        run.up_mono = trio.current_time()
        run.job.fire(states.READY, "ready", None, ready_at=time.time_ns())
        run.up = True
        run.changed.set()


async def _find_out(run: Run, world: Registry) -> None:
    await readiness.until_ready(run, world)
    if not run.row.stop_asked:
        run.ready = True
    run.wake.set()


# --- watching -------------------------------------------------------------------------------------------------------
async def _watch(run: Run, world: Registry) -> None:
    """Wait for the end of the main process, or for a reason to stop it; reload it meanwhile."""
    since = run.row.started_at if run.row.ready_at is None else run.row.ready_at
    while _is_up(run):
        limit = _limit_usec(run)
        with trio.move_on_after(left_sec(limit, run.up_mono, since)) as scope:
            while _is_up(run) and _limit_usec(run) == limit:
                if run.job.row.sub == states.RELOAD and run.reload_asked:
                    await reload(run, world)
                else:
                    await run.wake.wait()
        if scope.cancelled_caught and _is_up(run):
            run.ask_stop(None, "timeout", reason=f"it ran for longer than {units.format_duration(limit)}")


def _limit_usec(run: Run) -> int | None:
    """How long it may run; for a oneshot, which is in its start all the time, that has a limit too."""
    starting = run.spec.ready_timeout_usec if run.spec.type == service.ONESHOT else None
    return min((limit for limit in (run.spec.runtime_usec, starting) if limit is not None), default=None)


def _is_up(run: Run) -> bool:
    """Whether it is there, and neither somebody nor itself (STOPPING=1) stops it."""
    return run.ending is None and not run.row.stop_asked and run.job.row.sub in LIVING


# --- remaining ------------------------------------------------------------------------------------------------------
def _remains(run: Run) -> bool:
    """Whether the main process has ended well and the job stays active without it."""
    stays = run.spec.remain_after_exit and run.ending is not None and not run.row.stop_asked
    up = run.job.row.sub in (states.RUNNING, states.RELOAD) or run.spec.type == service.ONESHOT
    return stays and up and run.row.exited_at is None and run.own_result() == "success"


def _remain(run: Run, world: Registry) -> None:
    run.job.fire(states.REMAIN, "exited", None, **run.exit_fields(world.rss_floor_bytes))
    run.up = True
    run.changed.set()
