"""Which runs of a job a `logs` request means, and from where in the first of them.

Runs are looked up one by one as they are read: a job may have a million. Nothing here waits for the disk in the loop
but for small logs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from jobd.core import states
from jobd.runtime.ending import DRAIN_SEC
from jobd.store.logs import PIECE_MAX, Cursor, Piece, RunLog, run_dir
from jobd.store.logs_index import STDERR, STDOUT
from jobd.store.logs_seek import count_lines, since, tail

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobd.core.records import RunRow
    from jobd.runtime.registry import Registry
    from jobd.wire import messages as m

__all__ = ["Cursor", "Found", "LogSource", "Piece", "RunLog", "has_more", "last_bytes"]

MAX_REACH: Final = 100  # older runs that `lines` may reach back over: more would hold up the loop for 10 ms
INLINE_BYTES: Final = 1 << 20  # a log up to this size is searched in the loop (1 ms); a larger one in a thread
_FAR_FUTURE: Final = 2**63 - 1


class Found(NamedTuple):
    """A piece of a run's log, and where the reading of that run began."""

    row: RunRow
    log: RunLog
    piece: Piece
    offsets: tuple[int, int]


class Ends:
    """How far a log reached at one moment: a job that writes faster than its reader reads must not hold him up."""

    def __init__(self, log: RunLog, *, stdout: bool, stderr: bool) -> None:
        out, err = log.sizes()
        self._out, self._err = out if stdout else 0, err if stderr else 0

    def reached(self, cursor: Cursor) -> bool:
        """Whether all of it has been shown."""
        out, err = cursor.offsets()
        return out >= self._out and err >= self._err


class LogSource:
    """One job's share of a request. `newest` is the last run that is meant."""

    def __init__(self, registry: Registry, request: m.Logs, newest: RunRow) -> None:
        self.registry = registry
        self.request = request
        self.newest = newest
        self.first = newest.number  # the first run that is meant
        self._start_at: Cursor | None = None  # where to begin in it
        self._select = {"stdout": request.stdout, "stderr": request.stderr}

    async def seek(self) -> None:
        """Find where to begin. Cancelling leaves nothing behind."""
        request = self.request
        if request.run == "all":
            self.first = 1
        elif request.run == "0" and request.since is not None:
            self.first = self._first_since(request.since)
        if request.lines is not None:
            await self._reach_lines(request.lines)
        elif request.out_from or request.err_from:
            with self.log(self.newest) as log:
                self._start_at = log.start(request.out_from, request.err_from, **self._select)

    def log(self, row: RunRow) -> RunLog:
        """The log of a run."""
        return RunLog(run_dir(self.registry.state_dir, row.owner, row.run))

    # --- which runs -----------------------------------------------------------------------------------------------
    def runs(self) -> Iterator[RunRow]:
        """The runs that are meant, oldest first; those that retention took are left out."""
        for number in range(self.first, self.newest.number):
            row = self._run(number)
            if row is not None:
                yield row
        yield self.newest

    def _run(self, number: int) -> RunRow | None:
        return self.registry.store.run_number(self.newest.owner, self.newest.job, number)

    def _first_since(self, wall: int) -> int:
        """The first run that had not ended before `wall`: runs of a job end in their order."""
        low, high = 1, self.newest.number
        while low < high:
            middle = (low + high) // 2
            row = self._run(middle)
            if row is None or (row.finished_at or row.queued_at) < wall:
                low = middle + 1
            else:
                high = middle
        return low

    async def _reach_lines(self, lines: int) -> None:
        """Begin `lines` lines before the end, in an older run if the newer ones do not have so many."""
        reaches = self.request.run in ("0", "all") and not (self.request.follow or self.request.one_run)
        lowest = max(1, self.newest.number - MAX_REACH) if reaches else self.newest.number
        left = lines
        for number in range(self.newest.number, lowest - 1, -1):
            row = self.newest if number == self.newest.number else self._run(number)
            if row is None:
                return  # retention took it, and all before it
            self.first = number
            with self.log(row) as log:
                final = self.is_closed(row)
                if sum(log.sizes()) <= INLINE_BYTES:
                    self._start_at, found = self._tail(log, left, final)
                else:
                    self._start_at, found = await trio.to_thread.run_sync(self._tail, log, left, final)
            left -= found
            if left <= 0:
                return

    def _tail(self, log: RunLog, lines: int, final: bool) -> tuple[Cursor, int]:
        """Where the last `lines` lines begin, and how many there are."""
        cursor = tail(log, lines, final=final, **self._select)
        if (cursor.positions[STDOUT], cursor.positions[STDERR]) != log.starts():
            return cursor, lines
        return cursor, count_lines(log, final=final, **self._select)

    # --- one run --------------------------------------------------------------------------------------------------
    def cursor(self, log: RunLog, row: RunRow) -> Cursor:
        """Where to begin in a run."""
        if row.number == self.first and self._start_at is not None:
            return self._start_at
        if self.request.since is not None:
            return since(log, self.request.since, **self._select)
        return log.start(**self._select)

    def ends(self, log: RunLog) -> Ends:
        """How far a run's log reaches now."""
        return Ends(log, **self._select)

    def next_piece(self, log: RunLog, cursor: Cursor, final: bool) -> Piece | None:
        """What follows the cursor now, if anything does and it is not later than asked for."""
        until = self.request.until
        split = self.request.split or until is not None
        piece = log.next_piece(cursor, split=split, max_piece=PIECE_MAX, final=final)
        return None if piece is not None and until is not None and piece.wall > until else piece

    def is_closed(self, row: RunRow) -> bool:
        """Whether nothing can be added to the run's log any more."""
        live = self.registry.run(row.owner, row.run)
        return live is None or live.row.closed

    def next_run(self, row: RunRow) -> RunRow | None:
        """The run after `row`, if there is one by now."""
        for live in self.registry.runs.values():
            if (live.row.owner, live.row.job, live.row.number) == (row.owner, row.job, row.number + 1):
                return live.row
        return self._run(row.number + 1)

    async def following(self, row: RunRow) -> RunRow | None:
        """The run after `row`; it is waited for while the job is to start again by itself."""
        while (found := self.next_run(row)) is None:
            job = self.registry.jobs.get((row.owner, row.job))
            if job is None or job.row.sub != states.AUTO_RESTART:
                return None
            await job.changed.wait()
        return found

    def walk(self) -> Iterator[Found]:
        """All pieces of all runs that there are now, each record by itself."""
        until = self.request.until if self.request.until is not None else _FAR_FUTURE
        for row in self.runs():
            with self.log(row) as log:
                cursor = self.cursor(log, row)
                offsets = cursor.offsets()
                ends = self.ends(log)
                while not ends.reached(cursor):
                    piece = log.next_piece(cursor, split=True, final=True)
                    if piece is None or piece.wall > until:
                        return
                    yield Found(row, log, piece, offsets)


def has_more(log: RunLog, cursor: Cursor) -> bool:
    """Whether the index has grown since the cursor last looked."""
    return log.count() > cursor.record


async def last_bytes(registry: Registry, newest: list[RunRow]) -> None:
    """Return when what these runs wrote before they ended is in their logs.

    An exit is told at once, and the last bytes may still be in the pipe then: `run --wait` and then `logs` is to show
    them all. A run of which something lives on is not waited for, as its output need never end.
    """
    with trio.move_on_after(DRAIN_SEC):
        for row in newest:
            run = registry.run(row.owner, row.run)
            while run is not None and run.ending is not None and run.empty and not (run.eof or run.row.closed):
                await run.output_changed.wait()
