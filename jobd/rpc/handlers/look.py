"""`status`, `show`, `list`, `history`, and finding one run. All but the process tree come from memory or one read."""

from __future__ import annotations

import fnmatch
import time
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from jobd.rpc import views
from jobd.rpc.context import Context, Refused
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobd.core.records import JobRow

LIST_PAGE = 1000  # messages.List
PAGE_BYTES: Final = 512 << 10  # of command lines and the rest of a page; a frame is twice as large
VIEW_BYTES: Final = 800  # of a view: names and numbers of all its fields
WORD_BYTES: Final = 5  # ahead of each word in msgpack
LOADED = "loaded"
FAILED_SHOWN_NS = 24 * 3600 * 10**9  # DESIGN.md, section 9


# --- get ----------------------------------------------------------------------------------------------------------
def get_quick(context: Context, request: m.Get) -> m.Jobs:
    """State of jobs by name or glob."""
    registry = context.world.registry
    found = []
    for word in context.expand(request.names, at_rest=True):
        row = context.find(word)
        found.append(views.missing(word, context.owner) if row is None else views.job_view(registry, row))
    return m.Jobs(jobs=found)


async def get_tree(context: Context, request: m.Get) -> None:
    """The same with the processes of each."""
    jobs = get_quick(context, request).jobs
    for index, view in enumerate(jobs):
        if view.run is not None and view.active not in ("inactive", "failed"):
            tree = await context.world.keeper.tree(view.run)
            processes = [m.Process(pid=pid, ppid=ppid, command=command) for pid, ppid, command in tree.processes]
            jobs[index] = replace(view, processes=processes)
    await context.connection.reply(request.id, m.Jobs(jobs=jobs))


# --- list ---------------------------------------------------------------------------------------------------------
def list_jobs(context: Context, request: m.List) -> m.Jobs:
    """A page of jobs, sorted by name; live jobs as they are now."""
    registry = context.world.registry
    every = request.all or bool(request.states)
    rows = {row.job: row for row in _page(context, every, request.after)}
    more = ""
    if len(rows) > LIST_PAGE:
        del rows[max(rows)]
        more = max(rows)
    for (owner, name), job in registry.jobs.items():
        if owner == context.owner and name > request.after and (not more or name <= more):
            rows[name] = job.row
    now = time.time_ns()
    keys = [context.key(pattern) for pattern in request.patterns]
    wanted = [row for _, row in sorted(rows.items()) if _matches(row, request, keys, every, now)]
    found = [views.job_view(registry, row) for row in wanted]
    jobs = found[: _fitting(found)]
    return m.Jobs(jobs=jobs, more=jobs[-1].job if len(jobs) < len(found) else more)


def _page(context: Context, every: bool, after: str) -> list[JobRow]:
    return context.world.registry.store.jobs_page(
        owner=context.owner, every=every, after=(context.owner, after) if after else None, limit=LIST_PAGE + 1
    )


def _fitting(found: Sequence[m.JobView | m.RunView]) -> int:
    """How many of these, at least one, a frame surely holds: command lines may be long."""
    size = 0
    for count, view in enumerate(found):
        words = (*view.argv, view.cwd, view.note.encode(), getattr(view, "description", "").encode())
        size += VIEW_BYTES + sum(map(len, words)) + WORD_BYTES * len(words)
        if size > PAGE_BYTES and count:
            return count
    return len(found)


def _matches(row: JobRow, request: m.List, keys: list[tuple[int, str] | None], every: bool, now: int) -> bool:
    if request.patterns and not any(key is not None and _fits(row, *key) for key in keys):
        return False
    if request.states:
        return not {LOADED, row.active, row.sub}.isdisjoint(request.states)
    return every or (row.active != "inactive" and not _is_old_failure(row, now))


def _is_old_failure(row: JobRow, now: int) -> bool:
    """Whether this is a transient job that failed so long ago that `list` shows it no more."""
    return row.active == "failed" and row.transient and now - row.changed_at > FAILED_SHOWN_NS


def _fits(row: JobRow, owner: int, pattern: str) -> bool:
    return row.owner == owner and fnmatch.fnmatchcase(row.job, pattern)


# --- history ------------------------------------------------------------------------------------------------------
def history(context: Context, request: m.History) -> m.Runs:
    """A page of runs, newest first."""
    jobs: list[tuple[int, str]] = []
    for word in context.expand(request.jobs, at_rest=True):
        row = context.job(word)
        jobs.append((row.owner, row.job))
    if request.jobs and not jobs:
        return m.Runs(runs=[])
    page = context.world.registry.store.runs_page(
        owner=context.owner,
        jobs=jobs,
        states=request.states,
        since=request.since,
        until=request.until,
        before=request.before,
        limit=request.limit,
        offset=request.offset,
    )
    registry = context.world.registry
    rows = (live.row if (live := registry.runs.get(row.run)) is not None else row for row in page.rows)
    found = [views.run_view(registry, row) for row in rows]
    runs = found[: _fitting(found)]
    return m.Runs(runs=runs, more=runs[-1].seq if len(runs) < len(found) else page.more)


def resolve(context: Context, request: m.Resolve) -> m.Runs:
    """One run by its selector."""
    if not request.job and not request.run:
        raise Refused(errors.INVALID, "neither a job nor a run was named")
    return m.Runs(runs=[views.run_view(context.world.registry, context.pick(request.job, request.run))])
