"""`set-property`: settings of a job that is there, kept for its next starts and taken up by what runs where it can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from jobd.core import enforce, properties, settings
from jobd.core.records import STORED
from jobd.core.spec import SpecError
from jobd.rpc import privileges
from jobd.rpc.context import Context, Refused
from jobd.rpc.handlers.each import many
from jobd.runtime.properties import has_to_wait, is_live, set_of_run, set_transient
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.core.records import JobRow
    from jobd.core.spec import JobSpec
    from jobd.runtime.run import Run

SET: Final = "set-property"


async def set_property(context: Context, request: m.SetProperty) -> None:
    """Answer when it is kept and, for what runs, done; with a line for each key that says when it takes effect.

    Of an array it is set for all elements that are not at rest.
    """
    context.job(request.name, SET)
    elements = await context.elements(request.name, at_rest=False)
    lines: list[str] = []

    async def one(element: str) -> None:
        nonlocal lines
        lines = await _set(context, replace(request, name=element), context.job(element, SET))

    if elements:
        await many(context, elements, one)
    of_whole = await _set(context, request, context.job(request.name, SET))  # as it is by now
    await context.connection.reply(request.id, m.Ok(text="\n".join(lines or of_whole)))


async def _set(context: Context, request: m.SetProperty, row: JobRow) -> list[str]:
    """The same with one job; the lines."""
    fields = _fields(context, request, row)
    if not row.transient:
        _check_kept(context, request, row, fields)
    run = context.live(row)
    run = run if is_live(run) else None
    waits = has_to_wait(run)
    if row.transient:
        commit = set_transient(context.world.registry, row, run, request.settings, fields, context.caller)
    elif run is not None:
        commit = set_of_run(context.world.registry, run, request.settings, fields, context.caller)
    else:
        commit = None
    if commit is not None:
        await commit.wait()
    failed = await _tell(context, run, request, fields)
    missing = _missing(context, request, properties.applied(_spec(context, row, request.name), fields))
    return properties.answer(request.settings, run is not None, failed, missing, waits)


def _fields(context: Context, request: m.SetProperty, row: JobRow) -> dict[str, object]:
    """What is asked for. Raises Refused: INVALID, DENIED."""
    spec = _spec(context, row, request.name)
    try:
        fields = privileges.changed(properties.read(request.settings), context.caller, context.access)
        settings.check(properties.applied(spec, fields), row.job)
        if queue := fields.get("queue"):
            word = context.kept_word(str(queue))
            context.world.registry.queues.resolve(row.owner, word)
            fields |= {"queue": word} if row.transient else {}
    except SpecError as error:
        raise Refused(errors.INVALID, str(error), job=request.name) from error
    return fields


def _spec(context: Context, row: JobRow, word: str) -> JobSpec:
    try:
        return context.world.registry.spec(row.spec)
    except KeyError:
        raise Refused(errors.FAILED, f"cannot set {word}: its definition is gone from the database", job=word) from None


def _check_kept(context: Context, request: m.SetProperty, row: JobRow, fields: dict[str, object]) -> None:
    """Raises Refused for a job from a file that does not say so already: jobctl writes there, and then asks."""
    if not properties.is_in_force(_spec(context, row, request.name), fields):
        where = "the database" if row.file == STORED else row.file
        text = f"cannot set {request.name}: it is defined in {where}; who may write there sets it"
        raise Refused(errors.NOT_APPLICABLE, text, job=request.name, file=row.file)


async def _tell(context: Context, run: Run | None, request: m.SetProperty, fields: dict[str, object]) -> dict[str, int]:
    """Have the keeper change what runs. Returns what could not be changed; of a run that waits all is still to come."""
    if run is None or run.pid is None:
        return {}
    return await context.world.keeper.set_limits(run.id, properties.for_the_keeper(request.settings, fields))


def _missing(context: Context, request: m.SetProperty, spec: JobSpec) -> dict[str, str]:
    """What this machine cannot do, of what was asked for."""
    welcome = context.world.keeper.welcome
    lines = [] if welcome is None else enforce.unenforced(spec, welcome.machine)
    found = {key: why for key, _, why in (line.partition(": ") for line in lines)}
    return {key: found[key] for key in request.settings if key in found}
