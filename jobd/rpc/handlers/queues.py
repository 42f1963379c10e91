"""`queue list` and its like: queues as they are, and what their owners and administrators change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobd.core.records import DRAINING, OPEN, PAUSED
from jobd.rpc import views
from jobd.rpc.context import Context, Refused
from jobd.rpc.pagesize import LIST_PAGE, fitting
from jobd.rpc.queueviews import in_order, queue_view
from jobd.rpc.terms import told
from jobd.runtime import holding
from jobd.runtime.journal import NotDurable
from jobd.runtime.queues import KEEP
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.runtime.journal import Commit
    from jobd.runtime.run import Run

STATES: Final = (OPEN, PAUSED, DRAINING)
STEP: Final = 200  # runs that are looked at in one turn
SET: Final = "set-property"  # who may say which priority a run has may have it change places


# --- looking --------------------------------------------------------------------------------------------------------
def list_queues(context: Context, request: m.QueueList) -> m.Queues:
    """Queues and their figures."""
    return m.Queues(queues=[queue_view(context, row) for row in context.queues_seen(request.patterns, request.all)])


async def show(context: Context, request: m.QueueShow) -> None:
    """Answer with a queue and a page of its runs in order.

    A page goes on behind the last run of the one before. When that has begun meanwhile it begins anew: so nothing is
    left out, and some may come twice.
    """
    row = context.queue(request.name)
    key = row.owner, row.name
    runs = in_order(context, key)
    at = next((at for at, run in enumerate(runs) if f"{run.row.state}:{run.id.hex()}" == request.after), -1) + 1
    seen: list[Run] = []
    others = 0
    for count, run in enumerate(runs[at:] if at else runs):
        if context.sees(run.row.owner, run.row.job):
            seen.append(run)
        else:
            others += 1
        if count % STEP == STEP - 1:
            await context.turn()
    registry = context.world.registry
    page = [run for run in seen if not run.gone][: min(request.limit, LIST_PAGE) + 1]
    made = fitting(told(context, views.run_view(registry, run.row)) for run in page)[: request.limit]
    last = page[len(made) - 1] if made else None
    more = "" if last is None or len(made) == len(page) else f"{last.row.state}:{last.id.hex()}"
    view = queue_view(context, row)
    await context.connection.reply(request.id, m.QueueDetail(view=view, runs=made, others=others, more=more))


# --- changing -------------------------------------------------------------------------------------------------------
async def add(context: Context, request: m.QueueAdd) -> None:
    """Answer when it is there for good."""
    owner, name = context.new_queue(request.name, request.shared)
    await _done(
        context, request.id, context.world.registry.queues.add(owner, name, _slots(request.slots), context.caller)
    )


async def change(context: Context, request: m.QueueSet) -> None:
    """Answer when it is so for good."""
    row = context.queue_to_change(request.name)
    if request.state not in ("", *STATES):
        raise Refused(errors.INVALID, f"cannot set a queue to {request.state!r}: it is one of {', '.join(STATES)}")
    slots = KEEP if request.slots is None else _slots(request.slots)
    queues = context.world.registry.queues
    commit = queues.set((row.owner, row.name), context.caller, slots=slots, state=request.state)
    await _done(context, request.id, commit)


async def remove(context: Context, request: m.QueueRemove) -> None:
    """Answer when it is gone for good."""
    row = context.queue_to_change(request.name)
    await _done(context, request.id, context.world.registry.queues.remove((row.owner, row.name), context.caller))


def _slots(number: int) -> int | None:
    return None if number == m.NO_LIMIT else number


async def _done(context: Context, request: int, commit: Commit | None) -> None:
    if commit is not None:
        try:
            await commit.wait()
        except NotDurable as error:
            raise Refused(errors.NO_SPACE, f"cannot change the queue: {error}") from error
    await context.connection.reply(request, m.Ok())


# --- changing places ------------------------------------------------------------------------------------------------
async def switch(context: Context, request: m.QueueSwitch) -> None:
    """Answer when two runs have changed places for good."""
    registry = context.world.registry
    newest = context.newest(context.job(request.first, SET))
    if newest is not None and holding.was_switched(registry, newest, request.once):
        await _done(context, request.id, None)
        return
    first, second = _waiting(context, request.first), _waiting(context, request.second)
    if (first.row.owner, first.row.queue) != (second.row.owner, second.row.queue):
        text = f"cannot switch {request.first} and {request.second}: they are not in one queue, or not of one user"
        raise Refused(errors.NOT_APPLICABLE, text, job=request.first)
    await _done(context, request.id, holding.switch(registry, first, second, context.caller, request.once))


def _waiting(context: Context, word: str) -> Run:
    """The newest run of a job, which waits in a queue."""
    run = context.live(context.job(word, SET))
    if run is None or not holding.waits(run) or not run.row.queue:
        raise Refused(errors.NOT_APPLICABLE, f"cannot switch {word}: it does not wait in a queue", job=word)
    return run
