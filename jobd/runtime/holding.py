"""What somebody does with a run that waits: hold it, let it go, end it before it begins.

Each is one change of its row, with its event; done already, it is done. A run that is held is in no line, and keeps its
place for later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobd.core import records
from jobd.runtime.ending import end_unbegun

if TYPE_CHECKING:
    from jobd.runtime.job import Caller
    from jobd.runtime.journal import Commit
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run

HELD: Final = "held"  # kinds of events
RELEASED: Final = "released"
CANCELED: Final = "canceled"  # the same, and the result


def waits(run: Run | None) -> bool:
    """Whether it has not begun, and is not to end without that."""
    return run is not None and run.row.state == records.QUEUED and not run.row.stop_asked


def hold(world: Registry, run: Run, by: Caller) -> Commit | None:
    """Have a run that waits wait until it is released. None: it does."""
    if run.row.held:
        return None
    commit = run.job.note(run, HELD, by, None, held=True)
    world.slots.join(run)
    return commit


def release(world: Registry, run: Run, by: Caller) -> Commit | None:
    """Let a run that waits begin in its turn. None: it may."""
    if not run.row.held:
        return None
    commit = run.job.note(run, RELEASED, by, None, held=False)
    world.slots.join(run)
    run.wake.set()
    return commit


def cancel(world: Registry, run: Run, by: Caller) -> None:
    """End a run that waits. One that is about to begin, or is not accepted for good, has its walk see to it."""
    if run.slot or (run.accepted is not None and not run.accepted.done):
        run.ask_stop(by)
    else:
        end_unbegun(run, world, CANCELED, by=by)
