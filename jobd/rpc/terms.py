"""What a run that is submitted is to wait for, from the words of the request to the fields of its row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from msgspec.structs import replace

from jobd.core import after, service
from jobd.core.after import Need
from jobd.rpc.context import Refused
from jobd.rpc.views import spec_of
from jobd.runtime import circles
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobd.core.records import JobRow
    from jobd.core.spec import JobSpec
    from jobd.rpc.context import Context
    from jobd.runtime.submission import Terms

View = TypeVar("View", m.JobView, m.RunView)
ACTION: Final = "wait"  # who may wait for a job may have a run wait for it


def terms(context: Context, request: m.Run, name: str, spec: JobSpec) -> Terms:
    """What a run of this job waits for.

    Raises:
        Refused: a job that is to end first is not there, or does not end, or waits for this one.
    """
    registry = context.world.registry
    needs = registry.waiting.unmet(_needs(context, request.after)) if request.after else ()
    if needs:
        if other := circles.closes(registry, context.own, name, spec, needs):
            text = f"cannot run {name}: it would wait for {other}, which comes after {name}: neither would ever begin"
            raise Refused(errors.INVALID, text, job=name)
        count = len(registry.arrays.numbers(request.array).indices) if request.array else 1
        registry.waiting.check_room(context.own, count * len(needs))
    found: dict[str, str | int | bytes | bool | None] = {}
    if needs:
        found["after"] = after.encode(needs, context.own)
    if request.hold:
        found["held"] = True
    if request.not_before is not None and request.delay_usec is not None:
        raise Refused(errors.INVALID, "cannot begin both at a time and after a delay")
    found |= context.world.registry.schedule.terms(request.not_before, request.delay_usec)
    return found


def _needs(context: Context, words: Sequence[str]) -> list[Need]:
    needs = []
    for text in words:
        try:
            word, condition = after.parse(text)
        except ValueError as error:
            raise Refused(errors.INVALID, str(error)) from None
        needs.append(Need(*_run_meant(context, word), condition))
    return needs


def _run_meant(context: Context, word: str) -> tuple[int, bytes]:
    """Owner and id of the run that a job has now, of the one that JOB#N names, or of an array as a whole."""
    name, number, selector = word.partition("#")
    row = context.job(name, ACTION)
    _check_ends(context, row, name)
    if number:
        picked = context.pick(name, selector, ACTION)
        return picked.owner, picked.run
    if row.array and row.latest is not None:
        return row.owner, row.latest
    line = context.world.registry.singletons.line(row.owner, row.job)
    newest = line[-1].row if line else context.newest(row)
    if newest is None:
        raise Refused(errors.NOT_FOUND, f"cannot wait for {name}: it was never started", job=name)
    return newest.owner, newest.run


def _check_ends(context: Context, row: JobRow, word: str) -> None:
    """Raises Refused, if it is a service that only ends when somebody stops it."""
    spec = spec_of(context.world.registry, row.spec)
    ends = row.transient or spec.type == service.ONESHOT or spec.schedule or spec.queue
    if ends and spec.restart != service.ALWAYS:
        return
    text = (
        f"cannot wait for {word}: it is a service that does not end by itself; -p requires={row.job} -p after={row.job}"
        " has it started first"
    )
    raise Refused(errors.INVALID, text, job=word)


def awaited(context: Context, row: JobRow) -> list[str]:
    """The jobs of the same owner that the newest run of one waits for, or for one of which it never began."""
    newest = context.newest(row)
    if newest is None or not newest.after:
        return []
    known = context.world.registry.waiting.known(after.decode(newest.after, row.owner))
    return [other.job for other in known if other.owner == row.owner and other.job != row.job]


# --- telling ------------------------------------------------------------------------------------------------------
def told(context: Context, view: View) -> View:
    """The view of a job or run as this caller may be told it.

    Its queue has the name under which he knows it. What it waits for is told without the names of those of which he may
    not know.
    """
    if view.queue and view.owner != context.own:
        view = replace(view, queue=context.known_queue(view.owner, view.queue))
    if not view.after or view.run is None or view.owner == context.own or context.who.standing:
        return view
    registry = context.world.registry
    run = registry.run(view.owner, view.run)
    if run is None:
        return view
    named = registry.waiting.named(run.row)
    seen = [other.shown(run.row.owner) for other in named if context.sees(other.owner, other.job)]
    if len(seen) == len(named):
        return view
    if isinstance(view, m.JobView):
        return replace(view, after=seen, waits="for other runs")
    return replace(view, after=seen)
