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
                of.tend = _Tasks(of, of.heard, nursery, world).tend
                nursery.start_soon(of.heard.listen)
                of.tend()
            if run.spec.health is not None:
                nursery.start_soon(health.watch, of, run.spec.health, world)
            yield
            nursery.cancel_scope.cancel()
    finally:
        if of.heard is not None:
            of.heard.close()


class _Tasks:
    """Those that a service may come to need by what it says: each costs 5 KiB, and most need none."""

    def __init__(self, of: Service, heard: Notifications, nursery: trio.Nursery, world: Registry) -> None:
        self._of = of
        self._heard = heard
        self._nursery = nursery
        self._world = world
        self._watched = False
        self._reloads = False

    def tend(self) -> None:
        """Begin what is needed and not begun."""
        if self._of.watchdog_sec and not self._watched:
            self._watched = True
            self._nursery.start_soon(watchdog.watch, self._of, self._heard, self._world)
        if self._of.run.reloading and not self._reloads:
            self._reloads = True
            self._nursery.start_soon(self._end_reload)

    async def _end_reload(self) -> None:
        """A reload that the service has announced and not ended in the time that a start has is over, too."""
        of, run = self._of, self._of.run
        limit = run.spec.ready_timeout_usec
        with trio.move_on_after(float("inf") if limit is None else limit / units.USEC_PER_SEC) as scope:
            while of.sub == states.RELOAD:
                await run.job.changed.wait()
        self._reloads = False
        if scope.cancelled_caught and of.sub == states.RELOAD and not run.reload_asked:
            run.reloading = False
            run.job.fire(states.RELOADED, "reload-timed-out")
            run.wake.set()
