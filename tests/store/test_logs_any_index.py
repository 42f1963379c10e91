"""Whatever a damaged index says, a log is read to its end, and what is given out are the bytes of the files."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from jobd.store.logs import RunLog
from jobd.store.logs_index import INDEX, RECORD, STDERR, STDOUT
from tests.store.logs_files import write_log
from tests.store.test_logs import LINES

if TYPE_CHECKING:
    import pytest

    from tests.store.logs_files import Chunk

MOST = 400  # pieces of forty lines


@settings(max_examples=60)
@given(
    chunks=LINES,
    hurts=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.integers(0, 2000),
    stdout=st.booleans(),
    split=st.booleans(),
)
def test_any_index_leads_to_the_end(
    tmp_path_factory: pytest.TempPathFactory,
    chunks: list[Chunk],
    hurts: list[tuple[int, int]],
    cut: int,
    stdout: bool,
    split: bool,
) -> None:
    directory = tmp_path_factory.mktemp("log")
    streams = write_log(directory, chunks)
    path = Path(directory) / INDEX
    index = bytearray(path.read_bytes())
    for at, value in hurts:
        if index:
            index[at % len(index)] = value
    path.write_bytes(index[: len(index) - cut % (2 * RECORD.size)])
    with RunLog(directory) as log:
        cursor = log.start(stdout=stdout, stderr=True)
        pieces = list(itertools.islice(log.pieces(cursor, final=True, split=split), MOST))
        assert len(pieces) < MOST
        for piece in pieces:
            data = log.read(piece)
            whole = streams[piece.stream]
            assert whole[piece.offset : piece.offset + len(data)] == data
        for stream in (STDOUT, STDERR):
            if stream == STDERR or stdout:
                assert sum(len(log.read(piece)) for piece in pieces if piece.stream == stream) <= len(streams[stream])
