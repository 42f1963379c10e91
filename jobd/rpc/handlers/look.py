"""`status`, `show`, `list`, `history`, and finding one run. All but the process tree come from memory or one read."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from jobd.core import names
from jobd.rpc import views
from jobd.rpc.context import Context, Refused
from jobd.rpc.people import uid_in
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobd.core.records import JobRow
    from jobd.rpc.lookup import Key

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
    for word in context.expand(request.names, "status", at_rest=True):
        row = context.find(word, "status")
        if row is None:
            found.append(views.missing(word, context.owner_asked(word)))
        else:
            found.append(views.job_view(registry, row))
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
    """A page of jobs, sorted by owner and name; live jobs as they are now."""
    every = request.all or bool(request.states)
    after = _cursor(request.after)
    rows = {(row.owner, row.job): row for row in context.jobs_page(every=every, after=after, limit=LIST_PAGE + 1)}
    more: Key | None = None
    if len(rows) > LIST_PAGE:
        del rows[max(rows)]
        more = max(rows)
    for row in context.live_jobs():
        key = (row.owner, row.job)
        if (after is None or key > after) and (more is None or key <= more):
            rows[key] = row
    now = time.time_ns()
    fits = [context.matcher(pattern) for pattern in request.patterns]
    wanted = [row for _, row in sorted(rows.items()) if _matches(row, request, fits, every, now)]
    found = [views.job_view(context.world.registry, row) for row in wanted]
    jobs = found[: _fitting(found)]
    if len(jobs) < len(found):
        more = jobs[-1].owner, jobs[-1].job
    return m.Jobs(jobs=jobs, more="" if more is None else f"{more[0]}/{more[1]}")


def _cursor(text: str) -> Key | None:
    """The key that a page's `more` was."""
    if not text:
        return None
    owner, name = names.split_owner(text)
    uid = uid_in(owner or "")
    if uid is None:
        raise Refused(errors.INVALID, f"no cursor of a list: {text!r}")
    return uid, name


def _fitting(found: Sequence[m.JobView | m.RunView]) -> int:
    """How many of these, at least one, a frame surely holds: command lines may be long."""
    size = 0
    for count, view in enumerate(found):
        words = (*view.argv, view.cwd, view.note.encode(), getattr(view, "description", "").encode())
        size += VIEW_BYTES + sum(map(len, words)) + WORD_BYTES * len(words)
        if size > PAGE_BYTES and count:
            return count
    return len(found)


def _matches(row: JobRow, request: m.List, fits: Sequence[Callable[[int, str], bool]], every: bool, now: int) -> bool:
    if fits and not any(fit(row.owner, row.job) for fit in fits):
        return False
    if request.states:
        return not {LOADED, row.active, row.sub}.isdisjoint(request.states)
    return every or (row.active != "inactive" and not _is_old_failure(row, now))


def _is_old_failure(row: JobRow, now: int) -> bool:
    """Whether this is a transient job that failed so long ago that `list` shows it no more."""
    return row.active == "failed" and row.transient and now - row.changed_at > FAILED_SHOWN_NS


# --- history ------------------------------------------------------------------------------------------------------
def history(context: Context, request: m.History) -> m.Runs:
    """A page of runs, newest first."""
    jobs: list[Key] = []
    for word in context.expand(request.jobs, "history", at_rest=True, everybody=True):
        row = context.job(word, "history")
        jobs.append((row.owner, row.job))
    if request.jobs and not jobs:
        return m.Runs(runs=[])
    rows, more = context.runs_page(
        jobs=jobs,
        states=request.states,
        since=request.since,
        until=request.until,
        before=request.before,
        limit=request.limit,
        offset=request.offset,
    )
    registry = context.world.registry
    now = (live.row if (live := context.live_run(row)) is not None else row for row in rows)
    found = [views.run_view(registry, row) for row in now]
    runs = found[: _fitting(found)]
    return m.Runs(runs=runs, more=runs[-1].seq if len(runs) < len(found) else more)


def resolve(context: Context, request: m.Resolve) -> m.Runs:
    """One run by its selector."""
    if not request.job and not request.run:
        raise Refused(errors.INVALID, "neither a job nor a run was named")
    return m.Runs(runs=[views.run_view(context.world.registry, context.pick(request.job, request.run, "history"))])
