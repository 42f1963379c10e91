"""Queues as clients see them, and why nothing more begins in one, for one caller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobd.core.records import PAUSED, SHARED
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.core.queue import QueueKey
    from jobd.core.records import QueueRow
    from jobd.rpc.context import Context
    from jobd.runtime.run import Run

SHOWN: Final = 3  # runs that are named


def queue_view(context: Context, row: QueueRow) -> m.QueueView:
    """A queue as it is now."""
    key, board = (row.owner, row.name), context.world.registry.slots.board
    running, waiting, held = board.counts(key)
    return m.QueueView(
        name=row.name,
        owner=None if row.owner == SHARED else row.owner,
        slots=row.slots,
        state=row.state,
        used=board.used(key),
        running=running,
        waiting=waiting,
        held=held,
        reason=reason(context, row) if waiting else "",
    )


def reason(context: Context, row: QueueRow) -> str:
    """Why what waits in a queue does: `is full: held by make-41, make-43`; "" if it is about to begin."""
    if row.state == PAUSED:
        return "is paused"
    slots = context.world.registry.slots
    key = row.owner, row.name
    head, used = slots.board.head(key), slots.board.used(key)
    if head is None:
        return "waits for its users: each has as many runs as he may"
    if slots.queues.setting(key).fits(head.weight, used):
        return "waits for other runs: there are as many as may be at all" if slots.board.is_full() else ""
    assert row.slots is not None
    if not row.slots:
        return "has no slots"
    by = _holders(context, key)
    if used >= row.slots:
        return f"is full: held by {by}"
    free = row.slots - used
    return f"has {free} of {row.slots} slots free, and the next takes {head.weight}: held by {by}"


def line_words(context: Context, run: Run) -> str:
    """How things stand in the queue in whose line a run is: `queue build is full: held by make-41; it is next`."""
    registry = context.world.registry
    position, row = registry.slots.position(run), registry.queues.of_run(run.row.owner, run.row.queue)
    if not position or row is None:
        return ""
    why = reason(context, row)
    place = "it is next" if position == 1 else f"it is number {position} in line"
    word = context.queue_word(run.row.owner, run.row.queue)
    return f"queue {word} {why}; {place}" if why else f"queue {word}: {place}"


def waits_words(context: Context, run: Run) -> str:
    """What a run waits for in its line, with who has the slots: `for queue build, which is full: held by make-41`."""
    registry = context.world.registry
    row = registry.queues.of_run(run.row.owner, run.row.queue) if registry.slots.position(run) else None
    why = "" if row is None else reason(context, row)
    return f"for queue {context.queue_word(run.row.owner, run.row.queue)}, which {why}" if why else ""


def _holders(context: Context, key: QueueKey) -> str:
    """Who has its slots, as far as the caller may know."""
    runs = context.world.registry.slots.running(key)
    seen = [run.row for run in runs if context.sees(run.row.owner, run.row.job)]
    shown = [context.word(row.owner, row.job) for row in seen[:SHOWN]]
    left = len(runs) - len(shown)
    if not shown:
        return f"{left} run{'s' if left > 1 else ''} of others"
    return ", ".join(shown) + (f" and {left} more" if left else "")


def in_order(context: Context, key: QueueKey) -> list[Run]:
    """The runs in a queue: those that run, those that wait their turn, those that wait for something else first."""
    slots = context.world.registry.slots
    return [*slots.running(key), *slots.waiting(key), *slots.out(key)]
