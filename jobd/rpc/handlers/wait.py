"""`wait`: tell when runs end. An end is told only once it is durable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from jobd.core.arrays import element_id
from jobd.rpc import views
from jobd.rpc.queueviews import in_order
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.core.records import JobRow, RunRow
    from jobd.rpc.context import Context
    from jobd.runtime.run import Run

FEW: Final = 8  # runs that are looked for in one turn


async def wait(context: Context, request: m.Wait) -> None:
    """Send one Ended for each run as it ends; with `any`, the first only.

    Of a queue, those runs that are in it now, or still to come to it as elements of an array, and that the caller may
    wait for.
    """
    targets = await _targets(context, request)
    send, receive = trio.open_memory_channel["RunRow"](len(targets) or 1)
    waiting: list[Run] = []

    def told(run: Run) -> None:
        send.send_nowait(run.row)

    try:
        for row in targets:
            live = context.live_run(row)
            if live is None or live.gone:
                send.send_nowait(row)
                continue
            waiting.append(live)
            live.on_end = [*(live.on_end or ()), told]
        for _ in targets:
            row = await receive.receive()
            # What is allowed may have changed meanwhile.
            context.grant("wait", row.owner, row.job, context.word(row.owner, row.job))
            ended = context.now(row)
            if ended is not None:  # else retention was faster
                view = views.run_view(context.world.registry, ended)
                await context.connection.item(request.id, m.Ended(run=view))
            if request.any:
                break
    finally:
        for run in waiting:
            run.on_end = [callback for callback in run.on_end or () if callback is not told] or None
    await context.connection.end(request.id)


async def _targets(context: Context, request: m.Wait) -> list[RunRow]:
    found: dict[bytes, RunRow] = {}
    words: list[str] = []
    for run_id in request.runs:
        whole = context.find_array(run_id, "wait")
        if whole is not None:
            words += await context.elements(context.word(whole.owner, whole.job), at_rest=True) or ()
            continue
        row = context.run(run_id, "wait")
        found[row.run] = row
        if len(found) % FEW == 0:
            await context.turn()
    if request.queue:
        found |= await _queued(context, request.queue)
    for word in await context.expand(request.jobs, "wait", at_rest=False, whole=True):
        words += await context.elements(word, at_rest=True) or (word,)
    for word in words:
        newest = context.newest(context.job(word, "wait"))
        if newest is not None:
            found[newest.run] = newest
            if len(found) % FEW == 0:
                await context.turn()
    return list(found.values())


async def _queued(context: Context, word: str) -> dict[bytes, RunRow]:
    queue = context.queue(word)
    coming = context.world.registry.arrays.coming((queue.owner, queue.name))
    found: dict[bytes, RunRow] = {}
    for count, run in enumerate(in_order(context, (queue.owner, queue.name)), 1):
        if context.may("wait", run.row.owner, run.row.job):
            found[run.id] = run.row
        if count % FEW == 0:
            await context.turn()
    for whole in coming:
        if context.may("wait", whole.owner, whole.job):
            await _come(context, whole, found)
    return found


async def _come(context: Context, whole: JobRow, found: dict[bytes, RunRow]) -> None:
    """Add the elements of an array that were still to be accepted."""
    registry = context.world.registry
    await registry.arrays.filled(whole.owner, whole.job)
    assert whole.latest is not None
    for place in range(whole.runs, len(registry.arrays.numbers(whole.array).indices)):
        row = registry.waiting.row((whole.owner, element_id(whole.latest, place)))
        if row is not None and context.may("wait", row.owner, row.job):
            found[row.run] = row
        if place % FEW == 0:
            await context.turn()
