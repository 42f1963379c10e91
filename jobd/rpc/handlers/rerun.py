"""`rerun`: the submission of an earlier run, as the next run of its job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobd.core import names
from jobd.core.graph import Refusal
from jobd.core.spec import NULL
from jobd.rpc import privileges, startable
from jobd.rpc.context import SHOWN_ID, Context, Refused
from jobd.rpc.runs import refused, submit_once
from jobd.rpc.views import spec_of
from jobd.runtime import together
from jobd.runtime.registry import Stopping
from jobd.runtime.submission import NameTaken
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.core.records import RunRow
    from jobd.runtime.run import Run


async def rerun(context: Context, request: m.Rerun) -> None:
    """Accept and answer as `run` does."""
    if not request.job and len(request.run) < SHOWN_ID:
        raise Refused(errors.INVALID, f"cannot rerun {request.run!r}: name a job, or a run by its id or the end of one")

    def known() -> RunRow | None:
        row = context.find_run(request.new, "rerun")
        if row is not None and request.job and names.split_owner(request.job)[1] != row.job:
            raise Refused(errors.MALFORMED, "cannot take this run id")
        return row

    await submit_once(context, request.id, request.exec_wait, known, lambda: _submit_again(context, request))


def _submit_again(context: Context, request: m.Rerun) -> Run:
    row = context.pick(request.job, request.run, "rerun")
    known = context.submitted(row.owner, row.job, request.new)
    assert known is None  # he sees the job, and so its runs
    _check_stdin(context, request, row)
    job = context.written(row.owner, row.job, "rerun")
    if job is not None and job.masked:
        startable.check(job, row.job, "rerun")
    registry = context.world.registry
    act = together.Act(context.caller, privileges.again(row.owner, context.access))
    try:
        run = together.accept_with_needs(
            registry, row.owner, row.job, spec_of(registry, row.spec), act,
            lambda held: registry.rerun(row, request.new, context.caller, request.stdin, act.bounded, held=held),
        )  # fmt: skip
    except Refusal as refusal:
        raise refused(context, row.owner, row.job, refusal) from None
    except NameTaken as taken:
        what = "queued; cancel it first" if taken.queued else "running; stop it first, or restart it"
        text = f"cannot rerun {row.job!r}: it is {what}"
        raise Refused(errors.EXISTS, text, job=row.job) from None
    except Stopping:
        raise Refused(errors.UNAVAILABLE, "cannot start anything: jobd is shutting down") from None
    except KeyError:
        text = f"cannot rerun {row.job}#{row.number}: its definition is gone from the database"
        raise Refused(errors.FAILED, text) from None
    run.window = request.window
    return run


def _check_stdin(context: Context, request: m.Rerun, row: RunRow) -> None:
    """Who controls another's job by a rule repeats it as it was. Raises Refused (DENIED).

    Many programs do on a terminal, or with input, what their owner has not thought of: a pager has a shell.
    """
    if request.stdin in (None, NULL) or context.is_trusted(row):
        return
    if request.stdin != spec_of(context.world.registry, row.spec).stdin:
        text = f"cannot rerun {row.job} with a stdin that is a {request.stdin}: what it is, its owner says"
        raise Refused(errors.DENIED, text, job=row.job)
