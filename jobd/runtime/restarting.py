"""Between two runs: a job in `auto-restart`, until its next run is accepted or somebody stops it.

That it starts again, and when, is committed with the end of its run. The delay is counted by trio's clock; a later
daemon knows it by the wall clock, which never makes it longer. Whoever starts the job is faster, and whoever stops it
brings it to rest at once, as there is no process.
"""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING, Final

import trio

from jobd.core import exits, restarts, states, units
from jobd.core import plan as plans
from jobd.core.graph import Refusal
from jobd.runtime.job import Job
from jobd.runtime.journal import NotDurable
from jobd.runtime.slots import LimitReached

if TYPE_CHECKING:
    from jobd.core.spec import JobSpec
    from jobd.runtime.job import Caller, Value
    from jobd.runtime.journal import Commit
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run

log = logging.getLogger("jobd.runtime")

ROOM_SEC: Final = 10.0  # until the next attempt while there is no room for a run: as often as room is counted
NSEC_PER_USEC: Final = 1000
LIMIT_HIT: Final = "start-limit-hit"  # the result, and the kind of the event


# --- the end of a run -----------------------------------------------------------------------------------------------
def plan(run: Run, result: str) -> dict[str, Value]:
    """What the event of a run's end says of the next start; empty when the job does not start again."""
    row, spec, job = run.row, run.spec, run.job.row
    end = None if run.ending is None else exits.Exit(run.ending.status)
    if job.masked or not restarts.restarts(spec, result, end, row.stop_asked, row.again):
        return {}
    delay = restarts.delay_usec(spec, job.restart_delay_usec, _lived_usec(run))
    wait = restarts.jittered_usec(delay, random.random())  # no secret
    return {"job.restart_at": time.time_ns() + wait * NSEC_PER_USEC, "job.restart_delay_usec": delay}


def _lived_usec(run: Run) -> int:
    """How long its program ran: by trio's clock, or of one that an earlier daemon started by the wall's."""
    if run.row.started_at is None:
        return 0
    if run.up_mono is not None:
        return round((trio.current_time() - run.up_mono) * units.USEC_PER_SEC)
    return (time.time_ns() - run.row.started_at) // NSEC_PER_USEC


def begin(job: Job, world: Registry, due: Value) -> None:
    """An end after which a job starts again is durable: count the delay, unless somebody was faster."""
    if job.row.sub == states.AUTO_RESTART and job.row.restart_at == due and isinstance(due, int):
        world.back_off(job, max(0, due - time.time_ns()) / NSEC_PER_USEC / units.USEC_PER_SEC)


def take_up(world: Registry, owner: int, name: str, at_least_sec: float = 0.0) -> None:
    """Go on with a job that the store has in `auto-restart`, if it has: under a new daemon, or on a full disk."""
    row = world.store.job(owner, name)
    if row is None or row.sub != states.AUTO_RESTART or row.restart_at is None:
        return
    job = world.jobs.setdefault((owner, name), Job(row, world.journal))
    left = restarts.left_usec(row.restart_at, row.restart_delay_usec, time.time_ns())
    world.back_off(job, max(at_least_sec, left / units.USEC_PER_SEC), again=True)


async def guarded(job: Job, world: Registry, sec: float, again: bool) -> None:
    """The crash boundary of a backoff, as that of a run's walk. One that fails again is left alone."""
    try:
        await back_off(job, world, sec)
    except Exception:
        log.exception("%s: its task failed", job.row.job)
        if not again:
            world.on_crash()


# --- the wait -------------------------------------------------------------------------------------------------------
async def back_off(job: Job, world: Registry, sec: float) -> None:
    """Wait, and start the job again, unless somebody has done something about it meanwhile."""
    due = job.row.restart_at
    if not await _waits(job, due, sec):
        return
    await world.may_submit()
    while job.row.sub == states.AUTO_RESTART and job.row.restart_at == due and not world.stopping:
        if why := _refusal(job, world):
            await _give_up(job, world, *why)
            return
        try:
            world.start_again(job.row)
        except LimitReached as limit:
            log.warning("cannot start %s again yet: %s", job.row.job, limit)
        except Refusal as refusal:
            await _give_up(job, world, "dependency", str(refusal))
            return
        except KeyError:
            await _give_up(job, world, "start-failed", "its definition is gone from the database")
            return
        else:
            if job.run is not None:
                await _told(job.run)
            return
        if not await _waits(job, due, ROOM_SEC):
            return


async def _waits(job: Job, due: int | None, sec: float) -> bool:
    """Wait for so long. False: the job is not to start by us any more."""
    with trio.move_on_after(sec):
        while job.row.sub == states.AUTO_RESTART and job.row.restart_at == due:
            await job.changed.wait()
    return job.row.sub == states.AUTO_RESTART and job.row.restart_at == due


async def _told(run: Run) -> None:
    try:
        await run.durable()
    except NotDurable as error:
        log.warning("cannot start %s again yet: %s", run.job.row.job, error)


def _refusal(job: Job, world: Registry) -> tuple[str, str] | None:
    """Why the job is not started again after all: result, and words."""
    if obstacle := plans.obstacle(job.row):
        return "start-failed", obstacle[1].partition("\n")[0]
    try:
        spec = world.spec(job.row.spec)
    except KeyError:
        return "start-failed", "its definition is gone from the database"
    return None if restarts.may_start(spec, job.row.starts, time.time_ns()) else (LIMIT_HIT, limit_words(spec))


def limit_words(spec: JobSpec) -> str:
    """What the start limit says, in words."""
    most, window_usec = spec.start_limit
    return f"it was started {most} times within {units.format_duration(window_usec)}"


async def _give_up(job: Job, world: Registry, result: str, why: str) -> None:
    log.warning("%s is not started again: %s", job.row.job, why)
    kind = LIMIT_HIT if result == LIMIT_HIT else "finished"
    fields: dict[str, Value] = {"act.reason": why, "job.result": result, "job.restart_at": None}
    await job.fire(states.BAD, kind, None, **fields).wait()
    world.let_go(job)


# --- what others ask ------------------------------------------------------------------------------------------------
def stop(job: Job, by: Caller | None) -> Commit | None:
    """Bring a job that waits for its next run to rest; None if it does not. Afterwards `Registry.let_go` is due."""
    if job.row.sub != states.AUTO_RESTART:
        return None
    return job.fire(states.STOP, "stop-requested", by, **{"job.restart_at": None, "job.result": "success"})


async def stop_job(world: Registry, key: tuple[int, str], by: Caller | None) -> None:
    """The same, until it is durable."""
    job = world.jobs.get(key)
    commit = None if job is None else stop(job, by)
    if job is not None and commit is not None:
        await commit.wait()
        world.let_go(job)
