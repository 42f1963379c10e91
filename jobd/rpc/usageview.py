"""What a run has used so far, as clients see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

if TYPE_CHECKING:
    from jobd.runtime.registry import Registry
    from jobd.wire import messages as m

# Of what a run has used, by the names of jobd.host.usage, and where a view has it.
_USED: Final = {
    "cpu_user": "cpu_user_usec",
    "cpu_system": "cpu_system_usec",
    "memory_peak": "max_rss_bytes",
    "memory": "memory_bytes",
    "tasks": "tasks",
    "tasks_peak": "tasks_peak",
    "io_read": "io_read_bytes",
    "io_write": "io_write_bytes",
}


def with_usage(registry: Registry, view: m.JobView) -> m.JobView:
    """A view of a job that runs, with what its run has used so far: a few reads of files that the kernel makes."""
    live = registry.run(view.owner, view.run) if view.run is not None else None
    if live is None:
        return view
    found = live.usage_now()
    return replace(view, **{field: found[name] for name, field in _USED.items() if name in found})
