"""A list in which of thousands that wait only the next ones stand: which these are, and how many are left out.

What waits is not walked: the next ones are the first of each line, and how many there are the board has counted. Only
where patterns or rules say which of them are meant is each looked at.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, cast

from jobd.core.queueline import key_of, stored
from jobd.core.records import QUEUED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jobd.core.queue import QueueKey
    from jobd.core.records import JobRow
    from jobd.rpc.context import Context
    from jobd.runtime.run import Run


class Brief:
    """Of each queue the next `limit` in its line, and as many of what is kept out of it."""

    def __init__(self, context: Context, limit: int) -> None:
        self._context = context
        self._shown: dict[bytes, Run] = {}
        self._left_out: Counter[tuple[int, QueueKey | None]] = Counter()
        board = context.world.registry.slots.board
        for queue in board.queues():
            for tickets in (board.waiting(queue), board.kept_out(queue)):
                self._shown |= {(run := cast("Run", ticket.item)).id: run for ticket in islice(tickets, limit)}

    def rows(self) -> Iterator[JobRow]:
        """Of the live jobs that the caller sees those that may stand in the list."""
        yield from self._context.live_jobs(waiting=False)
        for row in self._next():
            if self._context.sees(row.owner, row.job):
                yield row

    def _next(self) -> Iterator[JobRow]:
        """The jobs of those that are next; not of a run in line behind another of its own job."""
        rows = (run.job.row for run in self._shown.values())
        return (row for row in rows if row.latest in self._shown and row.sub == QUEUED)

    def is_alone(self, row: JobRow) -> bool:
        """Whether a job stands in the list for itself, and not as one of those that wait."""
        return row.sub != QUEUED or bool(row.array)

    # --- what is left out -----------------------------------------------------------------------------------------
    def leave_out(self, is_wanted: Callable[[JobRow], bool] | None) -> None:
        """Count what waits and does not stand in the list; None: all that the caller sees is wanted."""
        counts = None if is_wanted is not None else self._context.waiting_jobs()
        if counts is not None:
            self._left_out = counts - Counter(self._key(row) for row in self._next() if not row.array_of)
            return
        for row in self._context.live_jobs():
            if not self.is_alone(row) and row.latest not in self._shown and (is_wanted is None or is_wanted(row)):
                self._left_out[self._key(row)] += 1

    def _key(self, row: JobRow) -> tuple[int, QueueKey | None]:
        run = self._context.live(row)
        return row.owner, None if run is None else key_of(row.owner, run.row.queue)

    def left_out(self) -> dict[str, int]:
        """How many, by queue."""
        found: Counter[str] = Counter()
        for (owner, queue), count in self._left_out.items():
            found[self._context.queue_word(owner, stored(queue)) if queue else ""] += count
        return dict(found)
