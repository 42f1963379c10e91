"""`run`: accept a command as a transient job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobd.core import exits, names
from jobd.core import spec as specs
from jobd.core.spec import JobSpec, SpecError
from jobd.rpc import views
from jobd.rpc.context import Context, Refused
from jobd.runtime.journal import NotDurable
from jobd.runtime.registry import NameTaken, Stopping
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobd.core.records import JobRow, RunRow
    from jobd.runtime.run import Run


async def run(context: Context, request: m.Run) -> None:
    """Accept, and answer when the program runs (or with `exec_wait` false, when the run is durable)."""
    await submit_once(
        context, request.id, context.owner, request.run, request.exec_wait, lambda: _submit(context, request)
    )


async def submit_once(
    context: Context, request: int, owner: int, run_id: bytes, exec_wait: bool, submit: Callable[[], Run]
) -> None:
    """Call `submit` unless there is such a run already: a retry after a lost reply is answered as the first was."""
    registry = context.world.registry
    await registry.may_submit()
    async with context.connection.share.submitting:
        live = registry.runs.get(run_id)
        if live is None:
            known = registry.store.run(owner, run_id)
            if known is not None:  # it has ended meanwhile
                await context.connection.reply(request, started(context, known))
                return
            live = submit()
        elif live.row.owner != owner:
            raise Refused(errors.MALFORMED, "cannot take this run id")
        await accepted(live)
    while exec_wait and live.slot and not live.launched:  # who has to wait for a slot may wait long
        await live.changed.wait()
    await context.connection.reply(request, started(context, live.row))


def _submit(context: Context, request: m.Run) -> Run:
    registry = context.world.registry
    spec = make_spec(request)
    name = request.name
    if name is None:
        name = registry.free_name(context.owner, spec)
    elif not names.valid_job_name(name):
        raise Refused(errors.INVALID, names.why_invalid(name))
    try:
        run = registry.submit(context.owner, name, request.run, spec, specs.encode_env(request.env), context.caller)
    except NameTaken:
        text = f"cannot run {name!r}: a job of this name is running; stop it first, or choose another name"
        raise Refused(errors.EXISTS, text, job=name) from None
    except Stopping:
        raise Refused(errors.UNAVAILABLE, "cannot start anything: jobd is shutting down") from None
    run.window = request.window
    return run


def make_spec(request: m.Run) -> JobSpec:
    """The spec that a request describes.

    Raises:
        Refused: INVALID, naming the key or limit.
    """
    if request.shell and len(request.argv) != 1:
        raise Refused(errors.INVALID, f"cannot run {len(request.argv)} arguments as a shell job: it is one script")
    if not request.cwd.startswith(b"/"):
        raise Refused(errors.INVALID, f"cannot run in {request.cwd[:200]!r}: not an absolute path")
    try:
        specs.check_rlimits(request.rlimits)
        fields: dict[str, object] = {
            "argv": tuple(request.argv),
            "cwd": request.cwd,
            "shell": request.shell,
            "umask": request.umask,
            "rlimits": request.rlimits,
            "nice": request.nice,
            "stdin": request.stdin,
            **specs.parse_settings(request.settings),
        }
    except SpecError as error:
        raise Refused(errors.INVALID, str(error)) from error
    return JobSpec(**fields)  # type: ignore[arg-type]  # typed by the message's schema and by specs.KEYS


async def accepted(run: Run) -> None:
    """Return when the run is durable.

    Raises:
        Refused: NO_SPACE; then there is no such run.
    """
    try:
        await run.durable()
    except NotDurable as error:
        raise Refused(errors.NO_SPACE, f"cannot accept {run.job.row.job}: {error}") from error


def started(context: Context, row: RunRow) -> m.Started:
    """The answer for a run, with the failed step in words if there is one."""
    text = failure_text(context, row) if row.step else ""
    return m.Started(
        job=row.job,
        owner=row.owner,
        run=row.run,
        number=row.number,
        pid=row.pid,
        step=row.step,
        errno=row.errno,
        text=text,
    )


def failure_text(context: Context, row: RunRow) -> str:
    """`cannot start foo: changing directory to /srv/foo: No such file or directory`."""
    spec = views.spec_of(context.world.registry, row.spec)
    program, cwd = (word.decode(errors="backslashreplace") for word in ((spec.program or (b"?",))[0], spec.cwd))
    return exits.describe_start_failure(row.job, row.step, row.errno, program, cwd)


def is_at_rest(row: JobRow) -> bool:
    """Whether the job has no live run."""
    return row.active in ("inactive", "failed")
