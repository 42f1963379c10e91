"""`events`: what happened to jobs and runs, from the database, by cursor; followed without a timer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from jobd.core import names
from jobd.rpc import views
from jobd.rpc.context import Context, Refused
from jobd.runtime.eventsource import EventSource, Gap, Wanted
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.core.records import Event

MAX_WORDS: Final = 256  # names and globs of one request, as in logs: each is a comparison for every event
REACHED_EVERY: Final = 2000  # numbers that pass a follower, for events of others, before he is told how far he is


async def events(context: Context, request: m.Events) -> None:
    """Serve one `events` request."""
    with context.reading():
        await _serve(context, request, EventSource(context.world.registry, _wanted(context, request)))


async def _serve(context: Context, request: m.Events, source: EventSource) -> None:
    upto = source.last()
    gap = await source.begin(request.after, request.lines)
    if gap is not None:
        await context.connection.item(request.id, _missed(gap))
    reached = -1
    while True:
        page = source.page(upto)
        bodies: list[m.AnyBody] = [] if page.gap is None else [_missed(page.gap)]
        bodies += _changes(context, page.events)
        if not page.more and (reached < 0 or source.position - reached > REACHED_EVERY):
            reached = source.position
            bodies.append(m.Reached(seq=reached))
        await context.connection.items(request.id, bodies)
        await trio.lowlevel.checkpoint()
        if page.more:
            continue
        if not request.follow:
            break
        upto = await source.until_more()
    await context.connection.end(request.id)


def _missed(gap: Gap) -> m.Missed:
    return m.Missed(after=gap.after, before=gap.before)


def _changes(context: Context, found: list[Event]) -> list[m.Change]:
    numbers: dict[bytes, int | None] = {}
    for event in found:
        if event.run is not None and event.run not in numbers:
            row = context.run_row(event.owner, event.run)
            numbers[event.run] = None if row is None else row.number  # None: retention was faster
    return [views.change(event, None if event.run is None else numbers[event.run]) for event in found]


def _wanted(context: Context, request: m.Events) -> Wanted:
    """What the request asks for. A name that means nothing is refused, unless its job may have gone since."""
    if len(request.jobs) > MAX_WORDS:
        raise Refused(errors.LIMIT, f"cannot look for {len(request.jobs)} jobs at once; at most {MAX_WORDS}")
    jobs: dict[tuple[int, str], None] = {}
    globs: dict[tuple[int, str], None] = {}
    for word in request.jobs:
        key = context.key(word)
        if key is not None and names.is_glob(key[1]):
            globs[key] = None
            continue
        known = key is not None and (request.after is not None or context.find(word) is not None)
        if key is None or not (known or context.world.registry.store.has_events(*key)):
            raise context.not_found(word)
        jobs[key] = None
    if not request.jobs:
        globs[context.owner, "*"] = None
    return Wanted(jobs=tuple(jobs), globs=tuple(globs), since=request.since, until=request.until)
