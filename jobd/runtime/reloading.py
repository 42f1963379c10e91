"""Reloads: a service is told to read its configuration again, by a signal or a command.

A reload by a signal is over when that is sent; one that the service itself announces (RELOADING=1) when it says READY=1
again. A command has the time that a start has, and what it ends with is told to who asked. Whatever comes of it, the
service goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from jobd.core import states, units
from jobd.core.records import ONCE
from jobd.runtime import helpers
from jobd.runtime.stopping import left_sec

if TYPE_CHECKING:
    from jobd.runtime.job import Caller, Value
    from jobd.runtime.journal import Commit
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run

ENDS: Final = ("reloaded", "reload-failed")  # kinds of events
REASON: Final = "act.reason"
OPERATION: Final = "reload-"  # with the number of the reload


def is_possible(run: Run) -> bool:
    """Whether the definition says how."""
    return bool(run.spec.reload_command) or run.spec.reload_signal is not None


def ask(run: Run, by: Caller | None, once: str = "") -> Commit | None:
    """Commit the wish that a running service reload; None if it does so already. Its task sees to it.

    `once` is the name of the act, by which it is found again.
    """
    if run.job.row.sub == states.RELOAD:
        return None
    run.reload_asked, run.reload_trouble = True, ""
    named = {ONCE: once} if once else {}
    commit = run.job.fire(states.RELOAD_ASKED, "reload-requested", by, reloads=run.row.reloads + 1, **named)
    run.wake.set()
    return commit


def take_up(run: Run) -> None:
    """Go on with the reload that an earlier daemon had begun.

    One that the service has announced is believed to be over, unless nobody has ever asked for one (`Service`).
    """
    run.reload_asked = run.job.row.sub == states.RELOAD


async def reload(run: Run, world: Registry) -> None:
    """Do what was asked, unless the main process ends first or a stop is asked for. By the run's task."""
    opid = f"{OPERATION}{run.row.reloads}"
    done = run.row.reloads == 0 or opid in run.operations
    await world.journal.flush()  # it is durable before it is done
    with trio.move_on_after(left_sec(run.spec.ready_timeout_usec, run.entered_mono, run.job.row.changed_at)):
        if not done:
            await _do(run, world, opid)
    trouble = "" if done else _trouble(run, world, opid)
    run.reload_asked, run.reload_trouble = False, trouble
    if run.job.row.sub == states.RELOAD and run.ending is None and not run.row.stop_asked and not run.reloading:
        reason: dict[str, Value] = {REASON: trouble} if trouble else {}
        run.job.fire(states.RELOADED, ENDS[1] if trouble else ENDS[0], None, **reason)
    run.changed.set()


async def _do(run: Run, world: Registry, opid: str) -> None:
    spec = run.spec
    if spec.reload_command:
        await helpers.beside(run, world, opid, spec.reload_command, lambda: _is_off(run))
    elif spec.reload_signal is not None:
        world.keeper.send("signal", run=run.id, o=opid, sig=spec.reload_signal, whom="main")
        while opid not in run.operations and not _is_off(run):
            await run.wake.wait()


def _is_off(run: Run) -> bool:
    """Whether there is nothing left to reload, or nobody who could."""
    return run.ending is not None or bool(run.row.stop_asked) or run.keeper_lost


def _trouble(run: Run, world: Registry, opid: str) -> str:
    """What went wrong, in words."""
    command = run.spec.reload_command
    end = run.helpers.end(opid)
    if end is not None or not command:
        words = "" if end is None else end.trouble(command)
        return f"its reload command {words}" if words else ""
    world.keeper.send("helper-kill", run=run.id, o=opid)
    if run.keeper_lost:
        return "the keeper has died"
    if _is_off(run):
        return "it has ended meanwhile, or is being stopped"
    if not world.keeper.serves:
        return "the keeper is an older one, which can run no commands; see jobctl daemon-reexec --keeper"
    return f"its reload command took longer than {units.format_duration(run.spec.ready_timeout_usec)}"
