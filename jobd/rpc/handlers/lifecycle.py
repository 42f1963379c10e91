"""`start`, `stop`, `restart`, `kill`: one task a job, progress while it waits, one Done for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobd.core import exits, states
from jobd.core.ids import ONCE_OPERATION, USER_OPERATION
from jobd.core.records import ONCE
from jobd.rpc import privileges
from jobd.rpc.context import Context, Refused
from jobd.rpc.handlers.each import each, keeper_is_dead
from jobd.rpc.runs import accepted, failure_text, is_at_rest, never_up, until_gone
from jobd.runtime import restarting
from jobd.runtime.registry import NameTaken, Stopping
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.core.records import JobRow, RunRow
    from jobd.runtime.run import Run

CONTROL: Final = "control"  # the commands that run besides the main process
ASKED_RUNS: Final = 3  # of a job: so many may have come and gone while a client connects again


# --- start --------------------------------------------------------------------------------------------------------
async def start(context: Context, request: m.Start) -> None:
    """Start jobs at rest again; a job that runs is left alone, as systemctl does."""
    _check_ids(request)

    async def act(word: str, index: int) -> m.Done:
        return await start_job(context, request.id, word, request.runs[index], request.no_block, "start")

    await each(context, request.id, request.names, act)


def _check_ids(request: m.Start | m.Restart) -> None:
    if len(request.runs) != len(request.names):
        raise Refused(errors.INVALID, f"{len(request.names)} names and {len(request.runs)} run ids: one for each")


async def start_job(context: Context, request: int, word: str, run_id: bytes, no_block: bool, action: str) -> m.Done:
    """Start one job, under this id; done when it is ready or has failed to be."""
    registry = context.world.registry
    await registry.may_submit()
    row = context.job(word, action)
    known = context.submitted(row.owner, row.job, run_id)
    run = None if known is None else context.live_run(known)
    if run is None and known is not None:
        return _started(context, word, known)  # a retry after a lost reply
    if run is None:
        old = context.live(row)
        if old is not None and row.active == "deactivating":
            await until_gone(context, request, word, old)
            await registry.may_submit()
        row = context.job(word, action)
        if not is_at_rest(row):
            newest = context.newest(row)
            return m.Done(job=word, run=row.latest, number=newest.number if newest else None)
        run = _rerun(context, row, run_id)
    await accepted(run)
    while not no_block and not run.up:
        await run.changed.wait()
    return _started(context, word, run.row)


def _started(context: Context, word: str, row: RunRow) -> m.Done:
    text = failure_text(context, row) if row.step else never_up(context, row)
    if not text:
        return m.Done(job=word, run=row.run, number=row.number)
    return m.Done(job=word, code=errors.FAILED, text=text, run=row.run, number=row.number)


def _rerun(context: Context, row: JobRow, run_id: bytes) -> Run:
    try:
        return context.world.registry.rerun(
            row, run_id, context.caller, bounded=privileges.again(row.owner, context.access)
        )
    except NameTaken:
        raise Refused(errors.EXISTS, f"cannot start {row.job}: it is running", job=row.job) from None
    except Stopping:
        raise Refused(errors.UNAVAILABLE, "cannot start anything: jobd is shutting down") from None
    except KeyError:
        raise Refused(errors.FAILED, f"cannot start {row.job}: its definition is gone from the database") from None


# --- stop ---------------------------------------------------------------------------------------------------------
async def stop(context: Context, request: m.Stop) -> None:
    """Stop jobs; each is done when no process of it is left."""

    words = await _words(context, request, "stop")

    async def act(word: str, index: int) -> m.Done:
        return await _stop(context, request.id, word, request.no_block, "stop", only=_only(request, index))

    await each(context, request.id, words, act)


async def _words(context: Context, request: m.Stop | m.Kill, action: str) -> list[str]:
    """The jobs that are meant. With a run for each there are no globs to expand."""
    if not request.runs:
        return await context.expand(request.names, action, at_rest=False)
    if len(request.runs) != len(request.names):
        raise Refused(errors.INVALID, f"{len(request.names)} names and {len(request.runs)} runs: one for each, or none")
    return request.names


def _only(request: m.Stop | m.Kill, index: int) -> bytes | None:
    """The one run of the `index`-th job that is meant, if only one is."""
    return request.runs[index] if request.runs else None


async def _stop(
    context: Context, request: int, word: str, no_block: bool, action: str, only: bytes | None = None, once: str = ""
) -> m.Done:
    row = context.job(word, action)
    if row.sub == states.AUTO_RESTART and only is None:
        await restarting.stop_job(context.world.registry, (row.owner, row.job), context.caller)
        return m.Done(job=word)
    run = context.live(row)
    if run is None or is_at_rest(row) or only not in (None, run.id):
        return m.Done(job=word)
    commit = run.ask_stop(context.caller, once=once)
    if commit is not None:
        await commit.wait()
    if not no_block:
        await until_gone(context, request, word, run)
    return m.Done(job=word, run=run.id, number=run.row.number)


# --- restart ------------------------------------------------------------------------------------------------------
async def restart(context: Context, request: m.Restart) -> None:
    """Stop, then start."""
    _check_ids(request)

    action = "try-restart" if request.running_only else "restart"

    async def act(word: str, index: int) -> m.Done:
        if request.running_only and _is_left_alone(context, context.job(word, action), request.runs[index]):
            return m.Done(job=word)
        return await restart_job(context, request.id, word, request.runs[index], request.no_block, action)

    await each(context, request.id, request.names, act)


async def restart_job(context: Context, request: int, word: str, run_id: bytes, no_block: bool, action: str) -> m.Done:
    """Stop one job, and start it under this id."""
    row = context.job(word, action)
    retried = context.submitted(row.owner, row.job, run_id) is not None  # then the stop is done
    if not retried and row.sub != states.AUTO_RESTART:
        await _stop(context, request, word, False, action, once=run_id.hex())
    return await start_job(context, request, word, run_id, no_block, action)


def _is_left_alone(context: Context, row: JobRow, run_id: bytes) -> bool:
    """Whether a job is down, and not because we have stopped it, under a daemon that was killed over the restart."""
    if row.active not in ("inactive", "failed", "deactivating"):
        return False
    if context.submitted(row.owner, row.job, run_id) is not None or row.latest is None:
        return row.latest is None
    events = context.world.registry.store.last_events_of_run(row.owner, row.job, row.latest)
    return not any(event.data.get(ONCE) == run_id.hex() for event in events)


# --- kill ---------------------------------------------------------------------------------------------------------
async def kill(context: Context, request: m.Kill) -> None:
    """Send a signal to running jobs."""
    if request.whom not in ("main", CONTROL, "all"):
        raise Refused(errors.INVALID, f"cannot signal {request.whom!r}: neither main nor control nor all")

    async def act(word: str, index: int) -> m.Done:
        return await _signal(context, request, word, index)

    await each(context, request.id, await _words(context, request, "kill"), act)


async def _signal(context: Context, request: m.Kill, word: str, index: int) -> m.Done:
    row = context.job(word, "kill")
    run, only = context.live(row), _only(request, index)
    asked = _asked_of(context, row, only, request.once) if request.once else None
    if run is None or run.gone or run.pid is None or not run.went or only not in (None, run.id):
        if asked is not None:  # it has had its signal, and has ended
            return m.Done(job=word, run=asked)
        raise Refused(errors.NOT_APPLICABLE, f"cannot signal {word}: it is not running", job=word)
    if asked not in (None, run.id):  # and so has the one before this
        return m.Done(job=word, run=asked)
    if request.whom == CONTROL and asked is None and not run.helpers.at_work:
        raise Refused(errors.NOT_APPLICABLE, f"cannot signal {word}: no command of it runs besides", job=word)
    keeper = context.world.keeper
    if not keeper.alive:
        raise keeper_is_dead("signal", word)
    if asked is None:
        kind = f"kill {exits.signal_name(request.signal)} {request.whom}"
        once = {ONCE: request.once} if request.once else {}
        await run.job.note(run, kind, context.caller, None, **once).wait()
    answers = run.signaled
    opid = f"{USER_OPERATION}{context.world.registry.store.next_event_seq()}-{index}"
    if request.once:
        opid = ONCE_OPERATION + request.once
    keeper.send("signal", run=run.id, o=opid, sig=request.signal, whom=request.whom)
    while run.signaled == answers and not run.gone:
        if run.keeper_lost:
            raise keeper_is_dead("signal", word)
        await run.changed.wait()
    return m.Done(job=word, run=run.id, number=run.row.number)


def _asked_of(context: Context, row: JobRow, only: bytes | None, once: str) -> bytes | None:
    """The run that was to get this very signal before: of a daemon that was killed over it, or whose answer is lost.

    It is recorded ahead of the signal. Whether that was sent the keeper knows, as long as the run lives.
    """
    store = context.world.registry.store
    for run_id in store.last_runs(row.owner, row.job, ASKED_RUNS) if only is None else [only]:
        events = store.last_events_of_run(row.owner, row.job, run_id)
        if any(event.data.get(ONCE) == once for event in events):
            return run_id
    return None
