"""What goes on beside a service while it runs: its notifications, its watchdog, its health checks."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from jobd.core.spec import JobSpec
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run


def is_needed(spec: JobSpec) -> bool:  # noqa: ARG001  # what it is for follows
    """Whether there is anything to do. For most jobs there is not, and they have no tasks beside their own."""
    return False


@asynccontextmanager
async def supervised(run: Run, world: Registry) -> AsyncIterator[None]:  # noqa: ARG001  # what it is for follows
    """Around a run from the success of its exec until nothing of it is left, also while it is reloaded and stopped.

    What is found out is noted in the run, and its task woken (`run.wake.set`); this is not to wait on `run.wake`.
    """
    yield
