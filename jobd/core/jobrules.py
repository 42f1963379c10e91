"""What does not go together in a job's definition, whichever keys and files it is from. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobd.core import service
from jobd.core.spec import JobSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_SCHEDULE: Final = JobSpec(argv=(), cwd=b"")
_PULLING: Final = ("requires", "wants", "binds_to")


def conflicts(spec: JobSpec, name: str = "") -> list[tuple[str, str]]:
    """All that contradicts itself: the key to blame, and a sentence without it that goes on after it.

    `name` is the job's; without one dependencies on itself are not found.
    """
    return [*_of_type(spec), *_of_times(spec), *_of_schedule(spec), *_of_names(spec, name)]


def _of_type(spec: JobSpec) -> Iterator[tuple[str, str]]:
    if spec.type == service.ONESHOT:
        if spec.restart in (service.ALWAYS, service.ON_SUCCESS):
            yield "restart", f'cannot be "{spec.restart}" with type = "oneshot": it would run again and again'
        if spec.ready is not None:
            yield f"ready.{spec.ready.kind}", 'does not go with type = "oneshot": that is ready when it has ended'
        if spec.health is not None:
            yield (
                f"health.{spec.health.check.kind}",
                'does not go with type = "oneshot": that has ended when it is ready',
            )
        if spec.watchdog_usec is not None:
            yield "watchdog.interval", 'does not go with type = "oneshot"'
    elif spec.type == service.NOTIFY and spec.ready is not None:
        yield f"ready.{spec.ready.kind}", 'does not go with type = "notify": the job says itself when it is ready'
    if spec.reload_signal is not None and spec.reload_command:
        yield "reload.signal", 'and "reload.command" do not go together'


def _of_times(spec: JobSpec) -> Iterator[tuple[str, str]]:
    if spec.restart_max_delay_usec < spec.restart_delay_usec:
        yield "restart_max_delay", 'is less than "restart_delay", from which the delay grows'


def _of_schedule(spec: JobSpec) -> Iterator[tuple[str, str]]:
    if not spec.schedule:
        for key in ("persistent", "jitter_usec", "overlap"):
            if getattr(spec, f"schedule_{key}") != getattr(_NO_SCHEDULE, f"schedule_{key}"):
                yield f"schedule.{key.removesuffix('_usec')}", 'says nothing without "schedule.calendar"'


def _of_names(spec: JobSpec, name: str) -> Iterator[tuple[str, str]]:
    for key in service.DEPENDENCIES + service.HOOKS:
        if name and name in getattr(spec, key):
            yield key, f'names the job itself, "{name}"'
    before, against = set(spec.before), set(spec.conflicts)
    for other in spec.after:
        if other in before:
            yield "before", f'has "{other}", which "after" has too'
    for key in _PULLING:
        for other in getattr(spec, key):
            if other in against:
                yield "conflicts", f'has "{other}", which "{key}" has too'
