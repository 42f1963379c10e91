"""What is known of a live run as a service: whether it is ready, well and alive, and what it said of itself.

A run has one of these only if its job asks for it, so that a plain job costs nothing more. The tasks beside the run's
own (notifying, readiness, health, watchdog) note their facts here and in the run, and wake its task, which alone acts
on the process. All of it begins anew under a new daemon, from the row: what a service said and must not be forgotten is
committed before it counts as received.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from jobd.core import service, states, units
from jobd.runtime.wake import Changed

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobd.core.spec import JobSpec
    from jobd.runtime.notifying import Notifications
    from jobd.runtime.run import Ending, Run

ACTIVE: Final = (states.RUNNING, states.RELOAD)  # it is ready, and nobody stops it
LIVING: Final = (states.START, *ACTIVE)


def becomes_ready(spec: JobSpec) -> bool:
    """Whether more than a successful exec makes it ready. A oneshot is ready when it has ended."""
    return spec.type == service.NOTIFY or (spec.ready is not None and spec.type != service.ONESHOT)


def notifies(spec: JobSpec) -> bool:
    """Whether a run has a socket for sd_notify(3)."""
    return spec.type == service.NOTIFY or spec.watchdog_usec is not None


def is_service(spec: JobSpec) -> bool:
    """Whether runs of this job are looked after besides their process."""
    return becomes_ready(spec) or notifies(spec) or spec.health is not None


class Service:
    """One live run's. Made when its program runs, for as long as anything of it is left."""

    __slots__ = ("_extended", "announced", "changed", "health", "heard", "pinged", "run", "status", "tend", "waits")

    def __init__(self, run: Run) -> None:
        self.run = run
        self.changed = Changed()  # anything here, or what `Run` is told by the keeper: for the tasks beside its own
        self.heard: Notifications | None = None  # its socket
        self.tend: Callable[[], None] = lambda: None  # begins the tasks that it has come to need
        self.announced = False  # READY=1
        self.waits = ""  # what it waits for to be ready: "for tcp 8000"
        self.status: str | None = None  # what it last said of itself, to this daemon
        self.health = ""  # "", "healthy", or what is wrong
        if self.sub == states.RELOAD and run.notify is not None and not run.row.reloads:
            run.reloading, run.reload_asked = True, False  # nobody but itself can have begun it
        self.pinged = trio.current_time()  # when it last showed that it lives, or need not have
        # What it asked for in the state that it is in; under a new daemon all of it, from then on.
        self._extended = (self.sub, trio.current_time() + run.row.extended_usec / units.USEC_PER_SEC)

    @property
    def sub(self) -> str:
        """The state of its job."""
        return self.run.job.row.sub

    @property
    def is_active(self) -> bool:
        """Whether it is ready, not being stopped, and there."""
        return self.sub in ACTIVE and self.run.ending is None and not self.run.row.stop_asked

    def holds(self, ending: Ending) -> bool:
        """Whether the end of the main process is not to be known yet: it said something before."""
        return self.heard is not None and self.heard.holds(ending)

    def drop_end(self) -> None:
        """That end was not the run's: another process is the main one now."""
        if self.heard is not None:
            self.heard.drop_end()

    async def until_active(self) -> None:
        """Return when it is ready, at once if it is. A job that is being stopped never becomes it."""
        while not self.is_active:
            await self.run.job.changed.wait()

    async def until_thawed(self) -> None:
        """Return when its tree is not held by `freeze`, at once if it is not."""
        while self.run.frozen:
            await self.changed.wait()

    def extend(self, usec: int) -> None:
        """EXTEND_TIMEOUT_USEC: from now on the present state may last this long, whatever its limit says."""
        self._extended = (self.sub, trio.current_time() + usec / units.USEC_PER_SEC)
        self.changed.set()
        self.run.wake.set()

    @property
    def extension_sec(self) -> float:
        """How long the present state may last at least, because it said so."""
        sub, until = self._extended
        return max(0.0, until - trio.current_time()) if sub == self.sub else 0.0

    @property
    def watchdog_sec(self) -> float:
        """How often it has to show that it lives; 0: it need not."""
        own = self.run.row.watchdog_usec
        return ((self.run.spec.watchdog_usec or 0) if own is None else own) / units.USEC_PER_SEC
