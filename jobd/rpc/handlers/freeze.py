"""`freeze` and `thaw`: the keeper holds the trees, and knows which; here the wish is recorded ahead of the act."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobd.core import states
from jobd.rpc.context import Context, Refused
from jobd.rpc.handlers.each import each, keeper_is_dead
from jobd.runtime.elements import RUNNING
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.runtime.run import Run

FROZEN: Final = "frozen"  # kinds of events
THAWED: Final = "thawed"


async def freeze(context: Context, request: m.Freeze) -> None:
    """Hold running jobs; each is done when all of its processes are held."""

    async def act(word: str, _: int) -> m.Done:
        run = context.live(context.job(word, "freeze"))
        if run is None or not _runs(run):
            raise _not_running("freeze", word)
        if not run.frozen:
            await _record(context, run, FROZEN)
            if not _runs(run):
                raise _not_running("freeze", word)
            why = await context.world.keeper.freeze(run.id, True)
            if why is None:
                raise keeper_is_dead("freeze", word)
            if why and not _runs(run):
                raise _not_running("freeze", word)
            if why and not run.frozen:
                await run.job.note(run, THAWED).wait()
                raise Refused(errors.FAILED, f"cannot freeze {word}: {why}", job=word)
        return m.Done(job=word, run=run.id, number=run.row.number)

    await each(context, request.id, await context.expand(request.names, "freeze", at_rest=False, only=RUNNING), act)


async def thaw(context: Context, request: m.Thaw) -> None:
    """Let frozen jobs go on; one that is not frozen goes on as it is."""

    async def act(word: str, _: int) -> m.Done:
        run = context.live(context.job(word, "thaw"))
        if run is None or not _runs(run):
            raise _not_running("thaw", word)
        if run.frozen:
            await _record(context, run, THAWED)
        if await context.world.keeper.freeze(run.id, False) is None:  # also one that is only half frozen
            raise keeper_is_dead("thaw", word)
        return m.Done(job=word, run=run.id, number=run.row.number)

    await each(context, request.id, await context.expand(request.names, "thaw", at_rest=False, only=RUNNING), act)


def _runs(run: Run) -> bool:
    """Whether it runs; one that is being stopped does not any more, and is not to be held."""
    return not run.gone and run.job.run is run and run.job.row.sub == states.RUNNING


def _not_running(verb: str, word: str) -> Refused:
    return Refused(errors.NOT_APPLICABLE, f"cannot {verb} {word}: it is not running", job=word)


async def _record(context: Context, run: Run, kind: str) -> None:
    """Commit the wish; asked again by the same caller, because a daemon died over it, it is there already."""
    store = context.world.registry.store
    for event in store.last_events_of_run(run.row.owner, run.row.job, run.id):
        if event.kind in (FROZEN, THAWED):
            if (event.kind, event.by_uid, event.by_pid) == (kind, context.caller.uid, context.caller.pid):
                return
            break
    await run.job.note(run, kind, context.caller).wait()
