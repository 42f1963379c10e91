"""`daemon-status`, `daemon-reload`, `daemon-reexec`, `shutdown`."""

from __future__ import annotations

import logging
import os
import platform
from collections import Counter
from typing import TYPE_CHECKING, Final

import trio

import jobd
from jobd.core import plan, records
from jobd.core.configfile import ConfigError
from jobd.rpc.context import Context, Refused
from jobd.rpc.handlers.each import changed_plan
from jobd.runtime import acts
from jobd.runtime.journal import NotDurable
from jobd.runtime.slots import LimitReached
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jobd.core.policy import Policy
    from jobd.runtime.configuration import Configuration
    from jobd.runtime.definitions import Change

log = logging.getLogger("jobd.rpc")

SHOWN_REASONS: Final = 20  # jobs
SHOWN_WARNINGS: Final = 20  # of a configuration, in the answer
FIRST_NAMES: Final = 5  # in the log


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
    if world.definitions.error:
        admin = context.who.is_admin
        found.append(world.definitions.error if admin else f"{world.definitions.files.directory} cannot be read")
    found += [f"{word} has failed" for word in context.failed_definitions(SHOWN_REASONS)]
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
    """Read the configuration and the job files again. A jobd.toml that cannot be taken changes nothing.

    It is recorded afterwards, with what came of it: a daemon that dies in between takes what it has read with it, and
    of the job files what is recorded.
    """
    configuration, by = context.world.configuration, context.caller
    outcome, warnings = "not finished", []
    try:
        if not request.names:
            policy = await configuration.check() if request.dry else await _load(configuration)
            rules = len(policy.allow)
            outcome = "1 rule" if rules == 1 else f"{rules} rules"
            warnings = _first(policy.warnings)
        only = request.names or None
        changes, more = await context.world.definitions.reload(only, by, dry=request.dry)
        outcome = ", ".join(filter(None, [outcome if only is None else "", _counted(changes)]))
    except ConfigError as error:
        if not context.world.keeper.alive:  # who opens the files: the daemon of the next one is asked again
            await trio.sleep_forever()
        outcome = f"refused: {error}"
        log.warning("daemon-reload by uid %d is refused: what was in force still is", by.uid)
        raise Refused(errors.BAD_SETTING, f"cannot reload, and what was in force still is: {error}") from error
    except LimitReached as error:
        raise Refused(errors.LIMIT, str(error)) from error
    except NotDurable as error:
        outcome = "no room"
        raise Refused(errors.NO_SPACE, f"cannot take all job files: {error}") from error
    finally:
        if not request.dry:
            await acts.record(context.world.registry, "daemon-reload", by, outcome)
    log.info("daemon-reload%s by uid %d: %s", _of(request.names), by.uid, outcome or "nothing has changed")
    await context.connection.reply(request.id, changed_plan(changes, [*warnings, *_first(more)]))


async def _load(configuration: Configuration) -> Policy:
    await configuration.load()
    return configuration.policy


def _first(said: Sequence[str]) -> list[str]:
    more = [f"{len(said) - SHOWN_WARNINGS} more warnings, in the log"] if len(said) > SHOWN_WARNINGS else []
    return [*said[:SHOWN_WARNINGS], *more]


def _of(names: Sequence[str]) -> str:
    more = ", …" if len(names) > FIRST_NAMES else ""
    return f" of {', '.join(names[:FIRST_NAMES])}{more}" if names else ""


def _counted(changes: Iterable[Change]) -> str:
    """`2 jobs added, 1 broken`; "" when nothing is otherwise."""
    found = Counter(change.change for change in changes if change.change != plan.UNCHANGED)
    return ", ".join(f"{count} {word}" for word, count in sorted(found.items()))


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
