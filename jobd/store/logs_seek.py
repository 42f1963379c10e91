"""Finding a place in a log without reading all of it: the last lines, and a moment. Memory stays bounded.

A line belongs to the moment of the record in which it begins, so a cursor made here begins each stream at the start of
a line. In the combined view a line also ends where the view leaves it for the other stream.
"""

from __future__ import annotations

from jobd.store import logs_index as index_
from jobd.store.logs import PIECE_MAX, Cursor, Piece, RunLog
from jobd.store.logs_index import STDERR, STDOUT, STREAM_MASK
from jobd.store.logs_merge import Extent

# Bytes and records looked at in one step backwards: few at first, as few lines are mostly wanted, then twice as many.
_STEP_BYTES = 1024 * 1024
_FIRST_BYTES = 16 * 1024
_FIRST_RECORDS = 64
_READ_BYTES = 256 * 1024


def tail(log: RunLog, lines: int, *, stdout: bool = True, stderr: bool = True, final: bool = False) -> Cursor:
    """A cursor at the first of the last `lines` lines of the combined view (of the streams asked for).

    Args:
        final: as for RunLog.pieces; without it the lines that are held back do not count yet.
    """
    back = _Backwards(log, stdout=stdout, stderr=stderr, final=final)
    wanted = lines + 2  # each stream may begin within a line, which is left out
    while True:
        at_head = back.go(wanted)
        if at_head:
            cursor, again = (log.start(stdout=stdout, stderr=stderr) for _ in range(2))
        else:
            cursor, again = back.cursor(), back.cursor()
        seen = _line_starts(log, cursor, final)
        if seen >= lines or at_head:
            break
        wanted = 2 * wanted + 64  # some are held back
    if seen > lines:
        _skip(log, again, seen - lines, final)
    return again


def since(log: RunLog, wall: int, *, stdout: bool = True, stderr: bool = True) -> Cursor:
    """A cursor at the first lines that begin at `wall` (ns) or later."""
    total = log.count()
    record = index_.find_wall(log.index(), total, wall) if total else 0
    if not total or record == index_.first_record(log.index(), total):
        return log.start(stdout=stdout, stderr=stderr)
    positions = {}
    for stream, size in zip((STDOUT, STDERR), log.sizes(), strict=True):
        found = index_.next_of(log.index(), record, total, stream) if size else None
        there = {stream} if size else set()
        at = index_.covered(log.index(), total, there)[stream] if found is None else found[1]
        positions[stream] = _line_start(log, stream, at, size)
    return Cursor(log, record, positions[STDOUT], positions[STDERR], stdout=stdout, stderr=stderr)


def count_lines(log: RunLog, *, stdout: bool = True, stderr: bool = True, final: bool = False) -> int:
    """How many lines the combined view of the whole log has. Reads all of it."""
    return _line_starts(log, log.start(stdout=stdout, stderr=stderr), final)


class _Backwards:
    """Goes through a log from its end, counting newlines, to a record that lies before enough of them."""

    def __init__(self, log: RunLog, *, stdout: bool, stderr: bool, final: bool) -> None:
        self._log = log
        self._select = {"stdout": stdout, "stderr": stderr}
        self._wanted = [stream for stream, asked in ((STDOUT, stdout), (STDERR, stderr)) if asked]
        total = log.count()
        self._record = total
        self._first = index_.first_record(log.index(), total) if total else 0
        self._ends = dict(zip((STDOUT, STDERR), log.sizes(), strict=True))
        self._positions = dict(self._ends)
        self._newlines = 0
        self._step_records, self._step_bytes = _FIRST_RECORDS, _FIRST_BYTES
        if not final:  # bytes without a record do not count yet
            there = {stream for stream in self._wanted if self._ends[stream]}
            covered = index_.covered(log.index(), total, there) if total else {STDOUT: 0, STDERR: 0}
            self._positions = {stream: min(end, covered[stream]) for stream, end in self._ends.items()}

    def go(self, newlines: int) -> bool:
        """Goes back until so many newlines lie ahead; True if the log begins before that."""
        while self._newlines < newlines:
            if self._record <= self._first:
                return True
            self._step()
        return False

    def cursor(self) -> Cursor:
        """A cursor here, each stream at the start of a line."""
        out, err = (
            _line_start(self._log, stream, self._positions[stream], self._ends[stream]) for stream in (STDOUT, STDERR)
        )
        return Cursor(self._log, self._record, out, err, **self._select)

    def _step(self) -> None:
        first = max(self._first, self._record - self._step_records)
        passed = 0
        before = dict(self._positions)
        for _, _, offset, length, flags in reversed(index_.read_block(self._log.index(), first, self._record - first)):
            stream = flags & STREAM_MASK
            self._record -= 1
            if stream in self._wanted and not flags & index_.DROPPED:
                self._positions[stream] = min(self._positions[stream], offset)
                passed += length
                if passed >= self._step_bytes:
                    break
        self._step_records = min(index_.BLOCK, 2 * self._step_records)
        self._step_bytes = min(_STEP_BYTES, 2 * self._step_bytes)
        for stream in self._wanted:
            self._newlines += _count(self._log, stream, self._positions[stream], before[stream])


def _count(log: RunLog, stream: int, start: int, end: int) -> int:
    """How many newlines are in [start, end), as far as it is still there."""
    newlines = 0
    while start < end:
        data = log.look(stream, start, min(end - start, _READ_BYTES))
        if data is None:
            break
        newlines += data.count(b"\n")
        start += len(data)
    return newlines


def _line_start(log: RunLog, stream: int, offset: int, end: int) -> int:
    """The first start of a line at `offset` or behind it."""
    if log.newline_before(stream, offset):
        return offset
    found = log.line_end(stream, offset, end)
    return end if found is None else found


class _Lines:
    """Counts the lines that begin in pieces that follow each other."""

    def __init__(self) -> None:
        self._stream = 0
        self._middle = False  # of a line of that stream

    def starts(self, piece: Piece, data: bytes) -> tuple[int, bool]:
        """How many lines begin in this piece, and whether one begins with its first byte."""
        if not data:
            return 0, False
        begins = not self._middle or piece.stream != self._stream
        self._stream, self._middle = piece.stream, not data.endswith(b"\n")
        return begins + data.count(b"\n") - (not self._middle), begins


def _line_starts(log: RunLog, cursor: Cursor, final: bool) -> int:
    """How many lines the view shows from a cursor on."""
    lines = _Lines()
    return sum(lines.starts(piece, log.read(piece))[0] for piece in log.pieces(cursor, final=final))


def _skip(log: RunLog, cursor: Cursor, lines: int, final: bool) -> None:
    """Moves a cursor over so many lines."""
    counter = _Lines()
    for piece in log.pieces(cursor, split=True, max_piece=PIECE_MAX, final=final):
        data = log.read(piece)
        starts, begins = counter.starts(piece, data)
        if starts > lines:
            at = 0
            for _ in range(lines + 1 - begins):
                at = data.index(b"\n", at) + 1
            end = piece.offset + piece.length
            cursor.ready.appendleft(Extent(piece.stream, piece.offset + at, end, piece.wall, piece.mono))
            return
        lines -= starts
