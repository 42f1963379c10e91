"""Reading the log of one run: sizes, and the combined view from a cursor on. Synchronous; file reading only.

A cursor is a position that survives: the log may grow, lose its head to a cap, or be read by many at once, and the
cursor goes on where it was. It holds offsets, never bytes, so a slow reader costs nothing. Rules:

- What a cursor shows of one stream is exactly that stream, from its start, whatever the index says.
- Bytes that are gone (dropped by the cap, or the file removed) appear as one `dropped` piece with their number.
- While the run lives only bytes with an index record are shown; with `final`, all there are.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from jobd.store import logs_index as index_
from jobd.store.logs_index import DROPPED, ENDED, STDERR, STDOUT, STREAM_MASK, Segment
from jobd.store.logs_merge import Extent, Merge

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A frame of the protocol is at most 1 MiB with the head of its message (DESIGN.md, section 6). A full 64 KiB less, so
# that a flood's pieces begin where pages do.
PIECE_MAX = 15 * 64 * 1024
# Looking for a newline: what one pread takes.
_CHUNK = 64 * 1024


def run_dir(state_dir: Path, owner: int, run: bytes) -> Path:
    """The directory of a run's log. The last two hex digits of a UUIDv7 are random: 256 even directories an owner."""
    name = run.hex()
    return state_dir / f"logs/{owner}/{name[-2:]}/{name}"  # one joint: each takes as long as all else here


class Piece(NamedTuple):
    """Bytes to show next: `length` of `stream` from `offset` on, at `at` in the file `path`.

    `dropped`: instead, `length` bytes before `offset` are gone; `path` is "".
    """

    stream: int
    offset: int
    length: int
    wall: int
    mono: int
    path: str
    at: int
    dropped: bool


class Cursor:
    """A position in the combined view of a log. Made by RunLog.start, tail or since; moved by RunLog.pieces.

    It may be made by one RunLog and moved by another of the same directory.
    """

    __slots__ = ("gone", "merge", "positions", "ready", "record", "wanted")

    def __init__(self, log: RunLog, record: int, out: int, err: int, *, stdout: bool, stderr: bool) -> None:
        self.record = record  # number of the next index record
        self.positions = {STDOUT: out, STDERR: err}  # up to where each stream went into the merge
        self.wanted = (STDOUT if stdout else 0) | (STDERR if stderr else 0)
        self.gone = {STDOUT: 0, STDERR: 0}  # bytes before this offset were shown as dropped
        self.merge = Merge(log)
        self.ready: deque[Extent] = deque()  # shown next; the last may still grow

    def offsets(self) -> tuple[int, int]:
        """Up to where stdout and stderr have been shown: a cursor started there goes on with the same bytes."""
        shown = dict(self.positions)
        for extent in (*self.ready, *self.merge.waiting()):
            shown[extent.stream] = min(shown[extent.stream], extent.start)
        return shown[STDOUT], shown[STDERR]


class RunLog:
    """The log in one directory, which need not exist. Keeps at most three files open, until `close`."""

    __slots__ = ("_index", "_open", "dir")

    def __init__(self, directory: Path | str) -> None:
        self.dir = str(directory)
        self._index = -1
        self._open: dict[int, tuple[int, Segment]] = {}  # stream: descriptor and what it was when last looked at

    def close(self) -> None:
        """Closes the files; reading opens them again. A reader that waits should do this."""
        if self._index >= 0:
            os.close(self._index)
            self._index = -1
        while self._open:
            os.close(self._open.popitem()[1][0])

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- sizes ------------------------------------------------------------------------------------------------------
    def sizes(self) -> tuple[int, int]:
        """Offsets of the ends of stdout and stderr: the bytes written so far, dropped ones included."""
        found = index_.segments(self.dir)
        out, err = found[STDOUT], found[STDERR]
        return out[-1].end if out else 0, err[-1].end if err else 0

    def starts(self) -> tuple[int, int]:
        """Offsets of the first bytes that are still there."""
        found = index_.segments(self.dir)
        out, err = found[STDOUT], found[STDERR]
        return out[0].start if out else 0, err[0].start if err else 0

    def index(self) -> int:
        """A descriptor of the index, or -1 if there is none yet."""
        if self._index < 0:
            self._index = index_.open_index(self.dir)
        return self._index

    def count(self) -> int:
        """How many index records there are."""
        return index_.count_records(self.index()) if self.index() >= 0 else 0

    # --- positions --------------------------------------------------------------------------------------------------
    def start(self, out_from: int = 0, err_from: int = 0, *, stdout: bool = True, stderr: bool = True) -> Cursor:
        """A cursor at these offsets of the streams: for a reader that has had everything before them."""
        record = 0
        if out_from or err_from:
            total = self.count()
            record = total
            sizes = dict(zip((STDOUT, STDERR), self.sizes(), strict=True))  # after `total`: none, then no record before
            for stream, offset, wanted in ((STDOUT, out_from, stdout), (STDERR, err_from, stderr)):
                if wanted and total and sizes[stream]:
                    record = min(record, index_.find_offset(self.index(), total, stream, offset))
        elif self.count():
            record = index_.first_record(self.index(), self.count())
        cursor = Cursor(self, record, out_from, err_from, stdout=stdout, stderr=stderr)
        for stream, offset, wanted in ((STDOUT, out_from, stdout), (STDERR, err_from, stderr)):
            if wanted and not cursor.merge.current and not self.newline_before(stream, offset):
                cursor.merge = Merge(self, stream, offset)  # he stopped in the middle of this line: go on with it
        return cursor

    # --- the view ---------------------------------------------------------------------------------------------------
    def pieces(
        self, cursor: Cursor, *, split: bool = False, max_piece: int = PIECE_MAX, final: bool = False
    ) -> Iterator[Piece]:
        """What follows the cursor now, moving it: after each piece the cursor stands behind it.

        Args:
            split: one piece (or more) for each index record, with its times; otherwise neighbours are joined.
            max_piece: in bytes.
            final: both streams are at their ends: what is held back, or was never indexed, comes too.
        """
        while (piece := self.next_piece(cursor, split=split, max_piece=max_piece, final=final)) is not None:
            yield piece

    def next_piece(
        self, cursor: Cursor, *, split: bool = False, max_piece: int = PIECE_MAX, final: bool = False
    ) -> Piece | None:
        """The next of `pieces`, or None if there is nothing now."""
        ready = cursor.ready
        cursor.merge.look_through(self)  # another may have made it, which is closed by now: it would open files anew
        while True:
            while len(ready) < 2 and not (ready and ready[0].end - ready[0].start >= max_piece):
                if not self._feed_block(cursor, split):
                    break
            if final and len(ready) < 2:
                self._feed_rest(cursor, split)
            if not ready:
                return None
            extent = ready.popleft()
            start = max(extent.start, cursor.gone[extent.stream])
            if start < extent.end:
                return self._piece(cursor, extent._replace(start=start), max_piece)

    def _piece(self, cursor: Cursor, extent: Extent, max_piece: int) -> Piece:
        """The first bytes of an extent; the rest stays ready."""
        stream, start, end, wall, mono = extent
        path, at, there = self.locate(stream, start)
        if not path:
            cursor.gone[stream] = start + there if there else end
            length = cursor.gone[stream] - start
            piece = Piece(stream, start + length, length, wall, mono, "", 0, True)
        else:
            length = min(end - start, there, max_piece)
            piece = Piece(stream, start, length, wall, mono, path, at, False)
        if start + length < end:
            cursor.ready.appendleft(extent._replace(start=start + length))
        return piece

    def read(self, piece: Piece) -> bytes:
        """The bytes of a piece; fewer if they were dropped since."""
        if piece.dropped:
            return b""
        descriptor = self.fileno(piece)
        return os.pread(descriptor, piece.length, piece.at) if descriptor >= 0 else b""

    def fileno(self, piece: Piece) -> int:
        """A descriptor of the piece's file, for sendfile; good until the next call on this log. -1 if it is gone."""
        path, at, there = self.locate(piece.stream, piece.offset)
        return self._open[piece.stream][0] if path == piece.path and at == piece.at and there >= piece.length else -1

    # --- feeding the merge ------------------------------------------------------------------------------------------
    def _feed_block(self, cursor: Cursor, split: bool) -> bool:
        """Takes the next block of records into the cursor; whether there was one."""
        index = self.index()
        if index < 0:
            return False
        run = None if split else index_.read_run(index, cursor.record, index_.BLOCK)
        if run is not None:
            count, record = run
            block = [record]
        else:
            block = index_.read_block(index, cursor.record, index_.BLOCK)
            count = len(block)
        for wall, mono, offset, length, flags in block:
            stream = flags & STREAM_MASK
            if flags & DROPPED or not cursor.wanted & stream or stream == STREAM_MASK:
                continue
            if offset + length > cursor.positions[stream]:
                self._feed(cursor, Extent(stream, 0, offset + length, wall, mono), split)
            if flags & ENDED:
                _append(cursor.ready, cursor.merge.ended(stream), split)
        cursor.record += count
        return count > 0

    def _feed(self, cursor: Cursor, extent: Extent, split: bool) -> None:
        """Bytes up to `extent.end`: they begin where the stream's last ones ended, and exist in a file."""
        start = cursor.positions[extent.stream]
        cursor.positions[extent.stream] = extent.end
        _append(cursor.ready, cursor.merge.feed(extent._replace(start=start)), split)

    def _feed_rest(self, cursor: Cursor, split: bool) -> None:
        """The run is over: bytes without a record, and whatever was held back."""
        for stream, end in zip((STDOUT, STDERR), self.sizes(), strict=True):
            if cursor.wanted & stream and end > cursor.positions[stream]:
                changed = os.stat(index_.segments(self.dir)[stream][-1].path).st_mtime_ns
                self._feed(cursor, Extent(stream, 0, end, changed, 0), split)
        _append(cursor.ready, cursor.merge.release(), split)

    # --- bytes ------------------------------------------------------------------------------------------------------
    def locate(self, stream: int, offset: int) -> tuple[str, int, int]:
        """Path and position of the byte at `offset`, and how many follow in that file.

        If it is gone: "", 0 and how many bytes are gone from there on; 0 if no later byte is there.
        """
        opened = self._open.get(stream)
        if opened is not None:
            descriptor, segment = opened
            if offset >= segment.end:
                segment = segment._replace(size=os.fstat(descriptor).st_size)
                self._open[stream] = descriptor, segment
            if segment.start <= offset < segment.end:
                return segment.path, offset - segment.start, segment.end - offset
        return self._locate_anew(stream, offset)

    def _locate_anew(self, stream: int, offset: int) -> tuple[str, int, int]:
        following = None
        for segment in index_.segments(self.dir)[stream]:
            if segment.start > offset:
                following = segment
                break
            if offset < segment.end:
                with contextlib.suppress(FileNotFoundError):  # dropped between the listing and here
                    descriptor = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                    if (before := self._open.pop(stream, None)) is not None:
                        os.close(before[0])
                    self._open[stream] = descriptor, segment
                    return segment.path, offset - segment.start, segment.end - offset
        return "", 0, following.start - offset if following is not None else 0

    def look(self, stream: int, offset: int, length: int) -> bytes | None:
        """Some bytes (at least one, at most `length`) of a stream from `offset` on; None if they are gone."""
        path, at, there = self.locate(stream, offset)
        return os.pread(self._open[stream][0], min(there, length), at) or None if path else None

    def newline_before(self, stream: int, offset: int) -> bool:
        """Whether `offset` begins a line (as far as its bytes are still there)."""
        if offset == 0:
            return True
        byte = self.look(stream, offset - 1, 1)
        return byte is None or byte == b"\n"

    def line_end(self, stream: int, start: int, end: int) -> int | None:
        """The offset behind the first newline in [start, end)."""
        while start < end:
            data = self.look(stream, start, min(end - start, _CHUNK))
            if data is None:  # gone: counts as whole lines
                gone = self.locate(stream, start)[2]
                return min(end, start + gone) if gone else end
            found = data.find(b"\n")
            if found >= 0:
                return start + found + 1
            start += len(data)
        return None


def _append(ready: deque[Extent], shown: list[Extent], split: bool) -> None:
    """Adds to what is shown next; neighbours become one unless `split`."""
    for extent in shown:
        last = ready[-1] if ready and not split else None
        if last is not None and last.stream == extent.stream and last.end == extent.start:
            ready[-1] = last._replace(end=extent.end)
        else:
            ready.append(extent)
