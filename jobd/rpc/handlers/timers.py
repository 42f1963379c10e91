"""`list-timers`: what starts by the clock, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobd.core import names
from jobd.rpc import views
from jobd.rpc.context import Context, Refused
from jobd.rpc.pagesize import PAGE_BYTES, VIEW_BYTES
from jobd.rpc.people import uid_in
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jobd.core.records import JobRow

LIST: Final = "list-timers"
PAGE: Final = 300  # timers, as many as a list has jobs
STEP: Final = 200  # that are looked at in one turn
Place = tuple[bool, int, int, str]  # in the list: without a time, the time, the owner, the job
FIRST: Final[Place] = (False, -(2**63), -1, "")


async def list_timers(context: Context, request: m.ListTimers) -> None:
    """Answer with a page of them, the next first; those without a next time come last."""
    fits = [context.matcher(pattern) for pattern in request.patterns]
    after = _cursor(request.after)
    found = [place for place in await _places(context, fits, request.all) if place > after]
    found.sort()
    made: list[m.TimerView] = []
    size = 0
    for at, place in enumerate(found):
        view = _view(context, place)
        if view is not None:
            size += VIEW_BYTES + len(view.description.encode()) + sum(map(len, view.schedule))
            if made and (size > PAGE_BYTES or len(made) >= PAGE):
                await context.connection.reply(request.id, m.Timers(timers=made, more=_more(found[at - 1])))
                return
            made.append(view)
        if at % STEP == STEP - 1:
            await context.turn()
    await context.connection.reply(request.id, m.Timers(timers=made))


async def _places(context: Context, fits: Iterable[Callable[[int, str], bool]], every: bool) -> list[Place]:
    """Of all that the caller may have listed."""
    wanted = tuple(fits)
    places: dict[tuple[int, str], int | None] = {}
    schedule = context.world.registry.schedule
    known = {**schedule.armed(), **{(run.row.owner, run.row.job): run.row.not_before for run in schedule.waiting()}}
    for at, (key, due) in enumerate(known.items()):
        if (not wanted or any(fit(*key) for fit in wanted)) and context.may(LIST, *key):
            places[key] = due
        if at % STEP == STEP - 1:
            await context.turn()
    if every:
        async for row in context.defined(LIST, -1, ""):
            meant = not wanted or any(fit(row.owner, row.job) for fit in wanted)
            if meant and _is_scheduled(context, row):
                places.setdefault((row.owner, row.job), None)
    return [(due is None, due or 0, *key) for key, due in places.items()]


def _is_scheduled(context: Context, row: JobRow) -> bool:
    return bool(views.spec_of(context.world.registry, row.spec).schedule) and not names.is_template(row.job)


def _view(context: Context, place: Place) -> m.TimerView | None:
    """A timer as it is now; None: it is none any more."""
    _, _, owner, job = place
    row = context.look(owner, job)
    if row is None or not context.may(LIST, owner, job):
        return None
    spec = views.spec_of(context.world.registry, row.spec)
    live = context.live(row)
    waits = None if live is None else context.world.registry.schedule.time_of(live)
    if waits is None and not spec.schedule:
        return None
    return m.TimerView(
        job=job, owner=owner, run=None if waits is None or live is None else live.id,
        next=row.elapse_next if waits is None else waits, last=row.elapse_last, schedule=list(spec.schedule),
        description=spec.description, active=row.active,
    )  # fmt: skip


def _more(place: Place) -> str:
    none, due, owner, job = place
    return f"{'' if none else due} {owner}/{job}"


def _cursor(text: str) -> Place:
    if not text:
        return FIRST
    due, _, word = text.partition(" ")
    owner, name = names.split_owner(word)
    uid = uid_in(owner or "")
    if uid is None or not (not due or due.removeprefix("-").isdecimal()):
        raise Refused(errors.INVALID, f"no cursor of a list: {text!r}")
    return not due, int(due or 0), uid, name
