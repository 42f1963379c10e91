"""Rows of the store and live runs, as clients see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import fields as fields_of

from jobd.core import service, states
from jobd.core.arrays import index_of
from jobd.core.enforce import is_limited, unenforced
from jobd.core.graph import names_others
from jobd.core.records import BAD_SETTING, LOADED, NOT_FOUND, QUEUED
from jobd.core.spec import JobSpec
from jobd.runtime import turns
from jobd.runtime.helpers import CHECK
from jobd.runtime.reloading import OPERATION as RELOAD_OPERATION
from jobd.runtime.settling import NO_DEFINITION
from jobd.runtime.stopping import STOP_OPERATION
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jobd.core.records import JobRow, RunRow
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run

MAX_LINKS: Final = 1000  # of a view: 60 KiB
MAX_KNOWN: Final = 1024  # definitions whose part of a view is kept: about 500 bytes each
HELD: Final = "held"  # in the place of a job's `queued`
IN_QUEUE: Final = ("queue", "priority", "weight")  # fields that are of the newest run, if there is one
_NO_SPEC = JobSpec(argv=(), cwd=b"")
_USUAL: Final = {f.name: f.default for f in fields_of(m.JobView)}
_KNOWN: Final[dict[bytes, tuple[JobSpec, Mapping[str, object]]]] = {}  # by the hash of the definition


def spec_of(registry: Registry, key: bytes) -> JobSpec:
    """The spec with this hash, or an empty one when retention or damage took it."""
    try:
        return registry.spec(key)
    except KeyError:
        return _NO_SPEC


def not_enforced(registry: Registry, spec: JobSpec) -> list[str]:
    """What a definition asks for and this machine cannot do, a line each."""
    welcome = registry.keeper.welcome
    return unenforced(spec, welcome.machine) if welcome is not None and is_limited(spec) else []


def missing(word: str, owner: int) -> m.JobView:
    """A job that is not there."""
    return m.JobView(job=word, owner=owner, load="not-found")


def slim(registry: Registry, row: JobRow) -> m.JobView:
    """What a job is and how it is, where there are many: nothing of its runs."""
    return m.JobView(
        job=row.job,
        owner=row.owner,
        load="masked" if row.masked else row.load,
        active=row.active,
        sub=row.sub,
        result=row.result,
        transient=row.transient,
        description=spec_of(registry, row.spec).description,
        enabled=file_state(row),
    )


def is_held(row: RunRow) -> bool:
    """Whether a run waits to be released."""
    return row.held and row.state == QUEUED


def is_frozen(registry: Registry, row: JobRow) -> bool:
    """Whether a job is held by `freeze`."""
    live = registry.run(row.owner, row.latest) if row.latest is not None else None
    return live is not None and live.frozen and row.sub not in states.AT_REST


def job_view(registry: Registry, row: JobRow) -> m.JobView:
    """A job as it is now."""
    if row.array:
        return array_view(registry, row)
    spec = spec_of(registry, row.spec)
    live = registry.run(row.owner, row.latest) if row.latest is not None else None
    run: RunRow | None
    if live is not None:
        run = live.row
        note = live.trouble or run.note
        tracking, cgroup = live.tracking, live.cgroup
    else:
        run = registry.store.run(row.owner, row.latest) if row.latest is not None else None
        note = "" if run is None else run.note or run.reason
        tracking = cgroup = ""
    view = {
        **definition_fields(row.spec, spec), **row_fields(row), **element_fields(row), "job": row.job,
        "owner": row.owner, "active": row.active, "sub": row.sub, "result": row.result, "transient": row.transient,
        "changed_at": row.changed_at, "runs": row.runs, "note": note, "tracking": tracking, "cgroup": cgroup,
    }  # fmt: skip
    if links := own_links(row.job, spec):
        view["links"] = links
    if lacking := not_enforced(registry, spec):
        view["unenforced"] = lacking
    if live is not None:
        view |= live_fields(live, registry)
    if run is None:
        return m.JobView(**view)  # type: ignore[arg-type]  # a dict of the fields' own types
    for name in IN_QUEUE:  # what its definition says is for the next one
        view.pop(name, None)
    view |= queue_fields(registry, run)
    return m.JobView(
        **view,  # type: ignore[arg-type]  # as above
        number=run.number,
        run=run.run,
        pid=run.pid if run.pid is not None else (None if live is None else live.pid),
        exit_code=run.exit_code,
        signal=run.signal,
        core=run.core,
        step=run.step,
        errno=run.errno,
        queued_at=run.queued_at,
        started_at=run.started_at,
        exited_at=run.exited_at,
        finished_at=run.finished_at,
        cpu_user_usec=run.cpu_user_usec,
        cpu_system_usec=run.cpu_system_usec,
        max_rss_bytes=run.max_rss_bytes,
        out_bytes=run.out_bytes,
        err_bytes=run.err_bytes,
        tasks_peak=run.tasks_peak,
        io_read_bytes=run.io_read_bytes,
        io_write_bytes=run.io_write_bytes,
        cause=run.cause,
        ready_at=run.ready_at,
        status_text=status_text(live, run),
        status_errno=run.status_errno,
        stop_uid=run.stop_uid,
    )


def array_view(registry: Registry, row: JobRow) -> m.JobView:
    """An array as a whole: what its elements are, and how many of them are where."""
    spec, now = spec_of(registry, row.spec), registry.arrays.shown(row)
    view = {
        **definition_fields(row.spec, spec), **row_fields(row), "job": row.job, "owner": row.owner,
        "active": now.active, "sub": now.sub, "result": row.result, "changed_at": row.changed_at, "runs": row.runs,
        "queued_at": row.created_at, "array": row.array, "run": row.latest, "counts": registry.arrays.counts(row),
        "finished_at": row.changed_at if row.sub in states.AT_REST else None,
        "queue": spec.queue, "priority": spec.priority, "weight": spec.weight,
    }  # fmt: skip
    if lacking := not_enforced(registry, spec):
        view["unenforced"] = lacking
    return m.JobView(**view)  # type: ignore[arg-type]  # a dict of the fields' own types


def _command_at_work(live: Run) -> Sequence[bytes]:
    """The command of a job that runs besides, by its operation."""
    opid, spec = live.helpers.operation_at_work, live.spec
    if opid == STOP_OPERATION:
        return spec.stop_command
    if opid.startswith(RELOAD_OPERATION):
        return spec.reload_command
    if not opid.startswith(CHECK):
        return ()
    check = spec.health.check if live.up and spec.health is not None else spec.ready
    return () if check is None else check.argv


def waits(registry: Registry, live: Run) -> str:
    """What a run waits for, in words."""
    if is_held(live.row):
        return "until it is released"
    if live.row.in_line:
        return registry.singletons.words(live)
    if live.row.not_before is not None and live.row.state == QUEUED:
        return "for its time"
    words = registry.waiting.words(live.row) or registry.ordering.waits(live) or turns.words(registry, live)
    return words or ("" if live.service is None else live.service.waits)


def queue_fields(registry: Registry, row: RunRow) -> dict[str, object]:
    """The queue that a run is in, or was, and how it stands there. Of one that never was in any: nothing."""
    if not (row.queue or row.priority or row.weight != 1):
        return {}
    live = registry.run(row.owner, row.run) if row.state == QUEUED else None
    return {
        "queue": registry.queues.word(row.owner, row.queue),
        "priority": row.priority,
        "weight": row.weight,
        "position": 0 if live is None else registry.slots.position(live),
    }


def live_fields(live: Run, registry: Registry) -> dict[str, object]:
    """What a live job waits for, how it is, and which of its commands is at work."""
    fields: dict[str, object] = {
        "control_pid": live.helpers.pid_at_work,
        "control_command": list(_command_at_work(live)),
        "waits": waits(registry, live),
        "not_before": live.row.not_before if live.row.state == QUEUED else None,
        "frozen": live.frozen and live.job.row.sub not in states.AT_REST,
    }
    if behind := registry.singletons.line(live.row.owner, live.row.job):
        fields["in_line"] = len(behind)
    if live.row.after:
        fields["after"] = after_words(registry, live.row)
    if is_held(live.row):
        fields |= {"held": True, "sub": HELD}
    if live.service is not None:
        fields["health"] = live.service.health
        if live.row.watchdog_usec is not None:
            fields["watchdog_usec"] = live.row.watchdog_usec
    return fields


def after_words(registry: Registry, row: RunRow) -> list[str]:
    """The runs that one waits for."""
    return [other.shown(row.owner) for other in registry.waiting.named(row)]


def status_text(live: Run | None, row: RunRow) -> str:
    """What a run last said of itself: not each of these is kept."""
    of = None if live is None else live.service
    return row.status_text if of is None or of.status is None else of.status


def definition_fields(key: bytes, spec: JobSpec) -> Mapping[str, object]:
    """What a view says of a definition with this hash; what is as usual is left out.

    It is kept: two thirds of a view's fields are of the definition, and nearly all of them as usual.
    """
    known = _KNOWN.get(key)
    if known is not None and known[0] is spec:
        return known[1]
    fields = {
        "description": spec.description, "user": spec.user, "argv": [] if spec == NO_DEFINITION else list(spec.argv),
        "shell": spec.shell, "cwd": spec.cwd, "stop_signal": spec.stop_signal,
        "stop_timeout_usec": spec.stop_timeout_usec, "runtime_limit_usec": spec.runtime_usec,
        "kill_mode": spec.kill_mode, "stdin": spec.stdin, "nice": spec.nice, "memory_max": spec.memory_max,
        "cpu_percent": spec.cpu_percent, "tasks_max": spec.tasks_max, "oom_score_adjust": spec.oom_score_adjust,
        "type": spec.type, "restart": spec.restart, "restart_delay_usec": spec.restart_delay_usec,
        "remain_after_exit": spec.remain_after_exit, "watchdog_usec": spec.watchdog_usec,
        "can_reload": bool(spec.reload_command) or spec.reload_signal is not None,
        "queue": spec.queue, "priority": spec.priority, "weight": spec.weight,
    }  # fmt: skip
    said = {name: value for name, value in fields.items() if value != _USUAL[name]}
    if spec.schedule:
        said["schedule"] = list(spec.schedule)
    if len(_KNOWN) >= MAX_KNOWN:
        _KNOWN.clear()
    _KNOWN[key] = spec, said
    return said


def element_fields(row: JobRow) -> dict[str, object]:
    """Of which array a job is an element."""
    return {"array_of": row.array_of, "array_index": index_of(row.job)} if row.array_of else {}


def row_fields(row: JobRow) -> dict[str, object]:
    """What a view says of a job's definition and of its restarts, by its row; what is as usual is left out."""
    if row.transient and row.load == LOADED and not (row.masked or row.enabled or row.restarts or row.restart_at):
        return {}
    return {
        "load": "masked" if row.masked else row.load,
        "file": row.file,
        "problem": row.problem,
        "enabled": file_state(row),
        "restarts": row.restarts,
        "restart_at": row.restart_at if row.sub == states.AUTO_RESTART else None,
        "elapse_next": row.elapse_next,
        "elapse_last": row.elapse_last,
    }


def all_links(registry: Registry, row: JobRow) -> list[m.Link]:
    """What a job says of others, and they of it."""
    graph = registry.catalog.graphs.of(row.owner)
    edges = [] if graph.is_alone(row.job) else graph.edges(row.job)[:MAX_LINKS]
    found = [m.Link(job=job, kind=kind, other=other) for job, kind, other in edges]
    return list(dict.fromkeys([*found, *own_links(row.job, spec_of(registry, row.spec))]))


def file_state(row: JobRow) -> str:
    """UnitFileState. A template is not started itself, so nobody can enable it."""
    if row.masked:
        return "masked"
    if row.load == BAD_SETTING:
        return "bad"
    if row.enabled:
        return "enabled"
    if row.load == NOT_FOUND and not row.file:
        return "not-found"
    if row.transient:
        return ""  # of thousands in a list it goes without saying
    return "static" if row.job.endswith("@") else "disabled"


def own_links(job: str, spec: JobSpec) -> list[m.Link]:
    """The dependencies that a definition names."""
    if not (names_others(spec) or spec.on_failure or spec.on_success):
        return []  # as of most jobs
    kinds = (*service.DEPENDENCIES, *service.HOOKS)
    return [m.Link(job=job, kind=kind, other=other) for kind in kinds for other in getattr(spec, kind)]


def run_view(registry: Registry, row: RunRow) -> m.RunView:
    """A run as it is now."""
    spec = spec_of(registry, row.spec)
    return m.RunView(
        array_index=row.array_index,
        held=is_held(row),
        **queue_fields(registry, row),  # type: ignore[arg-type]  # a dict of the fields' own types
        seq=row.seq,
        job=row.job,
        owner=row.owner,
        run=row.run,
        number=row.number,
        state=row.state,
        result=row.result,
        exit_code=row.exit_code,
        signal=row.signal,
        core=row.core,
        step=row.step,
        errno=row.errno,
        reason=row.reason,
        pid=row.pid,
        queued_at=row.queued_at,
        started_at=row.started_at,
        exited_at=row.exited_at,
        finished_at=row.finished_at,
        argv=list(spec.argv),
        shell=spec.shell,
        cwd=spec.cwd,
        by_uid=row.by_uid,
        cpu_user_usec=row.cpu_user_usec,
        cpu_system_usec=row.cpu_system_usec,
        max_rss_bytes=row.max_rss_bytes,
        out_bytes=row.out_bytes,
        err_bytes=row.err_bytes,
        note=row.note,
        tasks_peak=row.tasks_peak,
        io_read_bytes=row.io_read_bytes,
        io_write_bytes=row.io_write_bytes,
        cause=row.cause,
        ready_at=row.ready_at,
        after=after_words(registry, row) if row.after else [],
        stop_uid=row.stop_uid,
        not_before=row.not_before if row.state == QUEUED else None,
    )
