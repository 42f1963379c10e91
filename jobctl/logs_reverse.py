"""Lines from the last to the first, in bounded memory: chunks of them wait in a file without a name."""

from __future__ import annotations

import os

from jobctl.logs_lines import Line
from jobd.wire.plainpack import packb, unpackb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.logs_lines import Run

CHUNK_BYTES = 8 << 20  # of line data held at a time; one chunk is written out while the next is filled
LINE_BYTES = 100  # what a line costs besides its data


def reverse(lines: Iterator[Line]) -> Iterator[Line]:
    """The same lines, the last first."""
    spool = _Spool()
    held: list[Line] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line.data) + LINE_BYTES
        if size >= CHUNK_BYTES:
            spool.put(held)
            held, size = [], 0
    yield from reversed(held)
    yield from spool.backwards()


class _Spool:
    """Chunks of lines in an unlinked file."""

    def __init__(self) -> None:
        self._fd = -1
        self._chunks: list[tuple[int, int]] = []  # offset and length
        self._end = 0
        self._runs: list[Run] = []

    def put(self, lines: list[Line]) -> None:
        """Write a chunk."""
        if self._fd < 0:
            directory = os.environ.get("TMPDIR") or "/var/tmp"  # not /tmp: that may be memory
            self._fd = os.open(directory, os.O_TMPFILE | os.O_RDWR, 0o600)
        rows = []
        for line in lines:
            if line.run not in self._runs[-1:]:
                self._runs.append(line.run)
            rows.append([len(self._runs) - 1, line.stream, line.offset, line.wall, line.mono, line.data, line.whole])
        data = packb(rows)
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
        self._chunks.append((self._end, len(data)))
        self._end += len(data)

    def backwards(self) -> Iterator[Line]:
        """All lines, the last first."""
        for offset, length in reversed(self._chunks):
            data = bytearray()
            while len(data) < length:
                data += os.pread(self._fd, length - len(data), offset + len(data))
            rows = unpackb(bytes(data))
            assert isinstance(rows, list)
            for run, stream, start, wall, mono, text, whole in reversed(rows):
                line = Line(self._runs[run], stream, start, wall, mono)
                line.data, line.whole = text, whole
                yield line
        if self._fd >= 0:
            os.close(self._fd)
