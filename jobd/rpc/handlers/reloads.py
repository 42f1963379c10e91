"""`reload` and `reload-or-restart`: jobs read their configuration again, each in the way that it has for that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from jobd.core import states
from jobd.core.records import ONCE
from jobd.rpc.context import Context, Refused
from jobd.rpc.handlers.each import each, keeper_is_dead
from jobd.rpc.runs import FIRST_PROGRESS_SEC
from jobd.rpc.starting import begin_one
from jobd.runtime import reloading
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.core.records import JobRow
    from jobd.runtime.run import Run

RELOAD, RELOAD_OR_RESTART = "reload", "reload-or-restart"  # the actions
AT_REST: Final = ("inactive", "failed", "deactivating")  # what reload-or-restart starts, and try-… leaves alone
NO_WAY: Final = "it has no way to: neither reload.signal nor reload.command is set"


async def reload(context: Context, request: m.Reload) -> None:
    """Reload jobs; each is done when it has been, or could not be."""
    if len(request.runs) != len(request.names) and (request.or_restart or request.runs):
        text = f"{len(request.names)} names and {len(request.runs)} run ids: one for each"
        raise Refused(errors.INVALID, text)
    action = RELOAD_OR_RESTART if request.or_restart else RELOAD
    words = request.names
    if not request.or_restart:
        words = await context.expand(request.names, action, at_rest=False)

    async def act(word: str, index: int) -> m.Done:
        if not request.or_restart:  # one name for the act is enough, as it is looked for among what was done to a run
            once = request.runs[0] if request.runs else b""
            return await _reload(context, request, word, context.job(word, action), once)
        return await _reload_or_restart(context, request, word, request.runs[index])

    await each(context, request.id, words, act, begins=True)


async def _reload_or_restart(context: Context, request: m.Reload, word: str, run_id: bytes) -> m.Done:
    row = context.job(word, RELOAD_OR_RESTART)
    run = context.live(row)
    follows = run is not None and run.row.next_run == run_id
    if follows or context.submitted(row.owner, row.job, run_id) is not None:  # this is a retry: it was no reload
        return await _begin(context, request, word, run_id)
    if row.active in AT_REST:
        if request.running_only:
            return m.Done(job=word)
        return await _begin(context, request, word, run_id)
    if run is not None and row.sub in (states.RUNNING, states.RELOAD) and reloading.is_possible(run):
        return await _reload(context, request, word, row, run_id)
    return await _begin(context, request, word, run_id, restarts=True)


async def _begin(context: Context, request: m.Reload, word: str, run_id: bytes, *, restarts: bool = False) -> m.Done:
    return await begin_one(context, request.id, word, run_id, request.no_block, RELOAD_OR_RESTART, restarts=restarts)


async def _reload(context: Context, request: m.Reload, word: str, row: JobRow, once: bytes) -> m.Done:
    run = context.live(row)
    if run is not None and once and (before := _before(context, run, once)) is not None:
        if not (before or request.no_block):
            await _until_reloaded(context, request.id, word, run)
            before = _before(context, run, once)
        return _done(word, run, before[0] if before else "")
    if run is None or row.sub not in (states.START, states.RUNNING, states.RELOAD):
        raise _not_applicable(word, "its program has ended" if row.sub == states.EXITED else "it is not running")
    if not reloading.is_possible(run):
        raise _not_applicable(word, NO_WAY)
    if not context.world.keeper.alive:
        raise keeper_is_dead("reload", word)
    while not run.up:  # what it begins with it has read, or is about to
        await run.changed.wait()
    if run.job.run is not run or run.job.row.sub not in (states.RUNNING, states.RELOAD):
        raise _not_applicable(word, "it is not running")
    commit = reloading.ask(run, context.caller, once.hex())
    if commit is not None:
        await commit.wait()
    if not request.no_block:
        await _until_reloaded(context, request.id, word, run)
        return _done(word, run, run.reload_trouble)
    return _done(word, run, "")


def _done(word: str, run: Run, trouble: str) -> m.Done:
    code, text = (errors.FAILED, f"cannot reload {word}: {trouble}") if trouble else ("", "")
    return m.Done(job=word, code=code, text=text, run=run.id, number=run.row.number)


def _before(context: Context, run: Run, once: bytes) -> tuple[str] | tuple[()] | None:
    """What came of this very reload, which a daemon that was killed over it began, or whose answer is lost.

    Returns:
        The trouble that there was ("": none); nothing while it is under way; None if it has not been asked for.
    """
    found: tuple[str] | tuple[()] = ()
    for event in context.world.registry.store.last_events_of_run(run.row.owner, run.row.job, run.id):
        if event.kind in reloading.ENDS:
            found = (str(event.data.get(reloading.REASON, "")),)
        elif event.data.get(ONCE) == once.hex():
            return found
    return None


async def _until_reloaded(context: Context, request: int, word: str, run: Run) -> None:
    """Wait for the end of the reload that is under way, of which there may be another after it."""
    number = run.row.reloads
    said = False
    while run.job.run is run and run.row.reloads == number and run.job.row.sub == states.RELOAD:
        with trio.move_on_after(FIRST_PROGRESS_SEC) as scope:
            await run.changed.wait()
        if scope.cancelled_caught and not said:
            said = True
            await context.connection.item(request, m.Progress(job=word, text=f"reloading {run.row.job}"))


def _not_applicable(word: str, why: str) -> Refused:
    return Refused(errors.NOT_APPLICABLE, f"cannot reload {word}: {why}", job=word)
