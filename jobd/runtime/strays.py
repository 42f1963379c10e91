"""Before a job runs: what its run before has left, if that was lost with its keeper, is ended.

Jobs live on when keeper and daemon are killed at once, and nobody can take them up again. They are left alone for as
long as nobody wants their job to run: then there would be two of it.
"""

from __future__ import annotations

import logging
import signal
from typing import TYPE_CHECKING, Final

import trio

from jobd.core import records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobd.core.records import RunRow
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run

log = logging.getLogger("jobd.runtime")

TERM_SEC: Final = 10.0  # from SIGTERM to SIGKILL, and the wait after that: as the keeper does when jobd ends
LOOK_SEC: Final = 0.05  # nobody is told when the processes of a lost run end
LOOKED_AT: Final = 16  # runs before this one: those that never came to their program have ended nothing
NEVER_BEGAN: Final = frozenset({"lost", "canceled", "dependency"})  # or may not have


def is_end_untold(run: Run, world: Registry) -> bool:
    """Whether the end of the run before is still on its way to the database: nobody can say there how it ended."""
    before = world.store.run_number(run.row.owner, run.row.job, run.row.number - 1) if run.row.number > 1 else None
    return before is not None and before.state != records.FINISHED


def is_first(run: Run, world: Registry) -> bool:
    """Whether nothing has to be waited for that earlier runs have left."""
    return run.row.number == 1 or not (is_end_untold(run, world) or any(_lost_before(run, world)))


async def end_left(run: Run, world: Registry) -> None:
    """Wait until nothing is left of earlier runs; not when a stop is asked for."""
    for lost in _lost_before(run, world):
        if not await world.keeper.end_stray(lost.run, signal.SIGTERM):
            continue
        log.warning("ending what the lost run %s of %s has left", lost.run.hex(), run.job.row.job)
        with trio.move_on_after(TERM_SEC) as scope:
            await _until_gone(run, world, lost.run, 0)
        if scope.cancelled_caught:
            with trio.move_on_after(TERM_SEC):
                await _until_gone(run, world, lost.run, signal.SIGKILL)


async def _until_gone(run: Run, world: Registry, lost: bytes, sig: int) -> None:
    while not run.row.stop_asked and await world.keeper.end_stray(lost, sig):  # noqa: ASYNC110  # nobody tells
        await trio.sleep(LOOK_SEC)


def _lost_before(run: Run, world: Registry) -> Iterator[RunRow]:
    """Runs of the job that a dead keeper had, since this machine was started, and none has followed."""
    welcome = world.keeper.welcome
    for number in range(run.row.number - 1, max(0, run.row.number - 1 - LOOKED_AT), -1):
        row = world.store.run_number(run.row.owner, run.row.job, number)
        if row is None or row.result not in NEVER_BEGAN or welcome is None:
            return
        if row.result == "lost" and row.boot_id == welcome.boot_id and row.keeper != welcome.keeper:
            yield row
