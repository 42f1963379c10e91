"""`cat`: the definitions of jobs, as the text of job files."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Final

import trio

from jobd.core import definition
from jobd.core import spec as specs
from jobd.core.records import NOT_FOUND
from jobd.rpc.context import Context, Refused
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.core.records import JobRow

MAX_TEXT: Final = 900 << 10  # bytes of all definitions of one answer: with the rest of it they fit a frame of 1 MiB
GONE: Final = "# its definition is gone from the database\n"


async def cat(context: Context, request: m.Cat) -> None:
    """Answer with the definition of each job."""
    welcome = context.world.keeper.welcome
    limits = _own_rlimits() if welcome is None or not welcome.rlimits else _pairs(welcome.rlimits)
    found = []
    size = 0
    for word in await context.expand(request.names, "cat", at_rest=True, whole=True):
        row = context.find(word, "cat")
        if row is None or (row.load == NOT_FOUND and row.source is None):
            found.append(m.Definition(job=word, owner=context.owner_asked(word), load="not-found"))
            continue
        files = _files(context, row)
        text = "" if files else _text(context, row, limits)
        size += len(text.encode()) + sum(len(file.text.encode()) for file in files)
        if size > MAX_TEXT:
            raise Refused(errors.TOO_LARGE, f"cannot show {len(request.names)} definitions at once: ask for fewer")
        found.append(
            m.Definition(
                job=row.job, owner=row.owner, load=row.load, transient=row.transient, text=text, files=files
            )
        )  # fmt: skip
        await trio.lowlevel.checkpoint()
    await context.connection.reply(request.id, m.Definitions(definitions=found))


def _files(context: Context, row: JobRow) -> list[m.SourceFile]:
    """The files as they were read: there may be passwords in them, so they are for who owns the job."""
    if row.transient or not context.is_trusted(row):
        return []
    sources = context.world.definitions.sources(row.owner, row.job)
    return [m.SourceFile(path=source.path, text=source.text, base=source.base) for source in sources]


def _text(context: Context, row: JobRow, limits: dict[str, tuple[int, int]]) -> str:
    registry = context.world.registry
    name = context.word(row.owner, row.job)
    try:
        spec = registry.spec(row.spec)
    except KeyError:
        return f"# transient: {name}\n{GONE}"
    if not context.is_trusted(row):
        text = definition.render(name, spec, definition.PRIVATE, limits)
        return text if row.transient else text.replace(f"# transient: {name}\n", f"# {row.file}: {name}\n", 1)
    blob = registry.catalog.blob(row.env)
    if blob is None:
        live = context.live(row)
        blob = None if live is None else live.env  # accepted a moment ago, and not yet written
    env = [] if blob is None else specs.decode_env(blob)
    text = definition.render(name, spec, env, limits)
    return text if len(text.encode()) <= MAX_TEXT else definition.render(name, spec, definition.TOO_LARGE, limits)


def _pairs(rlimits: dict[str, list[int]]) -> dict[str, tuple[int, int]]:
    """The keeper's limits, which jobs start from: the daemon may have others."""
    return {name: (soft, hard) for name, (soft, hard) in rlimits.items()}


def _own_rlimits() -> dict[str, tuple[int, int]]:
    """The limits of jobd, which a job has that says nothing of them."""
    infinite = resource.RLIM_INFINITY
    return {
        name: tuple(-1 if limit == infinite else limit for limit in resource.getrlimit(number))  # type: ignore[misc]  # a pair
        for name, number in specs.RLIMITS.items()
    }
