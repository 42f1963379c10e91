"""`list-job-files`: the jobs that have a definition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobd.core import names, records
from jobd.rpc import views
from jobd.rpc.context import Context, Refused
from jobd.rpc.people import uid_in
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.core.records import JobRow

PAGE: Final = 300  # jobs: 5 ms that all others wait
LIST: Final = "list-job-files"


async def list_files(context: Context, request: m.ListFiles) -> None:
    """Answer with a page of them, by owner and name."""
    fits = [context.matcher(pattern) for pattern in request.patterns]
    owner, name = _cursor(request.after)
    found: list[m.FileView] = []
    more = ""
    async for row in context.defined(LIST, owner, name):
        if len(found) >= PAGE:
            more = f"{found[-1].owner}/{found[-1].job}"
            break
        state = views.file_state(row)
        meant = not fits or any(fit(row.owner, row.job) for fit in fits)
        if meant and _has_file(row) and (not request.states or state in request.states):
            found.append(_view(context, row, state))
    await context.connection.reply(request.id, m.Files(files=found, more=more))


def _has_file(row: JobRow) -> bool:
    """Whether it is more than an instance of a template that was started once."""
    return names.template_of(row.job) is None or row.enabled or row.masked or row.load != records.LOADED


def _view(context: Context, row: JobRow, state: str) -> m.FileView:
    sources = context.world.definitions.sources(row.owner, row.job)
    dropins = [source.path for source in sources[1:]]
    return m.FileView(job=row.job, owner=row.owner, state=state, file=row.file, dropins=dropins, load=row.load)


def _cursor(text: str) -> tuple[int, str]:
    if not text:
        return -1, ""
    owner, name = names.split_owner(text)
    uid = uid_in(owner or "")
    if uid is None:
        raise Refused(errors.INVALID, f"no cursor of a list: {text!r}")
    return uid, name
