"""`rerun`: the submission of an earlier run, as the next run of its job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobd.rpc.context import SHOWN_ID, Context, Refused
from jobd.rpc.handlers.run import submit_once
from jobd.runtime.registry import NameTaken, Stopping
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.runtime.run import Run


async def rerun(context: Context, request: m.Rerun) -> None:
    """Accept and answer as `run` does."""
    if not request.job and len(request.run) < SHOWN_ID:
        raise Refused(errors.INVALID, f"cannot rerun {request.run!r}: name a job, or a run by its id or the end of one")
    key = context.key(request.job)
    if key is None:
        raise context.not_found(request.job)
    await submit_once(
        context, request.id, key[0], request.new, request.exec_wait, lambda: _submit_again(context, request)
    )


def _submit_again(context: Context, request: m.Rerun) -> Run:
    row = context.pick(request.job, request.run)
    try:
        run = context.world.registry.rerun(row, request.new, context.caller, request.stdin)
    except NameTaken:
        text = f"cannot rerun {row.job!r}: it is running; stop it first, or restart it"
        raise Refused(errors.EXISTS, text, job=row.job) from None
    except Stopping:
        raise Refused(errors.UNAVAILABLE, "cannot start anything: jobd is shutting down") from None
    except KeyError:
        text = f"cannot rerun {row.job}#{row.number}: its definition is gone from the database"
        raise Refused(errors.FAILED, text) from None
    run.window = request.window
    return run
