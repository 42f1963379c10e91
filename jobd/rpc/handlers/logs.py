"""`logs`: the output of runs, as frames whose tail is sent from the file; followed without a timer.

A reader costs a position, never a copy: whatever it has not read is in the files. Several jobs without `follow` are
merged by time; followed, each is a task and their pieces arrive as they come.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, ClassVar, Final

import trio

from jobd.rpc.context import Context, Refused
from jobd.runtime.logsource import Cursor, Found, LogSource, Piece, RunLog, has_more, last_bytes
from jobd.wire import codec, errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobd.core.records import RunRow
    from jobd.runtime.run import Run

LOGS: Final = "logs"  # the action
MAX_JOBS: Final = 256  # jobs of one request; each is a task and up to three open files
# A follower's files are closed while it waits, unless it was sent so much at once that more will come soon; of such
# there are a few.
FLOOD_BYTES: Final = 64 << 10
MAX_HELD: Final = 32


class Reader:
    """Sends what sources give, as answers to one request."""

    held: ClassVar[int] = 0  # logs that stay open while their followers wait

    def __init__(self, context: Context, request: m.Logs) -> None:
        self._context = context
        self._connection = context.connection
        self._pump = context.world.pump
        self._request = request

    # --- whole runs -----------------------------------------------------------------------------------------------
    async def dump(self, source: LogSource) -> None:
        """One job, no following: run after run."""
        for row in source.runs():
            await self._past(source, row)

    async def _past(self, source: LogSource, row: RunRow) -> None:
        """All of one run that there is now; what is held back in the hope of a newline comes too."""
        with source.log(row) as log:
            cursor = source.cursor(log, row)
            await self._head(row, cursor.offsets())
            ends = source.ends(log)
            while not ends.reached(cursor) and (piece := source.next_piece(log, cursor, final=True)) is not None:
                await self._send(row, log, piece)

    async def merge(self, sources: list[LogSource]) -> None:
        """Several jobs by time. Pieces of one source stay in their order."""
        heap: list[tuple[int, int, Iterator[Found], Found]] = []
        for index, source in enumerate(sources):
            stream = source.walk()
            first = next(stream, None)
            if first is not None:
                heap.append((first.piece.wall, index, stream, first))
        heapq.heapify(heap)
        told: dict[int, bytes] = {}
        while heap:
            _, index, stream, found = heap[0]
            if told.get(index) != found.row.run:
                told[index] = found.row.run
                await self._head(found.row, found.offsets)
            await self._send(found.row, found.log, found.piece)
            following = next(stream, None)
            if following is None:
                heapq.heappop(heap)
            else:
                heapq.heapreplace(heap, (following.piece.wall, index, stream, following))

    # --- following ------------------------------------------------------------------------------------------------
    async def follow(self, source: LogSource) -> None:
        """One job, from where the request begins to its rest."""
        last: RunRow | None = None
        for row in source.runs():
            if last is not None:
                await self._past(source, last)
            last = row
        while last is not None:
            self._check(last)
            await self._follow_run(source, last)
            last = None if self._request.one_run else await source.following(last)

    async def _follow_run(self, source: LogSource, row: RunRow) -> None:
        live = self._context.live_run(row)
        if live is None:
            await self._past(source, row)
            return
        with source.log(row) as log:
            cursor = source.cursor(log, row)
            await self._head(row, cursor.offsets())
            self._pump.watch(row.run)
            try:
                while True:
                    closed = source.is_closed(row)
                    sent = await self._pieces(source, row, log, cursor, final=closed)
                    if closed:
                        return
                    # Nothing awaits between the last look and this wait, so a notice cannot fall in between; one
                    # that came while pieces were sent is covered by looking again.
                    if not source.is_closed(row) and not has_more(log, cursor):
                        await self._wait(live, log, floods=sent >= FLOOD_BYTES)
                        self._check(row)
            finally:
                self._pump.unwatch(row.run)

    @classmethod
    async def _wait(cls, live: Run, log: RunLog, floods: bool) -> None:
        holds = floods and cls.held < MAX_HELD
        if not holds:
            log.close()
        cls.held += holds
        try:
            await live.output_changed.wait()
        finally:
            cls.held -= holds

    def _check(self, row: RunRow) -> None:
        """What is allowed may have changed since the reading began."""
        self._context.grant(LOGS, row.owner, row.job, self._context.word(row.owner, row.job))

    # --- answers --------------------------------------------------------------------------------------------------
    async def _head(self, row: RunRow, offsets: tuple[int, int]) -> None:
        """Say which run follows, and from where in it."""
        body = m.LogRun(
            job=row.job,
            owner=row.owner,
            run=row.run,
            number=row.number,
            pid=row.pid,
            out_from=offsets[0],
            err_from=offsets[1],
        )
        await self._connection.item(self._request.id, body)

    async def _pieces(self, source: LogSource, row: RunRow, log: RunLog, cursor: Cursor, final: bool) -> int:
        """Send what there is; how many bytes."""
        sent = 0
        while (piece := source.next_piece(log, cursor, final)) is not None:
            await self._send(row, log, piece)
            sent += piece.length
        return sent

    async def _send(self, row: RunRow, log: RunLog, piece: Piece) -> None:
        request = self._request.id
        fd = -1 if piece.dropped else log.fileno(piece)
        if fd >= 0:
            prefix = codec.output_prefix(
                request, row.run, piece.stream, piece.offset, piece.wall, piece.mono, piece.length
            )
            await self._connection.send_file(prefix, fd, piece.at, piece.length)
            return
        # Gone, perhaps only just now: `offset` is where the stream goes on.
        offset = piece.offset if piece.dropped else piece.offset + piece.length
        body = m.Dropped(run=row.run, stream=piece.stream, offset=offset, length=piece.length)
        await self._connection.item(request, body)


async def logs(context: Context, request: m.Logs) -> None:
    """Serve one `logs` request."""
    with context.reading():
        await _serve(context, request)


async def _serve(context: Context, request: m.Logs) -> None:
    newest = await _newest(context, request)
    if not request.follow:
        await last_bytes(context.world.registry, newest)
    sources = [LogSource(context.world.registry, request, row) for row in newest]
    for source in sources:
        await source.seek()
    reader = Reader(context, request)
    if request.follow:
        try:
            async with trio.open_nursery() as nursery:
                for source in sources:
                    nursery.start_soon(reader.follow, source)
        except ExceptionGroup as group:
            refused, others = group.split(Refused)
            if refused is None or others is not None:
                raise
            raise _first(refused) from None
    elif len(sources) > 1:
        await reader.merge(sources)
    elif sources:
        await reader.dump(sources[0])
    await context.connection.end(request.id)


async def _newest(context: Context, request: m.Logs) -> list[RunRow]:
    """The last run that is meant, of each job."""
    if not request.jobs and request.run not in ("", "0", "all"):
        return [context.pick("", request.run, LOGS)]  # a run by its id alone
    words = await context.expand(request.jobs, LOGS, at_rest=True, whole=request.one_run)
    if request.one_run:  # of an array nobody has said which
        words = [word for word in words if not context.job(word, LOGS).array]
    if len(words) > MAX_JOBS:
        raise Refused(errors.LIMIT, f"cannot read the logs of {len(words)} jobs at once; at most {MAX_JOBS}")
    selector = "0" if request.run == "all" else request.run
    return [context.pick(word, selector, LOGS) for word in words]


def _first(group: ExceptionGroup[Refused]) -> Refused:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error
