"""Whether a service that is ready still answers: the same question again and again.

It begins anew under a new daemon, and after a freeze. What is wrong is shown; what is done about it after so many bad
answers in a row is an event, and the run's end if the job says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from jobd.core import restarts, service, units
from jobd.runtime import checks

if TYPE_CHECKING:
    from jobd.core.service import Health
    from jobd.runtime.registry import Registry
    from jobd.runtime.service import Service

LEAST_SEC: Final = 0.1  # between two questions, whatever the job says: each costs somebody a connection or a process
HEALTHY: Final = "healthy"


async def watch(of: Service, health: Health, world: Registry) -> None:
    """Ask until the run has to be stopped for its answers, or until cancelled."""
    await of.until_active()
    failures = 0
    while True:
        await trio.sleep(max(LEAST_SEC, health.interval_usec / units.USEC_PER_SEC))
        if of.run.frozen:
            await of.until_thawed()
            continue
        if not of.is_active:
            return
        try:
            why = await _ask(of, health, world)
        except checks.NotAsked:
            continue
        if of.run.frozen or not of.is_active or not world.keeper.alive:
            continue  # it could not answer, or nobody could ask
        if not why:
            if failures >= health.failures:
                of.run.job.note(of.run, HEALTHY)
            failures, of.health = 0, HEALTHY
            continue
        failures += 1
        of.health = f"{checks.describe(health.check)}: {why}"
        if failures == health.failures and _act(of, health):
            return


async def _ask(of: Service, health: Health, world: Registry) -> str:
    await world.asking.turn(of.run.row.owner, checks.cost_sec(health.check))
    with trio.move_on_after(health.timeout_usec / units.USEC_PER_SEC):
        return await checks.ask(health.check, of.run, world)
    return f"no answer in {units.format_duration(health.timeout_usec)}"


def _act(of: Service, health: Health) -> bool:
    """It is not well. Returns whether it is being stopped for that."""
    times = f"{health.failures} times in a row" if health.failures > 1 else "once"
    reason = f"its health check failed {times}: {of.health}"
    if health.action == service.NONE:
        of.run.job.note(of.run, "unhealthy", None, None, note=reason)
        return False
    again = restarts.RESTART if health.action == service.RESTART else restarts.REST
    return of.run.ask_stop(None, "watchdog", again=again, reason=reason) is not None
