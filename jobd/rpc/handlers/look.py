"""`status`, `show` and `list`. All but the process tree come from memory or one read."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec.structs import replace

from jobd.core import names
from jobd.core.records import BAD_SETTING, QUEUED
from jobd.rpc import usageview, views
from jobd.rpc.brief import Brief
from jobd.rpc.context import Context, Refused
from jobd.rpc.pagesize import LIST_PAGE, fitting
from jobd.rpc.people import uid_in
from jobd.rpc.queueviews import waits_words
from jobd.rpc.terms import told
from jobd.runtime.elements import queue_of
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobd.core.records import JobRow
    from jobd.rpc.lookup import Key

FEW_NAMES: Final = 8  # jobs that are looked at in one turn
Fits: TypeAlias = "Callable[[int, str], bool]"
LOADED = "loaded"
FROZEN: Final = "frozen"  # in the place of SUB, which stays what it was
FAILED_SHOWN_NS = 24 * 3600 * 10**9  # DESIGN.md, section 9


# --- get ----------------------------------------------------------------------------------------------------------
def get_quick(context: Context, request: m.Get) -> m.Jobs:
    """State of a few jobs by name."""
    return m.Jobs(jobs=[_view(context, word) for word in dict.fromkeys(request.names)])


def _view(context: Context, word: str) -> m.JobView:
    row = context.find(word, "status")
    if row is None:
        return views.missing(word, context.owner_asked(word))
    registry = context.world.registry
    view = told(context, views.job_view(registry, row))
    if view.position and (run := context.live(row)) is not None and (words := waits_words(context, run)):
        view = replace(view, waits=words)
    if links := views.all_links(registry, row):
        view = replace(view, links=[link for link in links if context.shows(row, link.job)])
    if row.transient:
        return view
    sources = context.world.definitions.sources(row.owner, row.job)
    return replace(view, dropins=[source.path for source in sources[1:]])


def is_small(request: m.Get | m.List) -> bool:
    """Whether it is for few jobs or patterns and no process tree, so that it may be answered in place."""
    if isinstance(request, m.List):
        return len(request.patterns) <= FEW_NAMES
    return not (request.tree or len(request.names) > FEW_NAMES or any(map(names.is_glob, request.names)))


async def get_long(context: Context, request: m.Get) -> None:
    """The same for many, and with the processes of each if that is asked; others have their turns meanwhile."""
    share = context.connection.share
    words: dict[str, None] = {}
    for word in request.names:
        words.update(dict.fromkeys(await context.expand([word], "status", at_rest=True, whole=True)))
        await share.turn()
    jobs: list[m.JobView] = []
    for at, word in enumerate(words):
        jobs.append(_view(context, word))
        if at % FEW_NAMES == 0:
            await share.turn()
    if request.tree:
        await _add_processes(context, jobs)
        await _compare_files(context, jobs)
    await context.connection.reply(request.id, m.Jobs(jobs=jobs))


async def _compare_files(context: Context, jobs: list[m.JobView]) -> None:
    """Say of which jobs the files are not what they were when they were read."""
    definitions = context.world.definitions
    changed = await definitions.changed({v.job for v in jobs if v.owner == definitions.owner and v.file[:1] == "/"})
    for index, view in enumerate(jobs):
        if view.owner == definitions.owner and view.job in changed:
            jobs[index] = replace(view, need_reload=True)


async def _add_processes(context: Context, jobs: list[m.JobView]) -> None:
    for index, view in enumerate(jobs):
        if view.run is not None and view.active not in ("inactive", "failed"):
            tree = await context.world.keeper.tree(view.run)
            processes = [m.Process(pid=pid, ppid=ppid, command=command) for pid, ppid, command in tree.processes]
            jobs[index] = replace(usageview.with_usage(context.world.registry, view), processes=processes)


# --- list ---------------------------------------------------------------------------------------------------------
def list_jobs(context: Context, request: m.List) -> m.Jobs:
    """A page of jobs, sorted by owner and name; live jobs as they are now."""
    every = request.all or bool(request.states) or _shows_elements(request)
    after = _cursor(request.after)
    page = context.jobs_page(every=every, after=after, limit=LIST_PAGE + 1, at_rest=_is_brief(request))
    return _listed(context, request, page, _matcher(context, request))


async def list_in_turns(context: Context, request: m.List) -> None:
    """Answer with the same, where the jobs that the caller sees may lie far apart, or the patterns are many."""
    every = request.all or bool(request.states) or _shows_elements(request)
    after, turn = _cursor(request.after), context.connection.share.turn
    page = await context.jobs_page_in_turns(every=every, after=after, limit=LIST_PAGE + 1, turn=turn)
    fits = _matcher(context, request)
    if len(request.patterns) > FEW_NAMES:
        fits = await _known(context, request, [*page, *context.live_jobs()])
    await context.connection.reply(request.id, _listed(context, request, page, fits))


def _shows_elements(request: m.List) -> bool:
    """Whether elements of arrays are meant, and not only the whole ones."""
    return request.all or any("@" in pattern for pattern in request.patterns)


def _is_brief(request: m.List) -> bool:
    """Whether of what waits in a queue only the next are wanted."""
    return request.waiting is not None and not (request.all or request.states or _shows_elements(request))


def _in_queue(context: Context, word: str) -> Callable[[JobRow], bool]:
    """Whether the newest run of a job is in this queue, or was; "" is any. Raises Refused: there is none."""
    if not word:
        return lambda _: True
    owner, name = context.past_queue(word)

    def is_in(row: JobRow) -> bool:
        if row.array:
            return owner in (None, row.owner) and queue_of(row) == name
        run = None if owner not in (None, row.owner) else context.newest(row)
        return run is not None and run.queue == name

    return is_in


def _matcher(context: Context, request: m.List) -> Fits:
    """Whether a job is meant."""
    fits = [context.matcher(pattern) for pattern in request.patterns]
    return lambda owner, job: not fits or any(fit(owner, job) for fit in fits)


async def _known(context: Context, request: m.List, rows: Sequence[JobRow]) -> Fits:
    """The same, found out in turns for these jobs. What has come meanwhile is on another page, or on the next list."""
    fits = [context.matcher(pattern) for pattern in request.patterns]
    known: dict[Key, bool] = {}
    for row in rows:
        known[row.owner, row.job] = False
        for at, fit in enumerate(fits):
            if fit(row.owner, row.job):
                known[row.owner, row.job] = True
                break
            if at % FEW_NAMES == 0:
                await context.turn()
    return lambda owner, job: known.get((owner, job), False)


def _listed(context: Context, request: m.List, page: Sequence[JobRow], fits: Fits) -> m.Jobs:
    after = _cursor(request.after)
    brief = Brief(context, request.waiting) if _is_brief(request) and request.waiting is not None else None
    more: Key | None = None
    if len(page) > LIST_PAGE:
        page = page[:LIST_PAGE]
        more = page[-1].owner, page[-1].job
    is_wanted = _picker(context, request, fits)
    if brief is None:
        live, rows = context.live_jobs(), {(row.owner, row.job): row for row in page}
    else:
        live, rows = brief.rows(), {(row.owner, row.job): row for row in page if brief.is_alone(row)}
        if after is None:
            brief.leave_out(is_wanted if request.patterns or request.queue else None)
    for row in live:
        key = (row.owner, row.job)
        if (after is None or key > after) and (more is None or key <= more):
            rows[key] = row
    registry = context.world.registry
    shown = (registry.arrays.shown(row) if row.array else row for _, row in sorted(rows.items()))
    wanted = [row for row in shown if is_wanted(row)]
    if context.filters():  # rules may have been taken back since the page was begun
        wanted = [row for row in wanted if context.sees(row.owner, row.job)]
    jobs = fitting(told(context, views.job_view(registry, row)) for row in wanted)
    if len(jobs) < len(wanted):
        more = jobs[-1].owner, jobs[-1].job
    left_out = {} if brief is None else brief.left_out()
    return m.Jobs(jobs=jobs, more="" if more is None else f"{more[0]}/{more[1]}", left_out=left_out)


def _picker(context: Context, request: m.List, fits: Fits) -> Callable[[JobRow], bool]:
    """Whether a job is wanted."""
    registry, now = context.world.registry, time.time_ns()
    every, elements = request.all or bool(request.states), _shows_elements(request)
    in_queue = _in_queue(context, request.queue)

    def is_wanted(row: JobRow) -> bool:
        if row.array_of and not elements:
            return False
        frozen = FROZEN in request.states and views.is_frozen(registry, row)
        held = views.HELD in request.states and row.sub == QUEUED and _is_held(context, row)
        return _matches(row, request, fits, every, now, frozen or held) and in_queue(row)

    return is_wanted


def _cursor(text: str) -> Key | None:
    """The key that a page's `more` was."""
    if not text:
        return None
    owner, name = names.split_owner(text)
    uid = uid_in(owner or "")
    if uid is None:
        raise Refused(errors.INVALID, f"no cursor of a list: {text!r}")
    return uid, name


def _matches(
    row: JobRow,
    request: m.List,
    fits: Fits,
    every: bool,
    now: int,
    named: bool = False,
) -> bool:
    if not fits(row.owner, row.job):
        return False
    if request.states:
        return named or not {LOADED, row.active, row.sub}.isdisjoint(request.states)
    if every or row.enabled or row.load == BAD_SETTING:
        return True
    return row.active != "inactive" and not _is_old_failure(row, now)


def _is_held(context: Context, row: JobRow) -> bool:
    run = context.live(row)
    return run is not None and views.is_held(run.row)


def _is_old_failure(row: JobRow, now: int) -> bool:
    """Whether this is a transient job that failed so long ago that `list` shows it no more."""
    return row.active == "failed" and row.transient and now - row.changed_at > FAILED_SHOWN_NS
