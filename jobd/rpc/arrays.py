"""Accepting arrays for `run --array`: a run for each of some numbers, all of them as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobd.core import arrays, names
from jobd.core import spec as specs
from jobd.core.arrays import ArrayError
from jobd.core.graph import Refusal
from jobd.core.spec import NULL
from jobd.rpc.context import Context, Refused
from jobd.rpc.runs import refused, unenforced_lines
from jobd.runtime.acceptance import is_taken
from jobd.runtime.catalog import Defined
from jobd.runtime.journal import NotDurable
from jobd.runtime.registry import Stopping
from jobd.runtime.submission import NameTaken
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobd.core.records import JobRow
    from jobd.core.spec import JobSpec
    from jobd.runtime.journal import Commit
    from jobd.runtime.submission import Terms


async def run_array(context: Context, request: m.Run, accept: Callable[[], Commit | None]) -> None:
    """Accept, and answer when that is durable. Asked for again under the same id it answers as the first time."""
    registry = context.world.registry
    async with context.connection.share.submits():
        await registry.may_submit()
        whole = registry.arrays.whole(context.own, request.run)
        ids = request.run, arrays.element_id(request.run, 0)
        taken = whole is None and any(is_taken(registry, context.own, one) for one in ids)
        if taken or (whole is not None and request.name not in (None, whole.job)):
            raise Refused(errors.MALFORMED, "cannot take this run id")
        commit = accept() if whole is None else registry.arrays.accepted(whole)
        whole = registry.arrays.whole(context.own, request.run)
        assert whole is not None
        if commit is not None:
            try:
                await commit.wait()
            except NotDurable as error:
                raise Refused(errors.NO_SPACE, f"cannot accept {whole.job}: {error}") from error
    await context.connection.reply(request.id, started(context, whole))


def started(context: Context, row: JobRow) -> m.Started:
    """The answer: the name of the whole, and the id by which it is waited for."""
    assert row.latest is not None
    numbers = context.world.registry.arrays.numbers(row.array)
    text = unenforced_lines(context, row.job, row.spec)
    return m.Started(job=row.job, owner=row.owner, run=row.latest, number=0, elements=len(numbers.indices), text=text)


def submit(context: Context, request: m.Run, spec: JobSpec, name: str, terms: Terms) -> Commit:
    """Accept an array that `check` lets pass. Raises Refused."""
    registry = context.world.registry
    env = specs.encode_env(request.env)
    try:
        return registry.arrays.submit(context.own, name, request.run, spec, env, context.caller, terms)
    except Defined as taken:
        why = "it is masked" if taken.row.masked else "it has a definition; choose another name"
        code = errors.MASKED if taken.row.masked else errors.EXISTS
        raise Refused(code, f"cannot run {name!r}: {why}", job=name) from None
    except NameTaken:
        text = f"cannot run {name!r} as an array: a job has its name, or one of an element's; choose another name"
        raise Refused(errors.EXISTS, text, job=name) from None
    except Refusal as refusal:
        raise refused(context, context.own, name, refusal) from None
    except Stopping:
        raise Refused(errors.UNAVAILABLE, "cannot start anything: jobd is shutting down") from None


def check(context: Context, request: m.Run, name: str) -> None:
    """Raises Refused (INVALID) for what no array can be."""
    try:
        numbers = context.world.registry.arrays.numbers(request.array)
    except ArrayError as error:
        raise Refused(errors.INVALID, str(error)) from None
    if request.stdin != NULL:
        text = f"cannot run an array with a stdin that is a {request.stdin}: nobody feeds so many at once"
        raise Refused(errors.INVALID, text)
    if request.singleton:
        raise Refused(errors.INVALID, "cannot run an array as a singleton: its name has to be free")
    last = arrays.element_name(name, numbers.indices[-1])
    if not names.valid_job_name(last):
        raise Refused(errors.INVALID, f"cannot run {name!r} as an array: {names.why_invalid(last)}")
