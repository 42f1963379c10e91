"""The files of one run's log: their names, the index record, and the repair of an index that a kill cut short.

A run's directory holds `out.<offset>` and `err.<offset>` (exactly the bytes of the stream; the name is the offset of
the first byte, 16 hex digits) and `idx`, an array of fixed-size records in the order in which the bytes were read.

- The sizes of the segments are the truth. The index only says when and in what order; it may be short or torn.
- A record covers its stream up to `offset + length`. Who reads takes it as covering everything since the record before,
  so a missing or damaged record costs a time stamp and never a byte.
- Records are appended. Where the head was dropped, its records are a hole of zeros, so that record numbers never move.
"""

from __future__ import annotations

import os
import struct
import time
from typing import NamedTuple

# wall ns, monotonic ns, offset in the stream, length, flags
RECORD = struct.Struct("<QQQII")
RECORD_BYTES = RECORD.size
_FLAGS = struct.Struct("<28xI")
LENGTH_MAX = 2**32 - 1  # the width of the field

STDOUT = 1
STDERR = 2
STREAM_MASK = 3
RECOVERED = 0x100  # found in the file without a record: its time is that of the recovery
DROPPED = 0x200  # `length` bytes before `offset` were removed
ENDED = 0x400  # the stream is at its end while the other one goes on; length 0

INDEX = "idx"
_PREFIX = {STDOUT: "out.", STDERR: "err."}
_STREAM = {"out.": STDOUT, "err.": STDERR}
_OFFSET_DIGITS = 16
# Records read at once when searching: 64 KiB, one read-ahead window of Linux is 128 KiB.
BLOCK = 2048


class Segment(NamedTuple):
    """One file of a stream: the bytes from `start` to `start + size`."""

    start: int
    size: int
    path: str

    @property
    def end(self) -> int:
        return self.start + self.size


def segment_path(directory: str, stream: int, start: int) -> str:
    """The file that holds the bytes of `stream` from offset `start` on."""
    return f"{directory}/{_PREFIX[stream]}{start:016x}"


def segments(directory: str) -> dict[int, list[Segment]]:
    """The segments of both streams, oldest first; empty lists if there is no directory."""
    found: dict[int, list[Segment]] = {STDOUT: [], STDERR: []}
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                stream = _STREAM.get(entry.name[:4])
                if stream is None or len(entry.name) != 4 + _OFFSET_DIGITS:
                    continue
                try:
                    start = int(entry.name[4:], 16)
                    size = entry.stat(follow_symlinks=False).st_size
                except (ValueError, FileNotFoundError):  # not ours, or removed meanwhile by the cap
                    continue
                found[stream].append(Segment(start, size, f"{directory}/{entry.name}"))
    except FileNotFoundError:
        pass
    for listed in found.values():
        listed.sort()
    return found


def open_index(directory: str, flags: int = os.O_RDONLY) -> int:
    """A descriptor of the index, or -1 if there is none (and `flags` does not create it)."""
    try:
        return os.open(f"{directory}/{INDEX}", flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:
        if flags & os.O_CREAT:
            raise
        return -1


def count_records(index: int) -> int:
    """How many whole records the index has."""
    return os.fstat(index).st_size // RECORD_BYTES


def read_block(index: int, first: int, count: int) -> list[tuple[int, int, int, int, int]]:
    """Up to `count` records from number `first` on; a torn one at the end is left out."""
    data = os.pread(index, count * RECORD_BYTES, first * RECORD_BYTES)
    whole = len(data) // RECORD_BYTES * RECORD_BYTES
    return list(RECORD.iter_unpack(data[:whole] if whole != len(data) else data))


def read_run(index: int, first: int, count: int) -> tuple[int, tuple[int, int, int, int, int]] | None:
    """The block of `read_block` as one record, with its number of records, if all are of the same kind."""
    data = os.pread(index, count * RECORD_BYTES, first * RECORD_BYTES)
    whole = len(data) // RECORD_BYTES
    if not whole or len(set(_FLAGS.iter_unpack(data[: whole * RECORD_BYTES]))) != 1:
        return None
    wall, mono, start, _, flags = RECORD.unpack_from(data, 0)
    _, _, offset, length, _ = RECORD.unpack_from(data, (whole - 1) * RECORD_BYTES)
    return whole, (wall, mono, start, max(0, offset + length - start), flags)


def first_record(index: int, total: int) -> int:
    """The number of the first record that was not punched out: the holes are at the head only."""
    block = read_block(index, 0, 1)
    low, high = 0, total if block and block[0][4] == 0 else 0
    while low < high:
        middle = (low + high) // 2
        block = read_block(index, middle, 1)
        if block and block[0][4] == 0:
            low = middle + 1
        else:
            high = middle
    return low if low < total else 0


def find_offset(index: int, total: int, stream: int, offset: int) -> int:
    """The number of the first record of `stream` that ends behind `offset`; `total` if there is none.

    A binary search; where the stream has no record for long it looks through that stretch, a block at a time.
    """
    low, high = first_record(index, total), total
    while low < high:
        middle = (low + high) // 2
        found = next_of(index, middle, high, stream)
        if found is None or found[2] > offset:
            high = middle
        else:
            low = found[0] + 1
    found = next_of(index, low, total, stream)
    return total if found is None else found[0]


def find_wall(index: int, total: int, wall: int) -> int:
    """The number of the first record not older than `wall`; where the clock was set back, one such border."""
    low, high = 0, total  # the hole at the head reads as time 0
    while low < high:
        middle = (low + high) // 2
        block = read_block(index, middle, 1)
        if block and block[0][0] < wall:
            low = middle + 1
        else:
            high = middle
    return low


def next_of(index: int, first: int, stop: int, stream: int) -> tuple[int, int, int] | None:
    """Number, start and end of the first record of the bytes of `stream` in [first, stop)."""
    step = 64  # mostly it is near
    while first < stop:
        data = os.pread(index, min(step, stop - first) * RECORD_BYTES, first * RECORD_BYTES)
        flags = [flag for (flag,) in _FLAGS.iter_unpack(data[: len(data) // RECORD_BYTES * RECORD_BYTES])]
        if not flags:
            return None
        kinds = [flag for flag in set(flags) if flag & STREAM_MASK == stream and not flag & DROPPED]
        if kinds:
            at = min(map(flags.index, kinds))
            _, _, offset, length, _ = RECORD.unpack_from(data, at * RECORD_BYTES)
            return first + at, offset, offset + length
        first += len(flags)
        step = BLOCK
    return None


class Recovered(NamedTuple):
    """What a log holds: where each stream's newest segment starts, both ends, and the number of records."""

    out_start: int
    out_end: int
    err_start: int
    err_end: int
    records: int
    kept_bytes: int


NOTHING = Recovered(0, 0, 0, 0, 0, 0)


def recover(directory: str) -> Recovered:
    """Makes the index agree with the files; to be called before the first byte is added.

    Cuts a torn record, and adds a RECOVERED one for bytes that no record covers. If records cover more than there is
    (the machine lost power), the stream goes on at the offset that they promise: the gap then shows as dropped bytes.

    Raises: OSError.
    """
    found = segments(directory)
    if not found[STDOUT] and not found[STDERR]:
        return NOTHING
    ends = {stream: listed[-1].end if listed else 0 for stream, listed in found.items()}
    starts = {stream: listed[-1].start if listed else 0 for stream, listed in found.items()}
    kept = sum(segment.size for listed in found.values() for segment in listed)
    index = open_index(directory, os.O_RDWR | os.O_CREAT)
    try:
        records = count_records(index)
        os.ftruncate(index, records * RECORD_BYTES)
        indexed = covered(index, records, {stream for stream, listed in found.items() if listed})
        for stream in (STDOUT, STDERR):
            if indexed[stream] > ends[stream]:
                starts[stream] = ends[stream] = indexed[stream]
            records += _cover(index, records, stream, indexed[stream], ends[stream])
    finally:
        os.close(index)
    return Recovered(starts[STDOUT], ends[STDOUT], starts[STDERR], ends[STDERR], records, kept)


def covered(index: int, records: int, wanted: set[int]) -> dict[int, int]:
    """Up to which offset the index covers each stream of `wanted`; looks backwards from the end."""
    ends = {STDOUT: 0, STDERR: 0}
    missing = set(wanted)
    stop = records
    while stop and missing:
        first = max(0, stop - BLOCK)
        data = os.pread(index, (stop - first) * RECORD_BYTES, first * RECORD_BYTES)
        if any(flags & STREAM_MASK in missing for (flags,) in set(_FLAGS.iter_unpack(data))):
            for _, _, offset, length, flags in reversed(list(RECORD.iter_unpack(data))):
                stream = flags & STREAM_MASK
                if stream in missing and not flags & DROPPED:
                    ends[stream] = offset + length
                    missing.discard(stream)
        stop = first
    return ends


def _cover(index: int, records: int, stream: int, start: int, end: int) -> int:
    """Appends RECOVERED records for the bytes from `start` to `end`; returns how many."""
    added = 0
    while start < end:
        length = min(end - start, LENGTH_MAX)
        data = RECORD.pack(time.time_ns(), time.monotonic_ns(), start, length, stream | RECOVERED)
        os.pwrite(index, data, (records + added) * RECORD_BYTES)
        start += length
        added += 1
    return added
