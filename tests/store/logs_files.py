"""Writes logs as the pump would, for tests of reading them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jobd.store.logs_index import INDEX, RECORD, STDERR, STDOUT, segment_path
from jobd.store.logs_merge import HOLD_BYTES

if TYPE_CHECKING:
    from jobd.store.logs import Piece, RunLog

Chunk = tuple[int, bytes]  # stream and what one splice brought


def write_log(directory: Path, chunks: list[Chunk], *, second: int = 1_000_000_000) -> dict[int, bytes]:
    """Writes chunks, the n-th at n seconds; returns the streams."""
    directory.mkdir(parents=True, exist_ok=True)
    streams = {STDOUT: b"", STDERR: b""}
    with open(directory / INDEX, "ab") as index:
        for number, (stream, data) in enumerate(chunks, 1):
            offset = len(streams[stream])
            streams[stream] += data
            index.write(RECORD.pack(number * second, number, offset, len(data), stream))
    for stream, data in streams.items():
        if data:
            Path(segment_path(str(directory), stream, 0)).write_bytes(data)
    return streams


def shown(log: RunLog, pieces: list[Piece]) -> list[tuple[int, bytes]]:
    """Stream and bytes of each piece."""
    return [(piece.stream, log.read(piece)) for piece in pieces]


def joined(view: list[tuple[int, bytes]], stream: int) -> bytes:
    return b"".join(data for number, data in view if number == stream)


def check_changes(view: list[tuple[int, bytes]], streams: dict[int, bytes]) -> None:
    """The view changes stream only after a newline, at the stream's end, or when much was held back."""
    before = {STDOUT: 0, STDERR: 0}
    for place, (stream, data) in enumerate(view):
        before[stream] += len(data)
        if place + 1 == len(view) or view[place + 1][0] == stream or data.endswith(b"\n"):
            continue
        held = 0
        for other, more in view[place + 1 :]:
            if other == stream:
                break
            held += len(more)
        assert before[stream] == len(streams[stream]) or held > HOLD_BYTES, (stream, data[-20:], held)
