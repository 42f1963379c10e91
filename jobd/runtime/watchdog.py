"""The watchdog: a run that has not shown for too long that it lives is taken for hung, and is ended for that.

It shows it by WATCHDOG=1, from the moment that it is ready. Whoever is not to blame loses nothing: under a new daemon,
after a freeze, and without a keeper the interval begins anew, and what was said in time is heard before it is judged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from jobd.core import units

if TYPE_CHECKING:
    from jobd.runtime.notifying import Notifications
    from jobd.runtime.registry import Registry
    from jobd.runtime.service import Service

GRACE_SEC: Final = 1.0  # for what it has said and we have not heard, when we were busy


async def watch(of: Service, heard: Notifications, world: Registry) -> None:
    """Watch over a run once it is ready, and fire HANG when it hangs. Runs until cancelled."""
    await of.until_active()
    of.pinged = trio.current_time()
    while True:
        await of.until_active()
        await _until_late(of)
        if of.run.frozen or not world.keeper.alive:
            await of.until_thawed()
            of.pinged = trio.current_time()
            continue
        with trio.move_on_after(GRACE_SEC):
            while heard.has_unread():
                await of.changed.wait()
        if of.is_active and _is_late(of):
            interval = units.format_duration(round(of.watchdog_sec * units.USEC_PER_SEC))
            reason = f"it did not say within {interval} that it lives (WATCHDOG=1)"
            of.run.ask_stop(None, "watchdog", hang=True, reason=reason)
            return


def _is_late(of: Service) -> bool:
    return of.watchdog_sec > 0 and trio.current_time() >= of.pinged + of.watchdog_sec


async def _until_late(of: Service) -> None:
    """Return when the interval is over, as it is then: a service may change it."""
    while not _is_late(of):
        until = of.pinged + of.watchdog_sec if of.watchdog_sec else float("inf")
        with trio.move_on_at(until):
            await of.changed.wait()
