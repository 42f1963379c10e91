"""What goes on beside a service while it runs: its notifications, its watchdog, its health checks.

A plain job has none of it. Each is a task of its own; they end with the block, and the next daemon begins them again.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from jobd.core import states, units
from jobd.runtime import health, watchdog
from jobd.runtime.notifying import Notifications
from jobd.runtime.service import Service, is_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run

is_needed = is_service


@asynccontextmanager
async def supervised(run: Run, world: Registry) -> AsyncIterator[None]:
    """Around a run from the success of its exec until nothing of it is left, also while it is reloaded and stopped.

    What is found out is noted in the run, and its task woken.
    """
    of = run.service = Service(run)
    if run.notify is not None:
        of.heard = Notifications(of, run.notify, world)
    try:
        async with trio.open_nursery() as nursery:
            if of.heard is not None:
                nursery.start_soon(of.heard.listen)
                nursery.start_soon(watchdog.watch, of, of.heard, world)
                nursery.start_soon(_end_reloads, of)
            if run.spec.health is not None:
                nursery.start_soon(health.watch, of, run.spec.health, world)
            yield
            nursery.cancel_scope.cancel()
    finally:
        if of.heard is not None:
            of.heard.close()


async def _end_reloads(of: Service) -> None:
    """A reload that the service has announced and not ended in the time that a start has is over, too."""
    run, limit = of.run, of.run.spec.ready_timeout_usec
    while True:
        while not (run.reloading and of.sub == states.RELOAD):
            await of.changed.wait()
        with trio.move_on_after(float("inf") if limit is None else limit / units.USEC_PER_SEC) as scope:
            while of.sub == states.RELOAD:
                await run.job.changed.wait()
        if scope.cancelled_caught and of.sub == states.RELOAD and not run.reload_asked:
            run.reloading = False
            run.job.fire(states.RELOADED, "reload-timed-out")
            run.wake.set()
