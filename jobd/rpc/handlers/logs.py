"""`logs`: the output of runs, as frames whose tail is sent from the file; followed without a timer.

A reader costs a position, never a copy: whatever it has not read is in the files. Several jobs without `follow` are
merged by time; followed, each is a task and their pieces arrive as they come.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from jobd.rpc.context import Context, Refused
from jobd.runtime.lifecycle import DRAIN_SEC
from jobd.store.logs import PIECE_MAX, Cursor, Piece, RunLog, run_dir
from jobd.store.logs_index import STDERR, STDOUT
from jobd.store.logs_seek import count_lines, since, tail
from jobd.wire import codec, errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobd.core.records import JobRow, RunRow

MAX_JOBS: Final = 256  # jobs of one request; each is a task and up to three open files
_FAR_FUTURE: Final = 2**63 - 1


class Source:
    """One job's share of a request: which runs, and from where in the first of them."""

    def __init__(self, context: Context, request: m.Logs, word: str) -> None:
        self.context = context
        self.request = request
        self.runs: list[RunRow] = []
        self.first: Cursor | None = None
        self._state_dir = context.world.registry.state_dir
        newest = context.pick(word, "0" if request.run == "all" else request.run)
        self._word = f"{newest.owner}/{newest.job}"  # a run can be named without its job
        self._pick(newest)

    def log(self, row: RunRow) -> RunLog:
        """The log of a run."""
        return RunLog(run_dir(self._state_dir, row.owner, row.run))

    # --- which runs -----------------------------------------------------------------------------------------------
    def _pick(self, newest: RunRow) -> None:
        request = self.request
        self.runs = [newest]
        if request.run == "all":
            self.runs = [*reversed(list(self._before(newest))), newest]
        elif request.run == "0" and request.since is not None:
            self._reach_time(newest, request.since)
        if request.lines is not None:
            self._reach_lines(request.lines)
        elif request.out_from or request.err_from:
            with self.log(newest) as log:
                self.first = self._start(log, request.out_from, request.err_from)

    def _before(self, row: RunRow) -> Iterator[RunRow]:
        """Older runs of the same job, newest first."""
        for number in range(row.number - 1, 0, -1):
            older = self.context.world.store.run_number(row.owner, row.job, number)
            if older is None:
                return  # retention took it, and all before it
            yield older

    def _reach_time(self, newest: RunRow, since: int) -> None:
        for row in self._before(newest):
            if (row.finished_at or row.queued_at) < since:
                break
            self.runs.insert(0, row)

    def _reach_lines(self, lines: int) -> None:
        """Begin `lines` lines before the end, in an older run if the newer ones do not have so many."""
        newest = self.runs[-1]
        reach = self.request.run in ("0", "all") and not self.request.follow
        candidates = [newest, *self._before(newest)] if reach else [newest]
        wanted: list[RunRow] = []
        left = lines
        for row in candidates:
            select = {"stdout": self.request.stdout, "stderr": self.request.stderr, "final": self.is_closed(row)}
            wanted.insert(0, row)
            with self.log(row) as log:
                self.first = tail(log, left, **select)
                if (self.first.positions[STDOUT], self.first.positions[STDERR]) != log.starts():
                    break  # the run has enough of them
                left -= count_lines(log, **select)
            if left <= 0:
                break
        self.runs = wanted

    def _start(self, log: RunLog, out_from: int = 0, err_from: int = 0) -> Cursor:
        return log.start(out_from, err_from, stdout=self.request.stdout, stderr=self.request.stderr)

    # --- one run --------------------------------------------------------------------------------------------------
    def cursor(self, log: RunLog, index: int) -> Cursor:
        """Where to begin in the `index`-th run."""
        if index == 0 and self.first is not None:
            return self.first
        if self.request.since is not None:
            return since(log, self.request.since, stdout=self.request.stdout, stderr=self.request.stderr)
        return self._start(log)

    def head(self, row: RunRow, cursor: Cursor) -> m.LogRun:
        """Says which run follows, and from where in it."""
        out_from, err_from = cursor.offsets()
        return m.LogRun(
            job=row.job,
            owner=row.owner,
            run=row.run,
            number=row.number,
            pid=row.pid,
            out_from=out_from,
            err_from=err_from,
        )

    def is_closed(self, row: RunRow) -> bool:
        """Whether nothing can be added to the run's log any more."""
        live = self.context.world.registry.runs.get(row.run)
        return live is None or live.row.closed

    def next_run(self, row: RunRow) -> RunRow | None:
        """The run after `row`, if there is one by now."""
        job: JobRow | None = self.context.find(self._word)
        if job is None or job.latest is None or job.latest == row.run:
            return None
        if job.runs == row.number + 1:
            return self.context.run_row(job.owner, job.latest)
        return self.context.world.store.run_number(job.owner, job.job, row.number + 1)


async def logs(context: Context, request: m.Logs) -> None:
    """Serve one `logs` request."""
    words = context.expand(request.jobs, at_rest=True)
    if len(words) > MAX_JOBS:
        raise Refused(errors.LIMIT, f"cannot read the logs of {len(words)} jobs at once; at most {MAX_JOBS}")
    if request.jobs == [] and request.run not in ("", "0", "all"):
        words = [""]  # a run by its id alone
    if not request.follow:
        await _last_bytes(context, words)
    sources = [Source(context, request, word) for word in words]
    if request.follow and len(sources) > 1:
        async with trio.open_nursery() as nursery:
            for source in sources:
                nursery.start_soon(_follow, source)
    elif request.follow and sources:
        await _follow(sources[0])
    elif len(sources) > 1:
        await _merge(sources)
    elif sources:
        await _dump(sources[0])
    await context.connection.end(request.id)


async def _last_bytes(context: Context, words: list[str]) -> None:
    """Return when what the newest runs of these jobs wrote before they ended is in their logs.

    An exit is told at once, and the last bytes may still be in the pipe then: `run --wait` and then `logs` is to show
    them all. A run of which something lives on is not waited for, as its output need never end.
    """
    registry = context.world.registry
    with trio.move_on_after(DRAIN_SEC):
        for word in words:
            job = context.find(word) if word else None
            run = registry.runs.get(job.latest) if job is not None and job.latest is not None else None
            while run is not None and run.ending is not None and run.empty and not (run.eof or run.row.closed):
                await run.output_changed.wait()


async def _dump(source: Source) -> None:
    """One job, no following: run after run."""
    for index, row in enumerate(source.runs):
        await _past(source, row, index)


async def _past(source: Source, row: RunRow, index: int) -> None:
    """All of one run that there is now; what is held back in the hope of a newline comes too."""
    with source.log(row) as log:
        cursor = source.cursor(log, index)
        await source.context.connection.item(source.request.id, source.head(row, cursor))
        await _pieces(source, row, log, cursor, final=True)


async def _merge(sources: list[Source]) -> None:
    """Several jobs by time. Pieces of one source stay in their order."""
    heap: list[tuple[int, int, Iterator[Found], Found]] = []
    for index, source in enumerate(sources):
        stream = _walk(source)
        first = next(stream, None)
        if first is not None:
            heap.append((first.piece.wall, index, stream, first))
    heapq.heapify(heap)
    told: dict[int, bytes] = {}
    while heap:
        _, index, stream, found = heap[0]
        source = sources[index]
        if told.get(index) != found.row.run:
            told[index] = found.row.run
            await source.context.connection.item(source.request.id, found.head)
        await _send(source, found.row, found.log, found.piece)
        following = next(stream, None)
        if following is None:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (following.piece.wall, index, stream, following))


class Found(NamedTuple):
    """A piece of a run's log, and what is said before its first one."""

    row: RunRow
    log: RunLog
    piece: Piece
    head: m.LogRun


def _walk(source: Source) -> Iterator[Found]:
    until = source.request.until if source.request.until is not None else _FAR_FUTURE
    for index, row in enumerate(source.runs):
        with source.log(row) as log:
            cursor = source.cursor(log, index)
            head = source.head(row, cursor)
            while (piece := log.next_piece(cursor, split=True, final=True)) is not None:
                if piece.wall > until:
                    return
                yield Found(row, log, piece, head)


async def _follow(source: Source) -> None:
    """One job, from where the request begins to its rest."""
    for index, row in enumerate(source.runs[:-1]):
        await _past(source, row, index)
    last: RunRow | None = source.runs[-1]
    index = len(source.runs) - 1
    while last is not None:
        await _follow_run(source, last, index)
        index = -1  # only the first run can begin in the middle
        last = None if source.request.one_run else source.next_run(last)


async def _follow_run(source: Source, row: RunRow, index: int) -> None:
    pump = source.context.world.pump
    live = source.context.world.registry.runs.get(row.run)
    if live is None:
        await _past(source, row, index)
        return
    with source.log(row) as log:
        cursor = source.cursor(log, index)
        await source.context.connection.item(source.request.id, source.head(row, cursor))
        pump.watch(row.run)
        try:
            while True:
                closed = source.is_closed(row)
                await _pieces(source, row, log, cursor, final=closed)
                if closed:
                    return
                # Nothing awaits between the last look and this wait, so a notice cannot fall in between; one that
                # came while pieces were sent is covered by looking again.
                if not source.is_closed(row) and not _more(log, cursor):
                    log.close()
                    await live.output_changed.wait()
        finally:
            pump.unwatch(row.run)


def _more(log: RunLog, cursor: Cursor) -> bool:
    """Whether the index has grown since the cursor last looked."""
    return log.count() > cursor.record


async def _pieces(source: Source, row: RunRow, log: RunLog, cursor: Cursor, final: bool) -> None:
    """Send what there is now."""
    split = source.request.split
    until = source.request.until
    split = split or until is not None
    while (piece := log.next_piece(cursor, split=split, max_piece=PIECE_MAX, final=final)) is not None:
        if until is not None and piece.wall > until:
            return
        await _send(source, row, log, piece)


async def _send(source: Source, row: RunRow, log: RunLog, piece: Piece) -> None:
    connection, request = source.context.connection, source.request.id
    if not piece.dropped:
        fd = log.fileno(piece)
        if fd >= 0:
            prefix = codec.output_prefix(
                request, row.run, piece.stream, piece.offset, piece.wall, piece.mono, piece.length
            )
            await connection.send_file(prefix, fd, piece.at, piece.length)
            return
    # Gone, perhaps only just now: `offset` is where the stream goes on.
    offset = piece.offset if piece.dropped else piece.offset + piece.length
    await connection.item(request, m.Dropped(run=row.run, stream=piece.stream, offset=offset, length=piece.length))
