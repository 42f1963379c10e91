"""`run`: accept a command as a transient job."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from jobd.core import names, settings
from jobd.core import spec as specs
from jobd.core.graph import Refusal
from jobd.core.spec import JobSpec, SpecError
from jobd.rpc import privileges
from jobd.rpc.arrays import check, run_array, submit
from jobd.rpc.context import Context, Refused
from jobd.rpc.runs import refused, submit_once
from jobd.rpc.terms import terms
from jobd.runtime.catalog import Defined
from jobd.runtime.journal import NotDurable
from jobd.runtime.registry import Stopping
from jobd.runtime.singletons import Undecided
from jobd.runtime.submission import NameTaken
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.core.records import RunRow
    from jobd.runtime.journal import Commit
    from jobd.runtime.run import Run


async def run(context: Context, request: m.Run) -> None:
    """Accept, and answer when the program runs (or with `exec_wait` false, when the run is durable)."""

    def known() -> RunRow | None:
        return context.submitted(context.own, request.name, request.run)

    if request.array:
        await run_array(context, request, lambda: _submit_array(context, request))
        return
    if request.singleton and request.name is None:
        raise Refused(errors.INVALID, "cannot wait for the job of this name: a singleton needs a name")
    while True:
        try:
            await submit_once(context, request.id, request.exec_wait, known, lambda: _submit(context, request))
        except Undecided as undecided:
            with suppress(NotDurable):
                await undecided.run.durable()
        else:
            return


def _submit_array(context: Context, request: m.Run) -> Commit:
    spec, name = _named(context, request)
    check(context, request, name)
    return submit(context, request, spec, name, terms(context, request, name, spec))


def _named(context: Context, request: m.Run) -> tuple[JobSpec, str]:
    """What is to run, and under which name. Raises Refused."""
    registry = context.world.registry
    privileges.check(request.settings, context.caller, context.access)
    spec = privileges.bounded(make_spec(request), request.settings, context.caller, context.access)
    if "/" in spec.queue:
        spec = replace(spec, queue=context.kept_word(spec.queue))
    name = request.name
    if name is None:
        return spec, registry.names.free(context.own, spec)
    if not names.valid_job_name(name):
        raise Refused(errors.INVALID, names.why_invalid(name))
    if name.endswith("@"):
        text = f"job name {name!r} ends with '@', which is for templates; choose another name"
        raise Refused(errors.INVALID, text, job=name)
    if whole := registry.arrays.array_of(context.own, name):
        text = f"cannot run {name!r}: elements of the array {whole} are called so; choose another name"
        raise Refused(errors.EXISTS, text, job=name)
    return spec, name


def _submit(context: Context, request: m.Run) -> Run:
    registry = context.world.registry
    spec, name = _named(context, request)
    try:
        env = specs.encode_env(request.env)
        run = registry.submit(
            context.own, name, request.run, spec, env, context.caller, terms(context, request, name, spec),
            request.name is None, singleton=request.singleton,
        )  # fmt: skip
    except Defined as taken:
        if taken.row.masked:
            raise Refused(errors.MASKED, f"cannot run {name!r}: it is masked", job=name) from None
        text = f"cannot run {name!r}: it has a definition; start it, or choose another name"
        raise Refused(errors.EXISTS, text, job=name) from None
    except NameTaken as taken:
        if registry.arrays.is_array(context.own, name):
            text = f"cannot run {name!r}: it is an array; remove it first (jobctl rm), or choose another name"
            raise Refused(errors.EXISTS, text, job=name) from None
        state = "queued; cancel" if taken.queued else "running; stop"
        text = f"cannot run {name!r}: a job of this name is {state} it first, or choose another name"
        raise Refused(errors.EXISTS, text, job=name) from None
    except Refusal as refusal:
        raise refused(context, context.own, name, refusal) from None
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
        asked = settings.parse_settings(request.settings, request.cwd)
        rlimits = asked.pop("rlimits", {})
        assert isinstance(rlimits, dict)
        fields: dict[str, object] = {
            "argv": tuple(request.argv),
            "cwd": request.cwd,
            "shell": request.shell,
            "umask": request.umask,
            "rlimits": {**request.rlimits, **rlimits},
            "nice": request.nice,
            "stdin": request.stdin,
            "array": request.array,
            **asked,
        }
        spec = JobSpec(**fields)  # type: ignore[arg-type]  # typed by the message's schema and by the table of keys
        settings.check(spec, request.name or "")
    except SpecError as error:
        raise Refused(errors.INVALID, str(error)) from error
    return spec
