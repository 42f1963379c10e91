"""`add`, `edit` and `revert` of definitions that are kept in the database: those of users on a whole machine's jobd.

Root's are files, and so are those of a user's own jobd: its clients write them and have them read (`daemon-reload`).
What a job is its owner says, and who may do everything; no rule gives it to anybody else, as it is run as the owner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobd.core import names, records, states
from jobd.core.jobfile import DROPIN_DIR, SUFFIX, JobFileError, Source
from jobd.rpc.context import Context, Refused
from jobd.rpc.handlers.each import changed_plan
from jobd.runtime.definitions import MAX_DEFINED
from jobd.runtime.jobfiles import Read
from jobd.runtime.journal import NotDurable
from jobd.runtime.slots import LimitReached
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.core.records import JobRow
    from jobd.runtime.definitions import Change

ADD: Final = "add"
REVERT: Final = "revert"
ROOT: Final = 0
MAX_TEXTS: Final = 512 << 10  # bytes of all texts of a job: they are read together for each change, and shown together
MAX_DROPINS: Final = 64


# --- add, edit ----------------------------------------------------------------------------------------------------
async def define(context: Context, request: m.Define) -> None:
    """Take a job file, or a drop-in of one, into the database."""
    owner, name = context.own_key(request.name, ADD)
    if not names.valid_job_name(name):
        raise Refused(errors.INVALID, f"cannot add {request.name}: {names.why_invalid(name)}", job=request.name)
    if not request.base.startswith(b"/") or b"\0" in request.base:
        raise Refused(errors.INVALID, f"cannot add {request.name}: its directory has to begin with /")
    if context.access.shared and owner == ROOT:
        where = context.world.definitions.files.directory
        text = f"cannot add {request.name}: root's jobs are files in {where}; write it there, and daemon-reload"
        raise Refused(errors.NOT_APPLICABLE, text, job=request.name)
    await context.world.registry.may_submit()
    row = context.written(owner, name, ADD)
    _check_name(context, request.name, row)
    sources = _with_text(context, request, row, owner, name)
    if len(sources) > 1 + MAX_DROPINS or sum(len(source.text.encode()) for source in sources) > MAX_TEXTS:
        text = f"cannot add {request.name}: a job has at most {MAX_DROPINS} drop-ins, and {MAX_TEXTS >> 10} KiB in all"
        raise Refused(errors.TOO_LARGE, text, job=request.name)
    changes, warnings = await _put(context, owner, name, sources, request.dry)
    await context.connection.reply(request.id, changed_plan(changes, warnings))


def _check_name(context: Context, word: str, row: JobRow | None) -> None:
    """Raises Refused if the name is taken by something else than a stored definition."""
    if row is None:
        return
    if row.transient and row.sub not in states.AT_REST:
        raise Refused(errors.EXISTS, f"cannot add {word}: a transient job of this name is running", job=word)
    if not row.transient and row.file not in ("", records.STORED) and not _of_stored_template(context, row):
        raise Refused(errors.EXISTS, f"cannot add {word}: it is defined by {row.file}", job=word)


def _of_stored_template(context: Context, row: JobRow) -> bool:
    template = names.template_of(row.job)
    above = None if template is None else context.written(row.owner, template, ADD)
    return above is not None and above.file == records.STORED


def _with_text(context: Context, request: m.Define, row: JobRow | None, owner: int, name: str) -> list[Source]:
    """All texts of the job, this one among them: first the job file, then the drop-ins by their names."""
    stored = row is not None and row.file == records.STORED
    there = context.world.definitions.sources(owner, name) if stored or names.template_of(name) else []
    path = _path(request, name)
    old = next((source for source in there if source.path == path), None)
    new = Source(path, request.text, request.base)
    if old is not None and old != new and not request.replace:
        what = "drop-in" if request.dropin else "definition"
        text = f"cannot add {request.name}: it has another {what}; --replace replaces it"
        raise Refused(errors.EXISTS, text, job=request.name)
    if not request.dropin:
        return [new, *there[1:]]
    if not there:
        raise Refused(errors.NOT_FOUND, f"cannot find a definition of {request.name} to change", job=request.name)
    dropins = [source for source in there[1:] if source.path != path]
    if request.text.strip():  # an empty one says nothing, and goes
        dropins.append(new)
    return [there[0], *sorted(dropins, key=_file_name)]


def _path(request: m.Define, name: str) -> str:
    """Under which name a stored text is kept."""
    if not request.dropin:
        return name + SUFFIX
    bad = "/" in request.dropin or request.dropin.startswith(".") or not request.dropin.isprintable()
    if bad or not request.dropin.endswith(SUFFIX):
        text = f"cannot change {request.name}: {request.dropin!r} is not the name of a drop-in, such as override.toml"
        raise Refused(errors.INVALID, text, job=request.name)
    return f"{name}{DROPIN_DIR}/{request.dropin}"


def _file_name(source: Source) -> str:
    return source.path.rpartition("/")[2]


async def _put(
    context: Context, owner: int, name: str, sources: list[Source], dry: bool
) -> tuple[list[Change], list[str]]:
    """Have the definition in force. Raises Refused."""
    definitions, caller = context.world.definitions, context.caller
    word = context.word(owner, name)
    if context.count_defined(owner, name, ADD) >= MAX_DEFINED:
        raise Refused(errors.LIMIT, f"cannot add {word}: {MAX_DEFINED} jobs are defined already", job=word)
    gid = caller.gid if context.access.shared and owner == caller.uid else None
    try:
        return await definitions.define(owner, name, Read(tuple(sources)), caller, gid=gid, dry=dry)
    except JobFileError as error:
        raise Refused(errors.BAD_SETTING, "\n".join(error.problems), job=word) from error
    except LimitReached as error:
        raise Refused(errors.LIMIT, str(error), job=word) from error
    except NotDurable as error:
        raise Refused(errors.NO_SPACE, f"cannot add {word}: {error}", job=word) from error


# --- revert -------------------------------------------------------------------------------------------------------
async def revert(context: Context, request: m.Revert) -> None:
    """Take the drop-ins of stored definitions away."""
    changes: list[Change] = []
    warnings: list[str] = []
    for word in request.names:
        row = context.job(word, REVERT)
        if row.file != records.STORED:
            why = f"its files are in {context.world.definitions.files.directory}" if row.file else "it has no files"
            raise Refused(errors.NOT_APPLICABLE, f"cannot revert {word}: {why}", job=word)
        sources = context.world.definitions.sources(row.owner, row.job)
        own = [source for source in sources[1:] if not source.path.startswith(f"{row.job}{DROPIN_DIR}/")]
        found, said = await _put(context, row.owner, row.job, [*sources[:1], *own], dry=False)
        changes += found
        warnings += said
    await context.connection.reply(request.id, changed_plan(changes, warnings))
