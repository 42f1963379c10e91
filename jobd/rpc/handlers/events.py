"""`events`: what happened to jobs and runs, from the database, by cursor; followed without a timer."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from jobd.core import names
from jobd.rpc.changeview import change
from jobd.rpc.context import Context, Refused
from jobd.runtime.eventsource import Bundle, EventSource, Gap, Wanted
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.core.records import Event
    from jobd.runtime.followers import SharedPage

EVENTS: Final = "events"  # the action
MAX_WORDS: Final = 256  # names and globs of one request, as in logs: each is a comparison for every event
REACHED_EVERY: Final = 2000  # numbers that pass a follower, for events of others, before he is told how far he is


async def events(context: Context, request: m.Events) -> None:
    """Serve one `events` request."""
    with context.reading():
        wanted = _wanted(context, request)
        await _serve(context, request, EventSource(context.world.registry, wanted), wanted)


async def _serve(context: Context, request: m.Events, source: EventSource, wanted: Wanted) -> None:
    generation = context.access.generation
    upto = source.last()
    gap = await source.begin(request.after, request.lines)
    if gap is not None:
        await context.connection.item(request.id, _missed(gap))
    reached, behind = -1, True
    while True:
        if behind:
            await context.turn()
        began = time.perf_counter()
        page = source.page(upto)
        if page.gap is not None:
            await context.connection.item(request.id, _missed(page.gap))
        if page.shared.events:
            await context.connection.items(request.id, _bundle(context, page.shared))
        behind = page.shared.more
        if not behind and (reached < 0 or source.position - reached > REACHED_EVERY):
            reached = source.position
            await context.connection.item(request.id, m.Reached(seq=reached))
        context.world.registry.followers.charge(time.perf_counter() - began)
        if not (behind or request.follow):
            break
        if not behind:
            upto = await source.until_more()  # in a round, which is all readers' turn
        if generation != context.access.generation or context.filters():
            generation, wanted = await _anew(context, request, wanted, generation)
            source.want(wanted)
    await context.connection.end(request.id)


async def _anew(context: Context, request: m.Events, wanted: Wanted, generation: int) -> tuple[int, Wanted]:
    """What the caller may see may have changed. Raises Refused."""
    await context.learn(request)  # owners may have come, whose names rules go by
    if generation != context.access.generation:
        generation = context.access.generation
        for key in wanted.jobs:
            context.grant(EVENTS, *key, context.word(*key))
    return generation, _scoped(context, request, wanted)


def _bundle(context: Context, page: SharedPage) -> Bundle:
    """A page's events as bodies: made once for all who are sent them, as who may see an event may see its run."""
    if page.bundle is None:
        page.bundle = Bundle(_changes(context, page.events))
    return page.bundle


def _missed(gap: Gap) -> m.Missed:
    return m.Missed(after=gap.after, before=gap.before)


def _changes(context: Context, found: list[Event]) -> list[m.Change]:
    numbers: dict[bytes, int | None] = {}
    for event in found:
        if event.run is not None and event.run not in numbers:
            numbers[event.run] = context.number(event.owner, event.run)
    return [change(event, None if event.run is None else numbers[event.run]) for event in found]


def _wanted(context: Context, request: m.Events) -> Wanted:
    """What the request asks for. A name that means nothing is refused, unless its job may have gone since."""
    if len(request.jobs) > MAX_WORDS:
        raise Refused(errors.LIMIT, f"cannot look for {len(request.jobs)} jobs at once; at most {MAX_WORDS}")
    jobs: dict[tuple[int, str], None] = {}
    globs: dict[tuple[int | None, str], None] = {}
    store = context.world.registry.store
    for word in request.jobs:
        if names.is_glob(word):
            globs.update(dict.fromkeys(context.pairs(word)))
            continue
        row = context.find(word, EVENTS)
        key = context.past_key(word, EVENTS) if row is None else (row.owner, row.job)
        if key is None or not (row is not None or request.after is not None or store.has_events(*key)):
            raise context.not_found(word)
        jobs[key] = None
        if row is not None and row.array:
            globs[row.owner, f"{row.job}@*"] = None
    if not request.jobs:
        globs[None, "*"] = None
    wanted = Wanted(jobs=tuple(jobs), globs=tuple(globs), acts=request.audit, since=request.since, until=request.until)
    return _scoped(context, request, wanted)


def _scoped(context: Context, request: m.Events, wanted: Wanted) -> Wanted:
    """The same with what the caller may see now: of audits, besides his own acts, those on his own jobs."""
    scope = context.scope()
    if request.audit and scope is not None:
        return replace(wanted, scope=((context.own, "*"),), by=context.caller.uid)
    return replace(wanted, scope=scope)
