"""What somebody does with a run that waits: hold it, let it go, end it before it begins, move it.

Each is one change of its row, with its event; done already, it is done. A run that is held is in no line, and keeps its
place for later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobd.core import records
from jobd.runtime.ending import CANCELED, end_unbegun
from jobd.runtime.slots import MOVED

if TYPE_CHECKING:
    from jobd.core.records import JobRow, RunRow
    from jobd.runtime.job import Caller
    from jobd.runtime.journal import Commit
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run

HELD: Final = "held"  # kinds of events
RELEASED: Final = "released"


def waits(run: Run | None) -> bool:
    """Whether it has not begun, and is not to end without that."""
    return run is not None and run.row.state == records.QUEUED and not run.row.stop_asked


def hold(world: Registry, run: Run, by: Caller) -> Commit | None:
    """Have a run that waits wait until it is released. None: it does."""
    if run.row.held:
        return None
    commit = run.job.note(run, HELD, by, None, held=True)
    world.slots.take_back(run)
    world.slots.join(run)
    return commit


def release(world: Registry, run: Run, by: Caller) -> Commit | None:
    """Let a run that waits begin in its turn. None: it may."""
    if not run.row.held:
        return None
    commit = run.job.note(run, RELEASED, by, None, held=False)
    world.slots.let_in(run)
    return commit


def cancel_line(world: Registry, row: JobRow, by: Caller) -> Commit | None:
    """End the runs that wait for the live one of their job. None: there are none."""
    if not world.singletons.line(row.owner, row.job):
        return None
    with world.journal.together() as commit:
        world.singletons.cancel(row.owner, row.job, by)
    return commit


def cancel_last(world: Registry, owner: int, name: str, count: int, by: Caller) -> None:
    """The same of as many, from the end of the line."""
    with world.journal.together():
        world.singletons.cancel(owner, name, by, count=count)


def cancel(world: Registry, run: Run, by: Caller) -> None:
    """End a run that waits. One that is about to begin, or is not accepted for good, has its walk see to it."""
    if run.slot or (run.accepted is not None and not run.accepted.done):
        run.ask_stop(by)
    else:
        end_unbegun(run, world, CANCELED, by=by)


def switch(world: Registry, first: Run, second: Run, by: Caller, once: str) -> Commit:
    """Have two runs that wait in one queue change places: each has the other's priority and place from now on.

    `once`: the name under which the client asked.
    """
    named = {records.ONCE: once} if once else {}
    places = [_place(run) for run in (first, second)]
    with world.journal.together() as commit:
        world.slots.move(by, (first, {**places[1], **named}), (second, places[0]))
    return commit


def _place(run: Run) -> dict[str, int]:
    row = run.row
    return {"priority": row.priority, "place": row.seq if row.place is None else row.place}


def was_switched(world: Registry, row: RunRow, once: str) -> bool:
    """Whether a run has changed places under this name before."""
    events = world.store.last_events_of_run(row.owner, row.job, row.run)
    return bool(once) and any(event.kind == MOVED and event.data.get(records.ONCE) == once for event in events)
