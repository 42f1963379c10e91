"""`attach` and what belongs to it: feeding a run's stdin, its terminal's size, and the end of its reader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from jobd.core.spec import PTY
from jobd.rpc.context import Context, Refused
from jobd.rpc.feeding import Feeding
from jobd.rpc.runs import accepted
from jobd.rpc.views import spec_of
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.core.records import RunRow
    from jobd.runtime.run import Run

# A terminal is made another size for so long, and its own again: programs draw anew only when they see a change.
NUDGE_SEC: Final = 0.05
ATTACH: Final = "attach"  # the action of all of them


async def attach(context: Context, request: m.Attach) -> None:
    """Feed a run until it has ended, the client leaves, or another client takes over."""
    row = context.run(request.run, ATTACH)
    run = context.live_run(row)
    if run is None:
        await _has_ended(context, request, row)
        return
    await accepted(run)
    while not run.launched:
        await run.changed.wait()
    context.run(request.run, ATTACH)  # what is allowed may have changed meanwhile
    if context.is_anothers(run.row) and not run.gone:
        await run.job.note(run, "attached", context.caller).wait()
    feeding = None if run.feed is None else Feeding(run, run.feed)
    try:
        if feeding is None:
            await context.connection.item(request.id, _attached(run.row, run.spec.stdin))
            while not run.gone:
                await run.changed.wait()
        else:
            await _feed(context, request, feeding)
    finally:
        if feeding is not None:
            feeding.leave()
            context.connection.feeds.pop(request.id, None)
    await context.connection.end(request.id)


async def _has_ended(context: Context, request: m.Attach, row: RunRow) -> None:
    stdin = spec_of(context.world.registry, row.spec).stdin
    await context.connection.item(request.id, _attached(row, stdin))
    await context.connection.end(request.id)


def _attached(row: RunRow, stdin: str, state: m.Fed | None = None) -> m.Attached:
    state = state or m.Fed(received=0, limit=0, open=False)
    return m.Attached(
        job=row.job,
        owner=row.owner,
        run=row.run,
        number=row.number,
        pid=row.pid,
        stdin=stdin,
        received=state.received,
        limit=state.limit,
        open=state.open,
    )


async def _feed(context: Context, request: m.Attach, feeding: Feeding) -> None:
    run, stdin = feeding.run, feeding.stdin
    if request.input:
        context.connection.feed(request.id, feeding)
        feeding.take_over()
        # What the one before has sent is to be where we say that it is.
        while not stdin.settled and feeding.current and not run.gone:
            await stdin.changed.wait()
    if request.window is not None:
        await _fit(context, run, request.window, redraw=stdin.was_fed)
    stdin.was_fed = True
    told = feeding.state()
    await context.connection.item(request.id, _attached(run.row, run.spec.stdin, told))
    while not run.gone:
        if feeding.error:
            raise Refused(errors.INVALID, feeding.error)
        state = feeding.state()
        if feeding.is_news(state, told):
            told = state
            await context.connection.item(request.id, state)
        else:
            await stdin.changed.wait()


async def _fit(context: Context, run: Run, window: tuple[int, int], redraw: bool) -> None:
    """Give the terminal the size of the client's, and have its programs draw it if they had drawn before."""
    if run.spec.stdin != PTY:
        return
    rows, columns = window
    if redraw:
        context.world.registry.streams.feeder.resize(run.id, rows, columns - 1 if columns > 1 else columns + 1)
        await trio.sleep(NUDGE_SEC)
    context.world.registry.streams.feeder.resize(run.id, rows, columns)


def _feeding(context: Context, request: m.Input | m.Resize) -> Feeding | None:
    """The Attach that it belongs to, unless that is over, or not allowed any more."""
    feeding = context.connection.feeds.get(request.request)
    if feeding is None or not context.may(ATTACH, feeding.run.row.owner, feeding.run.row.job):
        return None
    return feeding


def feed(context: Context, request: m.Input) -> None:
    """Bytes for a run; of an Attach that is over they are dropped."""
    feeding = _feeding(context, request)
    if feeding is not None:
        feeding.feed(context.world.registry.streams.feeder, request)


def resize(context: Context, request: m.Resize) -> None:
    """Another size for a terminal."""
    feeding = _feeding(context, request)
    if feeding is not None and feeding.run.spec.stdin == PTY:
        context.world.registry.streams.feeder.resize(feeding.run.id, *request.window)


def close_output(context: Context, request: m.CloseOutput) -> m.Ok:
    """Break a run's stdout. Of one that has ended nothing is left to break."""
    run = context.live_run(context.run(request.run, ATTACH))
    if run is not None:
        if context.is_anothers(run.row) and not run.gone:
            run.job.note(run, "output-closed", context.caller)
        context.world.registry.streams.close_output(run)
    return m.Ok()
