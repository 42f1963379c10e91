"""A list in which of thousands that wait only the next ones stand: which these are, and how many are left out."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from jobd.core.records import JobRow
    from jobd.rpc.context import Context
    from jobd.runtime.run import Run


class Brief:
    """Of each queue the next `limit` in its line, and as many of what is kept out of it."""

    def __init__(self, context: Context, limit: int) -> None:
        self._context = context
        self._counts: dict[tuple[int, str], int] = {}
        self.shown: set[bytes | None] = set()  # runs
        board = context.world.registry.slots.board
        for queue in board.queues():
            for tickets in (board.waiting(queue), board.kept_out(queue)):
                self.shown.update(cast("Run", ticket.item).id for ticket in islice(tickets, limit))

    def leave_out(self, row: JobRow) -> None:
        """Count a job that waits and does not stand in the list."""
        run = self._context.live(row)
        key = row.owner, "" if run is None else run.row.queue
        self._counts[key] = self._counts.get(key, 0) + 1

    def left_out(self) -> dict[str, int]:
        """How many, by queue."""
        found: dict[str, int] = {}
        for (owner, queue), count in self._counts.items():
            word = self._context.queue_word(owner, queue) if queue else ""
            found[word] = found.get(word, 0) + count
        return found
