"""`reset-failed` and `rm`: acts on what is at rest, or is brought to rest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from jobd.core import names, states
from jobd.rpc.context import Context, Refused
from jobd.rpc.handlers.each import each, many
from jobd.rpc.runs import until_gone
from jobd.rpc.stopping import stop_all
from jobd.runtime import acts, restarting, resting, together
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.core.records import JobRow
    from jobd.runtime.run import Run

RESET: Final = "reset-failed"
PURGED: Final = "purged"  # an act on jobd, since the job and its events go
FIRST_PROGRESS_SEC: Final = 0.5  # as of a stop
PURGE_BYTES: Final = 1 << 20  # of a log that is about to go: so much of it is kept until its run has ended


# --- reset-failed -------------------------------------------------------------------------------------------------
async def reset_failed(context: Context, request: m.ResetFailed) -> None:
    """Make failed jobs inactive; without names all that the caller has."""
    words = (
        await context.expand(request.names, RESET, at_rest=True, whole=True) if request.names else context.own_failed()
    )

    async def act(word: str, _: int) -> m.Done:
        row = context.job(word, RESET)
        for element in await context.elements(word, at_rest=True) or ():
            await context.turn()
            of = context.find(element, RESET)
            if of is not None and of.sub == states.FAILED:
                await resting.reset_failed(context.world.registry, (of.owner, of.job), context.caller)
        await resting.reset_failed(context.world.registry, (row.owner, row.job), context.caller)
        return m.Done(job=word)

    await each(context, request.id, words, act)


# --- rm -----------------------------------------------------------------------------------------------------------
async def remove(context: Context, request: m.Remove) -> None:
    """Take jobs out of the lists, once they are at rest; with `purge` their runs and logs too."""
    if request.runs and len(request.runs) != len(request.names):
        raise Refused(errors.INVALID, f"{len(request.names)} names and {len(request.runs)} runs: one for each, or none")
    words = request.names if request.runs else await context.expand(request.names, "rm", at_rest=True, whole=True)

    async def act(word: str, index: int) -> m.Done:
        if request.runs and any(request.runs[index]) and await _is_done(context, word, request.runs[index]):
            return m.Done(job=word)
        return await _remove(context, request, word)

    await each(context, request.id, words, act)


async def _is_done(context: Context, word: str, newest: bytes) -> bool:
    """Whether the job whose newest run was this one has been removed, perhaps by a daemon that was killed over it."""
    registry = context.world.registry
    key = context.past_key(word, "rm")
    if key is None or not resting.was_removed(registry, key, newest):
        return False
    registry.store.purge()
    await resting.purged(registry, key)
    return True


async def _remove(context: Context, request: m.Remove, word: str) -> m.Done:
    registry = context.world.registry
    row = context.job(word, "rm")
    key = (row.owner, row.job)
    if row.array:
        await _remove_elements(context, request, word, row)
    if row.file.startswith("/") and await context.world.definitions.is_there(*key):
        text = f"cannot remove {word}: it is defined by {row.file}; remove that file first"
        raise Refused(errors.EXISTS, text, job=word)
    while (runs := resting.live_runs(registry, key)) or resting.is_restarting(registry, key):
        if resting.is_restarting(registry, key):
            if not request.stop:
                text = f"cannot remove {word}: it is to be started again; stop it first, or use --now"
                raise Refused(errors.EXISTS, text, job=word)
            await restarting.stop_job(registry, key, context.caller)
        else:
            await _bring_to_rest(context, request, word, runs[-1])
        context.grant("rm", *key, word)  # that may have taken long, and what is allowed may have changed
    if request.purge:
        if context.is_anothers(row):  # all that was recorded of the job goes, but not that somebody else has seen to it
            whose = context.word(row.owner, row.job)
            await acts.record(registry, PURGED, context.caller, f"{whose}, with its runs and logs")
        await context.world.keeper.flushed()  # it must not present us a run of which nothing is known any more
        if resting.live_runs(registry, key):
            return await _remove(context, request, word)  # somebody has just started it
    if names.is_template(row.job) and not row.transient:
        await context.world.definitions.forget_instances(*key, context.caller)
    await resting.remove(registry, key, request.purge, context.caller)
    return m.Done(job=word)


async def _remove_elements(context: Context, request: m.Remove, word: str, row: JobRow) -> None:
    """Remove an array's elements, many at a time; itself it has no runs. Raises Refused for the first that is not."""
    registry = context.world.registry
    elements = await context.elements(word, at_rest=True) or []
    live = registry.arrays.live_elements(row.owner, row.job)
    if live and not request.stop:
        text = f"cannot remove {word}: {len(live)} of its elements are queued or running; stop it first, or use --now"
        raise Refused(errors.EXISTS, text, job=word)
    for commit in await stop_all(context, "rm", row.owner, dict.fromkeys(live)):
        await commit.wait()

    async def one(element: str) -> None:
        if context.find(element, "rm") is not None:
            await _remove(context, request, element)

    await many(context, elements, one)


async def _bring_to_rest(context: Context, request: m.Remove, word: str, run: Run) -> None:
    """Stop a run if that is wanted, and wait until its output is at its end, too."""
    if (run.job.run is run or run.row.in_line) and run.job.row.sub not in states.AT_REST:
        if not request.stop:
            what = "queued" if run.job.row.sub == states.QUEUED else "running"
            text = f"cannot remove {word}: it is {what}; stop it first, or use --now"
            raise Refused(errors.EXISTS, text, job=word)
        await together.stop(context.world.registry, run.row.owner, [run.row.job], context.caller).wait()
        await until_gone(context, request.id, word, run)
    said = False
    while context.live_run(run.row) is not None:
        with trio.move_on_after(FIRST_PROGRESS_SEC) as scope:
            await run.output_changed.wait()
        if scope.cancelled_caught and not said:
            said = True
            if request.purge:  # on a full disk it would wait for the very room that it is to make
                context.world.pump.set_cap(run.id, PURGE_BYTES, "drop")
            text = f"removing {run.row.job}: waiting for the end of its output"
            await context.connection.item(request.id, m.Progress(job=word, text=text))
