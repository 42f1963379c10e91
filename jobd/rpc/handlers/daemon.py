"""`daemon-status`, `daemon-reload`, `daemon-reexec`, `shutdown`."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING, Final

import jobd
from jobd.core import records
from jobd.core.configfile import ConfigError
from jobd.rpc.context import Context, Refused
from jobd.runtime import acts
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.rpc.world import World

SHOWN_WARNINGS: Final = 20  # of a configuration, in the answer


def reasons(world: World) -> list[str]:
    """Why the daemon is degraded; empty when it is not."""
    found = [*world.registry.store.notices]
    if world.registry.store.trouble:
        found.append(world.registry.store.trouble)
    if not world.keeper.alive:
        found.append("the keeper has died; nothing new starts until another takes over")
    if world.configuration.error:
        found.append(world.configuration.error)
    found += sorted({f"{run.row.job}: {run.trouble}" for run in world.registry.runs.values() if run.trouble})[:20]
    return found


def status(context: Context, _: m.DaemonStatus) -> m.Daemon:
    """Who serves, and how it is."""
    world = context.world
    welcome = world.keeper.welcome
    assert welcome is not None
    why = reasons(world)
    states = [run.row.state for run in world.registry.runs.values()]
    queued = states.count(records.QUEUED)
    return m.Daemon(
        version=jobd.__version__,
        state="stopping" if world.registry.stopping else "degraded" if why else "running",
        pid=os.getpid(),
        keeper_pid=welcome.keeper_pid if world.keeper.alive else None,
        keeper_version=welcome.keeper_version,
        socket=welcome.socket,
        state_dir=welcome.state_dir,
        mode=welcome.mode,
        started_at=world.started_at,
        tracking=welcome.tracking,
        kernel=platform.release(),
        running=len(states) - queued - states.count(records.FINISHED),
        queued=queued,
        connections=world.connections(),
        reasons=why,
        incarnation=welcome.incarnation,
        python=platform.python_version(),
    )


async def reload(context: Context, request: m.DaemonReload) -> None:
    """Read the configuration again. What cannot be taken changes nothing."""
    await acts.record(context.world.registry, "daemon-reload", context.caller)
    try:
        await context.world.configuration.load()
    except ConfigError as error:
        raise Refused(errors.BAD_SETTING, f"cannot reload: {error}; what was in force still is") from error
    await context.access.look_up_group()
    said = context.world.configuration.policy.warnings
    more = [f"{len(said) - SHOWN_WARNINGS} more, in the log"] if len(said) > SHOWN_WARNINGS else []
    text = "\n".join(f"warning: {line}" for line in (*said[:SHOWN_WARNINGS], *more))
    await context.connection.reply(request.id, m.Ok(text=text))


async def reexec(context: Context, request: m.DaemonReexec) -> None:
    """Have the keeper replace us, or itself."""
    _needs_keeper(context)
    await acts.record(context.world.registry, "daemon-reexec", context.caller)
    context.world.keeper.send("ask-reexec", keeper=request.keeper)
    await context.connection.reply(request.id, m.Ok())


async def shutdown(context: Context, request: m.Shutdown) -> None:
    """Have the keeper end everything."""
    _needs_keeper(context)
    await acts.record(context.world.registry, "shutdown", context.caller)
    context.world.keeper.send("ask-shutdown")
    await context.connection.reply(request.id, m.Ok())


def _needs_keeper(context: Context) -> None:
    if not context.world.keeper.alive:
        text = "cannot do this now: the keeper has died; try again when another has taken over"
        raise Refused(errors.UNAVAILABLE, text)
