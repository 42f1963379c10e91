"""`list-dependencies`: the graph of one owner's jobs, as far as it can be reached from some, one way."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from jobd.core import graph as graphs
from jobd.rpc import views
from jobd.rpc.context import Context, Refused
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobd.core.records import JobRow

ACTION: Final = "list-dependencies"
STEP: Final = 64  # jobs that are looked at in one turn
MAX_LINKS: Final = 6000  # of an answer: with names of 40 characters, half of a frame


async def list_dependencies(context: Context, request: m.ListDependencies) -> None:
    """Answer with the edges, and with what is at their ends as it is now."""
    names: dict[str, JobRow] = {}
    missing: list[m.JobView] = []
    owner: int | None = None
    for at, word in enumerate(request.names):
        row = context.find(word, ACTION)
        if row is None:
            missing.append(views.missing(word, context.owner_asked(word)))
            continue
        if owner not in (None, row.owner):
            raise Refused(errors.INVALID, "cannot show dependencies of several users' jobs at once: each has his own")
        owner = row.owner
        names[row.job] = row
        if at % STEP == 0:
            await context.turn()
    if owner is None:
        await context.connection.reply(request.id, m.Graph(links=[], jobs=missing))
        return
    known = context.world.registry.catalog.graphs
    graph = known.tidied(owner)
    resting = [row for row in names.values() if row.job not in graph]
    for row in resting:
        known.know_for_now(row)
    tells = functools.cache(functools.partial(context.sees, owner))
    edges = graphs.reach(graph, names, reverse=request.reverse, order=request.order, tells=tells)
    for row in resting:
        known.rest(row)
    if len(edges) > MAX_LINKS:
        raise Refused(errors.TOO_LARGE, f"cannot show {len(edges)} dependencies at once: ask for fewer jobs")
    await context.turn()
    met = dict.fromkeys([*names, *(end for job, _, other in edges for end in (job, other))])
    jobs = [*await _views(context, owner, met), *missing]
    links = [m.Link(job=job, kind=kind, other=other) for job, kind, other in edges]
    await context.connection.reply(request.id, m.Graph(links=links, jobs=jobs))


async def _views(context: Context, owner: int, names: Iterable[str]) -> list[m.JobView]:
    found = []
    for at, name in enumerate(names):
        row = context.look(owner, name)
        found.append(views.missing(name, owner) if row is None else views.slim(context.world.registry, row))
        if at % STEP == STEP - 1:
            await context.turn()
    return found
