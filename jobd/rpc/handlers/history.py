"""`history`, its figures, and finding one run.

A page is read in the loop, in steps of under a millisecond; figures are made by a thread, as they look at every run.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from jobd.core import names
from jobd.core.runfilter import RunFilter
from jobd.rpc import views
from jobd.rpc.context import Context, Refused
from jobd.rpc.pagesize import fitting
from jobd.rpc.terms import told
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.core.records import RunRow

FEW_NAMES: Final = 8  # jobs that are looked at in one turn


async def history(context: Context, request: m.History) -> None:
    """Answer with a page of runs, newest first. It is empty at the end alone, however far what is seen lies apart."""
    wanted = await _wanted(context, request)
    rows: list[RunRow] = []
    more, offset = request.before, request.offset
    at_end = False
    while not (rows or at_end):
        rows, more, offset = context.runs_page(wanted, before=more, limit=request.limit, offset=offset)
        at_end = more is None
        if not (rows or at_end):
            await context.turn()
    registry = context.world.registry
    now = (live.row if (live := context.live_run(row)) is not None else row for row in rows)
    runs = fitting(told(context, views.run_view(registry, row)) for row in now)
    more = runs[-1].seq if len(runs) < len(rows) else None if at_end else more
    await context.connection.reply(request.id, m.Runs(runs=runs, more=more))


async def _wanted(context: Context, request: m.History | m.HistoryStats) -> RunFilter:
    """What a request asks for. A name that means nothing is refused."""
    jobs: dict[tuple[int, str], None] = {}
    globs: dict[tuple[int | None, str], None] = {}
    for at, word in enumerate(request.jobs, 1):
        if names.is_glob(word):
            globs.update(dict.fromkeys(context.pairs(word)))
        else:
            row = context.job(word, "history")
            jobs[row.owner, row.job] = None
            if row.array:
                globs[row.owner, f"{row.job}@*"] = None
        if at % FEW_NAMES == 0:
            await context.turn()
    if request.jobs and not (jobs or globs):
        globs[-1, ""] = None  # nobody's: an owner's pattern that fits no owner
    return RunFilter(
        jobs=tuple(jobs), globs=tuple(globs), states=request.states if isinstance(request, m.History) else (),
        queue=context.past_queue(request.queue) if request.queue else None, since=request.since, until=request.until,
    )  # fmt: skip


async def stats(context: Context, request: m.HistoryStats) -> None:
    """Answer with figures of what the caller sees."""
    wanted = await _wanted(context, request)
    after = (-1, "")
    if request.after:
        owner, _, name = request.after.partition("/")
        if not (owner.isdecimal() and owner.isascii() and name):
            raise Refused(errors.INVALID, f"no cursor of figures: {request.after!r}")
        after = int(owner), name
    statistician, generation = context.world.registry.statistician, -1
    while generation != context.access.generation:  # else rules may have been taken back meanwhile
        generation = context.access.generation
        wanted = replace(wanted, scope=context.scope())
        found, more = await statistician.figures(context.caller.uid, wanted, after, request.limit, context.turn)
    figures = [
        m.StatsView(
            job=each.job, owner=each.owner, runs=each.runs, success=each.success, failed=each.failed,
            p50_usec=_usec(each.p50_ns), p95_usec=_usec(each.p95_ns), p50_bytes=each.p50_bytes,
            p95_bytes=each.p95_bytes, cpu_usec=each.cpu_usec, last_at=each.last_at,
        )
        for each in found
    ]  # fmt: skip
    await context.connection.reply(
        request.id, m.Stats(stats=figures, more="" if more is None else f"{more[0]}/{more[1]}")
    )


def _usec(ns: int | None) -> int | None:
    return None if ns is None else max(0, ns) // 1000


def resolve(context: Context, request: m.Resolve) -> m.Runs:
    """One run by its selector."""
    if not request.job and not request.run:
        raise Refused(errors.INVALID, "neither a job nor a run was named")
    row = context.pick(request.job, request.run, "history")
    return m.Runs(runs=[told(context, views.run_view(context.world.registry, row))])
