"""`start`, `stop`, `restart`, `kill`: one task a job, progress while it waits, one Done for each."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import trio

from jobd.core import exits
from jobd.core.ids import ONCE_OPERATION, USER_OPERATION
from jobd.core.records import ONCE
from jobd.rpc.context import Context, Refused
from jobd.rpc.handlers.each import each, keeper_is_dead, live
from jobd.rpc.handlers.run import accepted, failure_text, is_at_rest
from jobd.runtime.registry import NameTaken, Stopping
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.core.records import JobRow
    from jobd.runtime.run import Run

FIRST_PROGRESS_SEC: Final = 0.5  # most stops are over by then and need no words
PROGRESS_SEC: Final = 1.0
SHOWN_PROCESSES: Final = 5
ASKED_RUNS: Final = 3  # of a job: so many may have come and gone while a client connects again


# --- start --------------------------------------------------------------------------------------------------------
async def start(context: Context, request: m.Start) -> None:
    """Start jobs at rest again; a job that runs is left alone, as systemctl does."""
    _check_ids(request)

    async def act(word: str, index: int) -> m.Done:
        return await _start(context, request.id, word, request.runs[index], request.no_block)

    await each(context, request.id, request.names, act)


def _check_ids(request: m.Start | m.Restart) -> None:
    if len(request.runs) != len(request.names):
        raise Refused(errors.INVALID, f"{len(request.names)} names and {len(request.runs)} run ids: one for each")


async def _start(context: Context, request: int, word: str, run_id: bytes, no_block: bool) -> m.Done:
    registry = context.world.registry
    await registry.may_submit()
    row = context.job(word)
    run = registry.runs.get(run_id)
    known = registry.store.run(row.owner, run_id) if run is None else run.row
    if known is not None and (known.owner, known.job) != (row.owner, row.job):
        raise Refused(errors.MALFORMED, "cannot take this run id", job=word)
    if run is None and known is not None:
        return _started(context, word, known.step, known.run, known.number)  # a retry after a lost reply
    if run is None:
        old = live(context, row)
        if old is not None and row.active == "deactivating":
            await until_gone(context, request, word, old)
            await registry.may_submit()
        row = context.job(word)
        if not is_at_rest(row):
            newest = context.newest(row)
            return m.Done(job=word, run=row.latest, number=newest.number if newest else None)
        run = _rerun(context, row, run_id)
    await accepted(run)
    while not no_block and not run.launched:
        await run.changed.wait()
    return _started(context, word, run.row.step, run.id, run.row.number)


def _started(context: Context, word: str, step: str, run: bytes, number: int) -> m.Done:
    if not step:
        return m.Done(job=word, run=run, number=number)
    row = context.run_row(context.owner, run)
    assert row is not None
    return m.Done(job=word, code=errors.FAILED, text=failure_text(context, row), run=run, number=number)


def _rerun(context: Context, row: JobRow, run_id: bytes) -> Run:
    try:
        return context.world.registry.rerun(row, run_id, context.caller)
    except NameTaken:
        raise Refused(errors.EXISTS, f"cannot start {row.job}: it is running", job=row.job) from None
    except Stopping:
        raise Refused(errors.UNAVAILABLE, "cannot start anything: jobd is shutting down") from None
    except KeyError:
        raise Refused(errors.FAILED, f"cannot start {row.job}: its definition is gone from the database") from None


# --- stop ---------------------------------------------------------------------------------------------------------
async def stop(context: Context, request: m.Stop) -> None:
    """Stop jobs; each is done when no process of it is left."""

    words = _words(context, request)

    async def act(word: str, index: int) -> m.Done:
        return await _stop(context, request.id, word, request.no_block, only=_only(request, index))

    await each(context, request.id, words, act)


def _words(context: Context, request: m.Stop | m.Kill) -> list[str]:
    """The jobs that are meant. With a run for each there are no globs to expand."""
    if not request.runs:
        return context.expand(request.names, at_rest=False)
    if len(request.runs) != len(request.names):
        raise Refused(errors.INVALID, f"{len(request.names)} names and {len(request.runs)} runs: one for each, or none")
    return request.names


def _only(request: m.Stop | m.Kill, index: int) -> bytes | None:
    """The one run of the `index`-th job that is meant, if only one is."""
    return request.runs[index] if request.runs else None


async def _stop(context: Context, request: int, word: str, no_block: bool, only: bytes | None = None) -> m.Done:
    row = context.job(word)
    run = live(context, row)
    if run is None or is_at_rest(row) or only not in (None, run.id):
        return m.Done(job=word)
    commit = run.ask_stop(context.caller)
    if commit is not None:
        await commit.wait()
    if not no_block:
        await until_gone(context, request, word, run)
    return m.Done(job=word, run=run.id, number=run.row.number)


async def until_gone(context: Context, request: int, word: str, run: Run) -> None:
    """Wait until this run (not one that follows it) has ended, and say meanwhile what is waited for."""
    said = ""
    pause = FIRST_PROGRESS_SEC
    while not run.gone:
        with trio.move_on_after(pause) as scope:
            await run.changed.wait()
        if scope.cancelled_caught:
            pause = PROGRESS_SEC
            text = await _waiting_for(context, run)
            if text != said:
                said = text
                await context.connection.item(request, m.Progress(job=word, text=text))


async def _waiting_for(context: Context, run: Run) -> str:
    tree = await context.world.keeper.tree(run.id)
    shown = [f"{pid} ({_command(command)})" for pid, _, command in tree.processes[:SHOWN_PROCESSES]]
    count = len(tree.processes)
    more = ", …" if count > SHOWN_PROCESSES else ""
    sub = run.job.row.sub
    if not count:
        return f"stopping {run.row.job} ({sub})"
    return f"stopping {run.row.job} ({sub}): {count} process{'es' if count > 1 else ''} left: {', '.join(shown)}{more}"


def _command(command: bytes) -> str:
    return os.path.basename(command.split(b"\0")[0].split(b" ")[0]).decode(errors="backslashreplace")[:32]


# --- restart ------------------------------------------------------------------------------------------------------
async def restart(context: Context, request: m.Restart) -> None:
    """Stop, then start."""
    _check_ids(request)

    async def act(word: str, index: int) -> m.Done:
        run_id = request.runs[index]
        if context.run_row(context.owner, run_id) is None:  # else this is a retry: the stop is done
            await _stop(context, request.id, word, no_block=False)
        return await _start(context, request.id, word, run_id, request.no_block)

    await each(context, request.id, request.names, act)


# --- kill ---------------------------------------------------------------------------------------------------------
async def kill(context: Context, request: m.Kill) -> None:
    """Send a signal to running jobs."""
    if request.whom not in ("main", "all"):
        raise Refused(errors.INVALID, f"cannot signal {request.whom!r}: neither main nor all")

    async def act(word: str, index: int) -> m.Done:
        return await _signal(context, request, word, index)

    await each(context, request.id, _words(context, request), act)


async def _signal(context: Context, request: m.Kill, word: str, index: int) -> m.Done:
    row = context.job(word)
    run, only = live(context, row), _only(request, index)
    asked = _asked_of(context, row, only, request.once) if request.once else None
    if run is None or run.gone or run.pid is None or not run.went or only not in (None, run.id):
        if asked is not None:  # it has had its signal, and has ended
            return m.Done(job=word, run=asked)
        raise Refused(errors.NOT_APPLICABLE, f"cannot signal {word}: it is not running", job=word)
    if asked not in (None, run.id):  # and so has the one before this
        return m.Done(job=word, run=asked)
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
