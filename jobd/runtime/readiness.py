"""When a service is ready: by its own word, or by a check."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from jobd.core import service

if TYPE_CHECKING:
    from jobd.core.spec import JobSpec
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run


def is_needed(spec: JobSpec) -> bool:
    """Whether more than a successful exec makes it ready. A oneshot is ready when it has ended."""
    return spec.type == service.NOTIFY or (spec.ready is not None and spec.type != service.ONESHOT)


async def until_ready(run: Run, world: Registry) -> None:  # noqa: ARG001  # what it is for follows
    """Return when the service is ready; when its time is up, ask for its stop.

    In a task beside the run's, which cancels it when the main process ends or a stop is asked for. Not to wait on
    `run.wake`, which is the run's task's own.
    """
    await trio.lowlevel.checkpoint()
