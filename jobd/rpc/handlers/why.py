"""`why`: the causes of the state that a job is in, down to the job behind them that has one of its own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from jobd.core import states
from jobd.core import why as reasons_of
from jobd.core.runfilter import RunFilter
from jobd.core.why import Facts, Found, Other, Words
from jobd.rpc import views
from jobd.rpc.queueviews import line_words
from jobd.rpc.terms import awaited, told
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobd.core.records import JobRow, RunRow
    from jobd.rpc.context import Context

ACTION: Final = "why"
MAX_DEPTH: Final = 16  # jobs behind one another
MAX_OTHERS: Final = 256  # of one job, that are looked at
STEP: Final = 64  # of these in one turn
FEW_ELEMENTS: Final = 3  # of an array, that are told of one by one
MAX_REASONS: Final = 1000  # of an answer
NS: Final = 1_000_000_000


async def why(context: Context, request: m.Why) -> None:
    """Answer with the reasons of each job, and behind them those of the job that is to blame."""
    found: list[m.Reason] = []
    for word in await context.expand(request.names, ACTION, at_rest=True, whole=True):
        row: JobRow | None = context.job(word, ACTION)
        if row is not None and row.array:
            found += await _about_array(context, row)
            continue
        seen: set[str] = set()
        while row is not None and row.job not in seen and len(seen) < MAX_DEPTH and len(found) < MAX_REASONS:
            seen.add(row.job)
            about, other = await _about(context, row)
            found += about
            row = context.look(row.owner, other) if other else None
        await context.turn()
    found = [reason for reason in found if context.sees(reason.owner, reason.job)]  # it may have taken long
    await context.connection.reply(request.id, m.Reasons(reasons=found))


async def _about_array(context: Context, row: JobRow) -> list[m.Reason]:
    """Where the elements of an array are, and why the first that waits does, and some have failed."""
    arrays, word = context.world.registry.arrays, context.word(row.owner, row.job)
    counts = ", ".join(f"{count} {what}" for what, count in arrays.counts(row).items())
    text = f"{word} is an array of {len(arrays.numbers(row.array).indices)} elements: {counts}"
    found = [m.Reason(job=row.job, owner=row.owner, kind="array", text=text, at=row.changed_at)]
    for name in arrays.remarkable(row, FEW_ELEMENTS):
        element = context.look(row.owner, name)
        if element is not None:
            about, _ = await _about(context, element)
            found += about
    return found


async def _about(context: Context, row: JobRow) -> tuple[list[m.Reason], str]:
    """The reasons of one job, and the other job behind them, if there is one."""
    facts = await _facts(context, row)
    uids = {event.by_uid for event in (*facts.events, *facts.acts)} | {run.by_uid for run in _runs(facts)}
    people = context.access.people
    await context.learn_names(people.unknown((), (uid for uid in uids if uid is not None)))
    reasons = reasons_of.reasons(facts, Words(_namer(context), _when, time.time_ns()))
    other = next((reason.other for reason in reasons if reason.other), "")
    return [_shown(row, reason) for reason in reasons], other


def _runs(facts: Facts) -> list[RunRow]:
    return [run for run in (facts.run, facts.before) if run is not None]


async def _facts(context: Context, row: JobRow) -> Facts:
    world = context.world
    store = world.registry.store
    run = context.newest(row)
    view = told(context, views.job_view(world.registry, row))
    before: RunRow | None = None
    if row.restarts and run is not None:
        rows, _, _ = context.runs_page(RunFilter(jobs=[(row.owner, row.job)]), before=run.seq, limit=1)
        before = rows[0] if rows else None
    live = context.live(row)
    processes: int | None = None
    if live is not None and states.ACTIVE_STATE[row.sub] == "deactivating":
        processes = len((await world.keeper.tree(live.id)).processes)
    return Facts(
        word=context.word(row.owner, row.job),
        row=row,
        spec=views.spec_of(world.registry, row.spec if run is None else run.spec),
        run=run,
        before=before,
        events=() if run is None else tuple(store.last_events_of_run(row.owner, row.job, run.run)),
        acts=tuple(store.last_events_of_job(row.owner, row.job)),
        waits=view.waits,
        queue="" if live is None else line_words(context, live),
        others=await _others(context, row),
        processes=processes,
    )


async def _others(context: Context, row: JobRow) -> tuple[Other, ...]:
    """The jobs that this one comes after, and those that it cannot be without."""
    graph = context.world.registry.catalog.graphs.of(row.owner)
    needed = dict.fromkeys(other for _, other in graph.demands(row.job))
    found = []
    for at, name in enumerate(dict.fromkeys([*needed, *graph.earlier(row.job), *awaited(context, row)])):
        if at >= MAX_OTHERS:
            break
        other = context.look(row.owner, name)
        waits = "" if other is None else told(context, views.job_view(context.world.registry, other)).waits
        found.append(Other(name, other, name in needed, waits))
        if at % STEP == STEP - 1:
            await context.turn()
    return tuple(found)


def _namer(context: Context) -> Callable[[int], str]:
    people = context.access.people

    def who(uid: int) -> str:
        name = people.name(uid)
        return f"uid {uid} ({name})" if name else f"uid {uid}"

    return who


def _when(at: int) -> str:
    return time.strftime("%a %Y-%m-%d %H:%M:%S %Z", time.localtime(at // NS))


def _shown(row: JobRow, reason: Found) -> m.Reason:
    run = reason.run
    return m.Reason(
        job=row.job,
        owner=row.owner,
        kind=reason.kind,
        text=reason.text,
        at=reason.at,
        run=None if run is None else run.run,
        number=None if run is None else run.number,
        by_uid=reason.by_uid,
        other=reason.other,
    )
