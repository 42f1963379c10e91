"""`cancel`, `hold`, `release`: acts on runs that wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobd.core.after import DEPENDENCY
from jobd.rpc.context import Context, Refused
from jobd.rpc.handlers.each import each, only_run, words_meant
from jobd.rpc.stopping import shorten_line
from jobd.runtime import holding
from jobd.runtime.elements import QUEUED
from jobd.runtime.ending import CANCELED
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.core.records import JobRow
    from jobd.runtime.run import Run

HOLD: Final = "hold"
RELEASE: Final = "release"
CANCEL: Final = "cancel"
# Of what cannot begin any more there is nothing to cancel: it may be so for another one that was canceled just now.
NEVER_BEGAN: Final = (CANCELED, DEPENDENCY)


async def hold(context: Context, request: m.Hold) -> None:
    """Each is done when it is held for good."""

    async def act(word: str, _: int) -> m.Done:
        row = context.job(word, HOLD)
        run = _waiting(context, row)
        if run is None:
            raise _waits_not(HOLD, word, row)
        commit = holding.hold(context.world.registry, run, context.caller)
        if commit is not None:
            await commit.wait()
        return m.Done(job=word, run=run.id, number=run.row.number)

    await each(context, request.id, await context.expand(request.names, HOLD, at_rest=False, only=QUEUED), act)


async def release(context: Context, request: m.Release) -> None:
    """Each is done when it may begin. One that is not held goes on as it is, whatever it does."""

    async def act(word: str, _: int) -> m.Done:
        run = _waiting(context, context.job(word, RELEASE))
        if run is None:
            return m.Done(job=word)
        commit = holding.release(context.world.registry, run, context.caller)
        if commit is not None:
            await commit.wait()
        return m.Done(job=word, run=run.id, number=run.row.number)

    await each(context, request.id, await context.expand(request.names, RELEASE, at_rest=False, only=QUEUED), act)


async def cancel(context: Context, request: m.CancelQueued) -> None:
    """Each is done when its end is durable. Asked for again, what was canceled is."""

    async def act(word: str, index: int) -> m.Done:
        row, only = context.job(word, CANCEL), only_run(request, index)
        if only in (None, row.latest):
            await shorten_line(context, CANCEL, row.owner, row.job)
            row = context.job(word, CANCEL)  # by now
        run = _waiting(context, row)
        meant = only in (None, row.latest)
        commit = holding.cancel_line(context.world.registry, row, context.caller) if meant else None
        if commit is not None and run is None:
            await commit.wait()
            return m.Done(job=word)
        if run is None or only not in (None, run.id):
            newest = context.newest(row)
            if newest is not None and newest.result in NEVER_BEGAN and only in (None, newest.run):
                return m.Done(job=word, run=newest.run, number=newest.number)
            raise _waits_not(CANCEL, word, row)
        holding.cancel(context.world.registry, run, context.caller)
        while not run.gone:
            await run.changed.wait()
        if run.row.result != CANCELED:  # it had begun just then
            raise _waits_not(CANCEL, word, row)
        return m.Done(job=word, run=run.id, number=run.row.number)

    await each(context, request.id, await words_meant(context, request, CANCEL), act)


def _waiting(context: Context, row: JobRow) -> Run | None:
    """The newest run of a job, if it waits."""
    run = context.live(row)
    return run if holding.waits(run) else None


def _waits_not(verb: str, word: str, row: JobRow) -> Refused:
    text = f"cannot {verb} {word}: it does not wait"
    if row.latest is not None and row.active not in ("inactive", "failed"):
        text = f"cannot {verb} {word}: it has begun already; jobctl stop {word} ends it"
    return Refused(errors.NOT_APPLICABLE, text, job=word)
