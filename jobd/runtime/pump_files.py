"""The files of one run while the pump fills them: opening, one splice, the index record, segments and the cap.

Used by the pump thread only. A run costs little until it writes: directory and files are made at the first byte, can be
closed at any time (`close_files`), and are opened again by the next byte. Rules:

- The position in a file follows from the stream's offsets, and is given with each splice and each record. So nothing is
  left to a file position that another process could share, and a repeated write lands on the same place.
- A record is written behind its bytes. If that fails (the disk is full), `covered` stays behind `end`, and the next
  record covers both; if the daemon is killed in between, recovery does it.
- Under `drop` both streams begin new segments at the same moment: what is dropped is the oldest of the combined view,
  and the index loses exactly its head.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from typing import TYPE_CHECKING, Literal, NamedTuple

from jobd.store import logs_index as index_
from jobd.store.logs_index import DROPPED, ENDED, LENGTH_MAX, RECORD, RECORD_BYTES, STDERR, STDOUT

if TYPE_CHECKING:
    from jobd.runtime.pump_relay import Relay

_OPEN = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_SPLICE = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE
# on_full = "drop" keeps about max_size in this many segments (DESIGN.md, section 5, leaves it open): one eighth is lost
# at a time, and two segments a file system block each are the least that makes sense.
_SEGMENTS = 8
_SEGMENT_MIN = 4096
# fallocate(2): KEEP_SIZE | PUNCH_HOLE, from linux/falloc.h.
_PUNCH = 0x03
_PAGE = 4096


Kind = Literal["bytes", "eof", "blocked", "unblocked", "error"]


class Notice(NamedTuple):
    """What the loop is told of a run: totals of its streams, and for `blocked` and `error` the reason."""

    run: bytes
    kind: Kind
    out_bytes: int
    err_bytes: int
    text: str


PIPE_DEFAULT = 64 * 1024  # pipe(7)
# A stream that comes again soon with little is let gather, until an eighth of its pipe (half of a large one) is filled
# at the rate seen, or a millisecond has passed: fewer, larger records; a job that seldom meets the pump at the lock.
_GATHER_SEC = 0.001
_GATHER_NS = 2_000_000
_GATHER_BYTES = 16 * 1024


class Stream:
    """One pipe and where its bytes go."""

    __slots__ = (
        "big", "busy", "covered", "end", "fd", "file", "last_mono", "left", "number", "parked", "pipe_bytes", "run",
        "start",
    )  # fmt: skip

    def __init__(self, run: Run, number: int, fd: int) -> None:
        self.run = run
        self.number = number  # STDOUT or STDERR
        self.fd = fd  # of the pipe; -1 at its end
        self.file = -1
        self.start = 0  # offset at which the current segment begins
        self.end = 0  # bytes written so far
        self.covered = 0  # of those, the bytes that have an index record
        self.last_mono = 0  # when bytes came last
        self.busy = 0  # big splices in a row
        self.big = False  # its pipe was made larger (or that was tried)
        self.pipe_bytes = PIPE_DEFAULT
        self.parked = False  # not listened to
        self.left = -1  # bytes to take before it is closed; -1: not closing

    def pause(self, moved: int, limit: int, passed: int) -> float:
        """How many seconds to let it gather, after `moved` bytes of at most `limit` within `passed` nanoseconds."""
        least = self.pipe_bytes // 2 if self.big else _GATHER_BYTES
        if not 0 < moved < least or moved == limit or passed > _GATHER_NS:
            return 0
        wanted = least if self.big else self.pipe_bytes / 8
        return min(_GATHER_SEC, passed * 1e-9 * wanted / moved)


class Closed(NamedTuple):
    """A segment that is complete."""

    records: int  # number of the first index record after it
    stream: int
    start: int
    size: int


class Run:
    """One run: its two streams, its index and its cap."""

    __slots__ = (
        "blocked", "closed", "closing", "directory", "drop", "err", "id", "index", "kept", "known", "max_size", "out",
        "owner", "records", "told", "touched", "watchers",
    )  # fmt: skip

    def __init__(self, run: bytes, directory: str, out: int, err: int | None, owner: int) -> None:
        self.id = run
        self.directory = directory
        self.owner = owner
        self.out = Stream(self, STDOUT, out)
        self.err = Stream(self, STDERR, err) if err is not None else None
        self.known = False  # the positions are: the log was recovered, or there is none
        self.index = -1
        self.records = 0
        self.kept = 0  # bytes in the files
        self.max_size = 0  # 0: no cap
        self.drop = False
        self.closed: list[Closed] | None = None  # complete segments, oldest first; only with `drop`
        self.blocked = ""  # why it does not read, as told to the loop
        self.closing = False
        self.watchers = 0
        self.told = False  # a "bytes" notice is on its way
        self.touched = False  # wrote since the last look for files to close

    def streams(self) -> tuple[Stream, ...]:
        return (self.out,) if self.err is None else (self.out, self.err)

    def recover(self) -> None:
        """Takes up an existing log. Raises: OSError."""
        found = index_.recover(self.directory)
        self.records, self.kept = found.records, found.kept_bytes
        ends = {STDOUT: (found.out_start, found.out_end), STDERR: (found.err_start, found.err_end)}
        for stream in self.streams():
            stream.start, stream.end = ends[stream.number]
            stream.covered = stream.end
        self.known = True

    def close_files(self) -> None:
        for stream in self.streams():
            if stream.file >= 0:
                os.close(stream.file)
                stream.file = -1
        if self.index >= 0:
            os.close(self.index)
            self.index = -1

    def set_cap(self, max_size: int | None, drop: bool) -> None:
        self.max_size = max_size or 0
        self.drop = drop and bool(max_size)
        if not self.drop:
            self.closed = None

    def room(self) -> int:
        """How many bytes the cap allows now; LENGTH_MAX without one. Under `drop` this makes room. Raises: OSError."""
        if not self.max_size:
            return LENGTH_MAX
        if not self.drop:
            return max(0, self.max_size - self.kept)
        size = max(_SEGMENT_MIN, self.max_size // _SEGMENTS)
        if self.closed is None:
            self.closed = self._find_closed()
        current = sum(stream.end - stream.start for stream in self.streams())
        if current >= size:
            self._rotate()
            current = 0
        while self.closed and self.kept + size > max(self.max_size, 2 * size):
            self._drop_oldest()
        return size - current

    # --- moving bytes -----------------------------------------------------------------------------------------------
    def open_files(self, stream: Stream) -> None:
        """Opens what `stream` needs, making the directory for the first byte. Raises: OSError."""
        if stream.file < 0:  # it is open when the index could not be opened the last time
            self._open_file(stream)
        if self.index < 0:
            self.index = index_.open_index(self.directory, os.O_RDWR | os.O_CREAT)

    def _open_file(self, stream: Stream) -> None:
        path = index_.segment_path(self.directory, stream.number, stream.start)
        try:
            stream.file = os.open(path, _OPEN, 0o600)
        except FileNotFoundError:
            try:
                os.mkdir(self.directory, 0o700)
            except FileNotFoundError:
                os.makedirs(self.directory, 0o700)
            stream.file = os.open(path, _OPEN, 0o600)
        try:
            size = os.fstat(stream.file).st_size
        except OSError:
            os.close(stream.file)  # what is open was looked at
            stream.file = -1
            raise
        if size != stream.end - stream.start:
            self._begin_segment(stream)

    def _begin_segment(self, stream: Stream) -> None:
        """The file is not the one we wrote: somebody removed it. The stream goes on in one named by its offset."""
        os.close(stream.file)
        stream.file = -1
        if stream.end == stream.start:  # a log where none was expected
            self.close_files()
            self.recover()
            self.open_files(stream)
            return
        with contextlib.suppress(OSError):
            path = index_.segment_path(self.directory, stream.number, stream.start)
            if os.stat(path).st_size == 0:
                os.unlink(path)
        stream.start = stream.end
        stream.file = os.open(index_.segment_path(self.directory, stream.number, stream.start), _OPEN, 0o600)

    def move(self, stream: Stream, limit: int, relay: Relay | None = None) -> int:
        """Moves up to `limit` bytes from the pipe to the file, and records them.

        Args:
            relay: the way to take; empty, or with bytes of this stream: then these are moved, and no others.

        Returns:
            How many bytes; 0 at the end of the stream.

        Raises:
            BlockingIOError: the pipe is empty.
            OSError: the files cannot be written; every byte not moved is still in the pipe.
        """
        if stream.file < 0 or self.index < 0:
            self.open_files(stream)
        if stream.covered < stream.end:
            self.record(stream)
        if relay is None:
            moved = os.splice(stream.fd, stream.file, limit, offset_dst=stream.end - stream.start, flags=_SPLICE)
            self._wrote(stream, moved)
        else:
            moved = relay.pending or relay.take(stream, limit)
            while relay.pending:
                self._wrote(stream, relay.write(stream.file, stream.end - stream.start))
        if moved:
            self.record(stream)
        return moved

    def _wrote(self, stream: Stream, moved: int) -> None:
        stream.end += moved
        self.kept += moved
        self.touched = True

    def record(self, stream: Stream) -> None:
        """Records the bytes that have no record yet. Raises: OSError."""
        now = time.monotonic_ns()
        while stream.covered < stream.end:
            length = min(stream.end - stream.covered, LENGTH_MAX)
            self._write(RECORD.pack(time.time_ns(), now, stream.covered, length, stream.number))
            stream.covered += length
        stream.last_mono = now

    def record_end(self, stream: Stream) -> None:
        """Notes that the stream ended while the other goes on, so that a reader does not wait for its newline."""
        if self.index < 0:
            self.index = index_.open_index(self.directory, os.O_RDWR | os.O_CREAT)
        if stream.covered < stream.end:
            self.record(stream)
        self._write(RECORD.pack(time.time_ns(), time.monotonic_ns(), stream.end, 0, stream.number | ENDED))

    def _write(self, record: bytes) -> None:
        written = os.pwrite(self.index, record, self.records * RECORD_BYTES)
        if written != RECORD_BYTES:  # the last block of the disk: the whole record is written again at the same place
            os.pwrite(self.index, record[written:], self.records * RECORD_BYTES + written)
            if os.fstat(self.index).st_size < (self.records + 1) * RECORD_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.records += 1

    # --- on_full = "drop" -------------------------------------------------------------------------------------------
    def _rotate(self) -> None:
        """Ends the segments of both streams; the next bytes open new ones."""
        assert self.closed is not None
        for stream in self.streams():
            if stream.end > stream.start:
                if stream.covered < stream.end:
                    self.record(stream)
                self.closed.append(Closed(self.records, stream.number, stream.start, stream.end - stream.start))
                stream.start = stream.end
                if stream.file >= 0:
                    os.close(stream.file)
                    stream.file = -1

    def lose_oldest(self) -> None:
        """Under `drop`: gives up what is oldest in the files, for want of room elsewhere. Raises: OSError."""
        if self.closed is None:
            self.closed = self._find_closed()
        if not self.closed and self.kept:
            self._rotate()
        if self.closed:
            self._drop_oldest()

    def _find_closed(self) -> list[Closed]:
        """The complete segments of a log that was taken up, in the order in which they were ended."""
        found: list[Closed] = []
        index = index_.open_index(self.directory)
        try:
            for stream in self.streams():
                for segment in index_.segments(self.directory)[stream.number]:
                    if segment.start < stream.start:
                        after = self.records
                        if index >= 0:
                            last = index_.find_offset(index, self.records, stream.number, segment.end - 1)
                            after = min(last + 1, self.records)
                        found.append(Closed(after, stream.number, segment.start, segment.size))
        finally:
            if index >= 0:
                os.close(index)
        return sorted(found)

    def _drop_oldest(self) -> None:
        """Removes the segments that were ended first, behind a record that says so, and their part of the index."""
        assert self.closed
        if self.index < 0:
            self.index = index_.open_index(self.directory, os.O_RDWR | os.O_CREAT)
        border = self.closed[0].records
        while self.closed and self.closed[0].records == border:
            _, stream, start, size = self.closed[0]
            at, mono = time.time_ns(), time.monotonic_ns()
            self._write(RECORD.pack(at, mono, start + size, min(size, LENGTH_MAX), stream | DROPPED))
            for other in self.streams():
                if other.number == stream and other.start == start + size and other.file < 0:
                    # The stream's last one: an empty file keeps the offset at which it goes on.
                    os.close(os.open(index_.segment_path(self.directory, stream, other.start), _OPEN, 0o600))
            with contextlib.suppress(FileNotFoundError):
                os.unlink(index_.segment_path(self.directory, stream, start))
            self.kept -= size
            del self.closed[0]
        _punch(self.index, border * RECORD_BYTES // _PAGE * _PAGE)


def _punch(descriptor: int, length: int) -> None:
    """Gives the first `length` bytes of a file back to the file system, to read as zeros. Else they stay."""
    import ctypes  # seldom needed, and slow to import

    if length:
        fallocate = ctypes.CDLL(None).fallocate
        fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
        fallocate(descriptor, _PUNCH, 0, length)


def notice(run: Run, kind: Kind, text: str = "") -> Notice:
    """A notice with the totals of this moment."""
    return Notice(run.id, kind, run.out.end, run.err.end if run.err is not None else 0, text)
