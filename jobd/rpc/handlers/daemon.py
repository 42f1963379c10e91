"""`daemon-status`, `daemon-reload`, `daemon-reexec`, `shutdown`."""

from __future__ import annotations

import logging
import os
import platform
from typing import Final

import jobd
from jobd.core import records
from jobd.core.configfile import ConfigError
from jobd.rpc.context import Context, Refused
from jobd.runtime import acts
from jobd.wire import errors
from jobd.wire import messages as m

log = logging.getLogger("jobd.rpc")

SHOWN_WARNINGS: Final = 20  # of a configuration, in the answer


def reasons(context: Context) -> list[str]:
    """Why the daemon is degraded, as far as it is the caller's business; empty when it is not."""
    world = context.world
    found = [*world.registry.store.notices]
    if world.registry.store.trouble:
        found.append(world.registry.store.trouble)
    if not world.keeper.alive:
        found.append("the keeper has died; nothing new starts until another takes over")
    if world.configuration.error:
        admin = context.who.is_admin
        found.append(world.configuration.error if admin else f"{world.configuration.path} cannot be taken")
    troubles = (run for run in context.live_runs() if run.trouble)
    found += sorted({f"{context.word(run.row.owner, run.row.job)}: {run.trouble}" for run in troubles})[:20]
    return found


def status(context: Context, _: m.DaemonStatus) -> m.Daemon:
    """Who serves, and how it is. Runs and connections are those that the caller may know of."""
    world = context.world
    welcome = world.keeper.welcome
    assert welcome is not None
    why = reasons(context)
    states = [run.row.state for run in context.live_runs()]
    queued = states.count(records.QUEUED)
    connections = world.connections() if context.who.is_admin else context.connection.share.connections
    return m.Daemon(
        version=jobd.__version__,
        state="stopping" if world.registry.stopping else "degraded" if why else "running",
        pid=os.getpid(),
        uid=os.geteuid(),
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
        connections=connections,
        reasons=why,
        incarnation=welcome.incarnation,
        python=platform.python_version(),
        config_dir=welcome.config_dir,
    )


async def reload(context: Context, request: m.DaemonReload) -> None:
    """Read the configuration again. What cannot be taken changes nothing.

    It is recorded afterwards, with what came of it: a daemon that dies in between takes what it has read with it.
    """
    configuration, by = context.world.configuration, context.caller
    outcome = "not finished"
    try:
        await configuration.load()
        rules = len(configuration.policy.allow)
        outcome = "1 rule" if rules == 1 else f"{rules} rules"
    except ConfigError as error:
        outcome = f"refused: {error}"
        log.warning("daemon-reload by uid %d is refused: what was in force still is", by.uid)
        raise Refused(errors.BAD_SETTING, f"cannot reload, and what was in force still is: {error}") from error
    finally:
        await acts.record(context.world.registry, "daemon-reload", by, outcome)
    log.info("daemon-reload by uid %d: %s in %s", by.uid, outcome, configuration.path)
    said = configuration.policy.warnings
    more = [f"{len(said) - SHOWN_WARNINGS} more warnings, in the log"] if len(said) > SHOWN_WARNINGS else []
    text = "\n".join((*said[:SHOWN_WARNINGS], *more))
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
    context.world.keeper.ask_shutdown()
    await context.connection.reply(request.id, m.Ok())


def _needs_keeper(context: Context) -> None:
    if not context.world.keeper.alive:
        text = "cannot do this now: the keeper has died; try again when another has taken over"
        raise Refused(errors.UNAVAILABLE, text)
