"""What a run waits for in its line, in words: which of the things that it has to pass keeps it from beginning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobd.core.queue import WAITS
from jobd.core.records import PAUSED

if TYPE_CHECKING:
    from jobd.core.queue import Ticket
    from jobd.core.records import QueueRow
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run
    from jobd.runtime.slots import Slots


def words(world: Registry, run: Run) -> str:
    """`for queue build, which is full`; "" if it waits in no line, or is about to begin."""
    ticket, slots = run.ticket, world.slots
    if ticket is None or ticket.state != WAITS:
        return ""
    group = ticket.group
    if group is not None and not ticket.lined:
        return f"for {group.key[1]}, of which {group.limit} may run at once"
    row = None if ticket.queue is None else world.queues.rows[ticket.queue]
    in_queue = "" if row is None else _queue(slots, ticket, row)
    if in_queue and row is not None:
        return f"for queue {world.queues.word(run.row.owner, run.row.queue)}, which {in_queue}"
    if slots.board.is_at_limit(ticket.owner):
        begun = slots.board.begun_of(ticket.owner)
        return f"until others have ended: {begun} of its owner's run, which is all that may"
    if slots.board.is_full():
        return f"until others have ended: {slots.board.begun} run, which is all that may"
    return f"for queue {row.name}" if row is not None else "for its turn"


def _queue(slots: Slots, ticket: Ticket, row: QueueRow) -> str:
    """What is the matter with the queue; "" if that is not what keeps it."""
    key = row.owner, row.name
    if row.state == PAUSED:
        return "is paused"
    if row.slots is None:
        return ""
    if not row.slots:
        return "has no slots"
    if not slots.queues.setting(key).fits(ticket.weight, slots.board.used(key)):
        free = row.slots - slots.board.used(key)
        return "is full" if free <= 0 else f"has {free} of {row.slots} slots free, of the {ticket.weight} that it takes"
    head = slots.board.head(key)
    return "" if head is None or head is ticket else "has others before it"
