"""Reading logs: the combined view, cursors, and everything that can be missing."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from jobd.store import logs_index
from jobd.store.logs import PIECE_MAX, RunLog, run_dir
from jobd.store.logs_index import DROPPED, ENDED, INDEX, RECORD, RECOVERED, STDERR, STDOUT, segment_path
from jobd.store.logs_merge import HOLD_BYTES, Extent, Merge
from tests.store.logs_files import Chunk, check_changes, joined, shown, write_log

if TYPE_CHECKING:
    import pytest

DATA = st.sampled_from([b"\n", b"a", b"bc\n", b"d\ne", b"\n\nf", b"gh\ni\n"])
LINES = st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), DATA), max_size=40)


class Memory:
    """Two streams in memory, for the merge alone."""

    def __init__(self, chunks: list[Chunk]) -> None:
        self.streams = {STDOUT: b"", STDERR: b""}
        self.extents = []
        for number, (stream, data) in enumerate(chunks):
            start = len(self.streams[stream])
            self.streams[stream] += data
            self.extents.append(Extent(stream, start, start + len(data), number, number))

    def newline_before(self, stream: int, offset: int) -> bool:
        return offset == 0 or self.streams[stream][offset - 1 : offset] == b"\n"

    def line_end(self, stream: int, start: int, end: int) -> int | None:
        found = self.streams[stream].find(b"\n", start, end)
        return None if found < 0 else found + 1

    def view(self) -> list[tuple[int, bytes]]:
        merge = Merge(self)
        extents = [extent for given_ in self.extents for extent in merge.feed(given_)] + merge.release()
        return [(extent.stream, self.streams[extent.stream][extent.start : extent.end]) for extent in extents]


@given(LINES)
def test_the_merge_keeps_each_stream_exact_and_changes_only_after_a_newline(chunks: list[Chunk]) -> None:
    memory = Memory(chunks)
    view = memory.view()
    for stream in (STDOUT, STDERR):
        assert joined(view, stream) == memory.streams[stream]
    check_changes(view, memory.streams)


@given(LINES.filter(bool), st.integers(1, 6))
def test_the_merge_breaks_a_line_only_when_more_than_the_limit_is_held(chunks: list[Chunk], factor: int) -> None:
    memory = Memory([(stream, data * (HOLD_BYTES // 12 * factor)) for stream, data in chunks[:12]])
    view = memory.view()
    for stream in (STDOUT, STDERR):
        assert joined(view, stream) == memory.streams[stream]
    check_changes(view, memory.streams)


def test_held_bytes_come_after_the_newline_they_waited_for() -> None:
    memory = Memory([(STDOUT, b"one "), (STDERR, b"oops\n"), (STDOUT, b"line\ntwo\n")])
    assert memory.view() == [(STDOUT, b"one "), (STDOUT, b"line\n"), (STDERR, b"oops\n"), (STDOUT, b"two\n")]


def test_an_ended_stream_holds_nothing_back() -> None:
    memory = Memory([(STDOUT, b"no newline"), (STDERR, b"held\n"), (STDOUT, b"x")])
    merge = Merge(memory)
    assert merge.feed(memory.extents[0])
    assert not merge.feed(memory.extents[1])
    assert merge.held == 5
    assert merge.ended(STDERR) == []
    assert merge.ended(STDOUT) == [memory.extents[1]]
    early = Merge(memory)
    assert early.feed(memory.extents[0])
    assert early.ended(STDOUT) == []
    assert early.feed(memory.extents[1]) == [memory.extents[1]]


# --- files ----------------------------------------------------------------------------------------------------------
def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    with RunLog(tmp_path / "none") as log:
        assert log.sizes() == (0, 0)
        assert log.starts() == (0, 0)
        assert list(log.pieces(log.start(), final=True)) == []


def test_the_directory_of_a_run_is_found_by_owner_and_end_of_the_id() -> None:
    run = uuid.UUID("019abcde-0000-7000-8000-0000000000fe").bytes
    assert run_dir(Path("/s"), 1000, run) == Path("/s/logs/1000/fe/019abcde0000700080000000000000fe")


@settings(deadline=None)
@given(chunks=LINES, split=st.booleans(), most=st.integers(1, 9))
def test_pieces_of_files_are_exactly_the_streams(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[Chunk], split: bool, most: int
) -> None:
    directory = tmp_path_factory.mktemp("log")
    streams = write_log(directory, chunks)
    with RunLog(directory) as log:
        view = shown(log, list(log.pieces(log.start(), split=split, max_piece=most, final=True)))
        assert [joined(view, STDOUT), joined(view, STDERR)] == [streams[STDOUT], streams[STDERR]]
        assert all(len(data) <= most for _, data in view)
        check_changes(view, streams)
        for stream, selection in ((STDOUT, {"stderr": False}), (STDERR, {"stdout": False})):
            alone = shown(log, list(log.pieces(log.start(**selection), final=True)))
            assert alone == ([(stream, streams[stream])] if streams[stream] else [])


@settings(deadline=None)
@given(chunks=LINES, stops=st.lists(st.integers(0, 40), max_size=5))
def test_a_cursor_follows_a_growing_log_and_sees_what_a_late_reader_sees(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[Chunk], stops: list[int]
) -> None:
    directory = tmp_path_factory.mktemp("log")
    view = []
    with RunLog(directory) as log, RunLog(directory) as other:
        cursor = log.start()
        for stop in [*sorted(stops), len(chunks)]:
            if directory.exists():
                for path in directory.iterdir():
                    path.unlink()
            log.close()
            streams = write_log(directory, chunks[:stop])
            view += shown(log, list(log.pieces(cursor)))
        view += shown(log, list(log.pieces(cursor, final=True)))
        late = shown(other, list(other.pieces(other.start(), final=True)))
    order = [number for number, data in view for _ in data]
    assert order == [number for number, data in late for _ in data]
    assert [joined(view, STDOUT), joined(view, STDERR)] == [streams[STDOUT], streams[STDERR]]


@settings(deadline=None)
@given(chunks=LINES, have=st.integers(0, 40))
def test_a_reader_that_comes_back_goes_on_where_it_was(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[Chunk], have: int
) -> None:
    directory = tmp_path_factory.mktemp("log")
    write_log(directory, chunks)
    with RunLog(directory) as log:
        pieces = list(log.pieces(log.start(), split=True, final=True))
        had = pieces[:have]
        out, err = (sum(piece.length for piece in had if piece.stream == stream) for stream in (STDOUT, STDERR))
        rest = shown(log, list(log.pieces(log.start(out, err), split=True, final=True)))
        expected = shown(log, pieces[have:])
        for stream in (STDOUT, STDERR):
            assert joined(rest, stream) == joined(expected, stream)


def test_split_pieces_have_their_own_times_and_joined_ones_the_first(tmp_path: Path) -> None:
    write_log(tmp_path, [(STDOUT, b"a\n"), (STDOUT, b"b\n"), (STDERR, b"c\n")])
    with RunLog(tmp_path) as log:
        split = list(log.pieces(log.start(), split=True))
        assert [(piece.wall // 10**9, piece.mono) for piece in split] == [(1, 1), (2, 2), (3, 3)]
        together = list(log.pieces(log.start()))
        assert [(piece.mono, piece.length) for piece in together] == [(1, 4), (3, 2)]


def test_pieces_can_be_sent_from_the_file_they_name(tmp_path: Path) -> None:
    streams = write_log(tmp_path, [(STDOUT, b"x" * (PIECE_MAX + 10)), (STDERR, b"e\n")])
    with RunLog(tmp_path) as log:
        sent = {STDOUT: b"", STDERR: b""}
        for piece in log.pieces(log.start(), final=True):
            assert piece.length <= PIECE_MAX
            in_file = Path(piece.path).read_bytes()[piece.at :][: piece.length]
            assert os.pread(log.fileno(piece), piece.length, piece.at) == in_file
            sent[piece.stream] += log.read(piece)
        assert sent == streams


def test_an_ended_record_lets_the_other_stream_through_while_the_run_lives(tmp_path: Path) -> None:
    write_log(tmp_path, [(STDOUT, b"prompt"), (STDERR, b"held\n")])
    with RunLog(tmp_path) as log:
        cursor = log.start()
        assert shown(log, list(log.pieces(cursor))) == [(STDOUT, b"prompt")]
        with open(tmp_path / INDEX, "ab") as index:
            index.write(RECORD.pack(9, 9, 6, 0, STDOUT | ENDED))
        assert shown(log, list(log.pieces(cursor))) == [(STDERR, b"held\n")]


# --- what can be missing --------------------------------------------------------------------------------------------
def test_bytes_without_a_record_show_only_at_the_end(tmp_path: Path) -> None:
    write_log(tmp_path, [(STDOUT, b"a\n")])
    with open(segment_path(str(tmp_path), STDOUT, 0), "ab") as file:
        file.write(b"late\n")
    Path(segment_path(str(tmp_path), STDERR, 0)).write_bytes(b"never indexed\n")
    with RunLog(tmp_path) as log:
        cursor = log.start()
        assert shown(log, list(log.pieces(cursor))) == [(STDOUT, b"a\n")]
        assert shown(log, list(log.pieces(cursor, final=True))) == [(STDOUT, b"late\n"), (STDERR, b"never indexed\n")]


def test_a_torn_record_is_not_seen_and_a_garbled_one_costs_no_byte(tmp_path: Path) -> None:
    write_log(tmp_path, [(STDOUT, b"a\n"), (STDOUT, b"b\n"), (STDOUT, b"c\n")])
    index = tmp_path / INDEX
    data = index.read_bytes()
    index.write_bytes(data[:32] + b"\0" * 32 + data[64:] + data[:20])
    with RunLog(tmp_path) as log:
        assert log.count() == 3
        assert shown(log, list(log.pieces(log.start(), split=True))) == [(STDOUT, b"a\n"), (STDOUT, b"b\nc\n")]


def test_a_record_that_promises_more_than_there_is_gives_a_gap_and_not_an_error(tmp_path: Path) -> None:
    write_log(tmp_path, [(STDOUT, b"a\n")])
    with open(tmp_path / INDEX, "ab") as index:
        index.write(RECORD.pack(2, 2, 2, 10, STDOUT))
    recovered = logs_index.recover(str(tmp_path))
    assert recovered.out_end == recovered.out_start == 12
    Path(segment_path(str(tmp_path), STDOUT, 12)).write_bytes(b"after\n")
    with RunLog(tmp_path) as log:
        pieces = list(log.pieces(log.start(), split=True, final=True))
        assert [(piece.dropped, piece.offset, piece.length) for piece in pieces] == [
            (False, 0, 2), (True, 12, 10), (False, 12, 6),
        ]  # fmt: skip


def test_a_dropped_head_is_one_piece_with_its_length(tmp_path: Path) -> None:
    directory = str(tmp_path)
    Path(segment_path(directory, STDOUT, 100)).write_bytes(b"kept\n")
    (tmp_path / INDEX).write_bytes(
        b"\0" * 64 + RECORD.pack(5, 5, 60, 40, STDOUT) + RECORD.pack(6, 6, 100, 5, STDOUT)
        + RECORD.pack(7, 7, 100, 100, STDOUT | DROPPED)
    )  # fmt: skip
    with RunLog(tmp_path) as log:
        assert (log.sizes(), log.starts()) == ((105, 0), (100, 0))
        pieces = list(log.pieces(log.start()))
        assert [(piece.dropped, piece.offset, piece.length) for piece in pieces] == [(True, 100, 100), (False, 100, 5)]
        assert log.read(pieces[0]) == b""
        assert log.fileno(pieces[0]) == -1


def test_a_segment_dropped_under_an_open_reader_can_still_be_read(tmp_path: Path) -> None:
    directory = str(tmp_path)
    write_log(tmp_path, [(STDOUT, b"old\n"), (STDOUT, b"new\n")])
    Path(segment_path(directory, STDOUT, 0)).write_bytes(b"old\n")
    Path(segment_path(directory, STDOUT, 4)).write_bytes(b"new\n")
    with RunLog(tmp_path) as log, RunLog(tmp_path) as late:
        cursor = log.start()
        first = log.next_piece(cursor)
        assert first is not None
        Path(segment_path(directory, STDOUT, 0)).unlink()
        assert log.read(first) == b"old\n"
        assert shown(log, list(log.pieces(cursor))) == [(STDOUT, b"new\n")]
        assert late.read(first) == b""
        assert [piece.dropped for piece in late.pieces(late.start())] == [True, False]


def test_strange_files_in_the_directory_are_ignored(tmp_path: Path) -> None:
    write_log(tmp_path, [(STDERR, b"e\n")])
    for name in ("out.zzzzzzzzzzzzzzzz", "out.0", "notes", "err.0000000000000000.gz"):
        (tmp_path / name).write_bytes(b"strange")
    with RunLog(tmp_path) as log:
        assert log.sizes() == (0, 2)


# --- recovery -------------------------------------------------------------------------------------------------------
def test_recovery_cuts_a_torn_record_and_marks_what_it_finds(tmp_path: Path) -> None:
    write_log(tmp_path, [(STDOUT, b"a\n"), (STDERR, b"e\n")])
    with open(tmp_path / INDEX, "ab") as index:
        index.write(b"torn")
    with open(segment_path(str(tmp_path), STDOUT, 0), "ab") as file:
        file.write(b"more\n")
    assert logs_index.recover(str(tmp_path)) == (0, 7, 0, 2, 3, 9)
    assert logs_index.recover(str(tmp_path)) == (0, 7, 0, 2, 3, 9)
    _, _, offset, length, flags = list(RECORD.iter_unpack((tmp_path / INDEX).read_bytes()))[-1]
    assert (offset, length, flags) == (2, 5, STDOUT | RECOVERED)


def test_recovery_of_nothing_makes_nothing(tmp_path: Path) -> None:
    assert logs_index.recover(str(tmp_path / "none")) == logs_index.NOTHING
    assert not (tmp_path / "none").exists()


# --- searches in the index ------------------------------------------------------------------------------------------
@settings(deadline=None)
@given(chunks=LINES, offset=st.integers(0, 60), stream=st.sampled_from([STDOUT, STDERR]), hole=st.integers(0, 3))
def test_the_record_of_an_offset_is_found_as_a_plain_search_finds_it(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[Chunk], offset: int, stream: int, hole: int
) -> None:
    directory = tmp_path_factory.mktemp("log")
    write_log(directory, chunks)
    records = list(RECORD.iter_unpack((directory / INDEX).read_bytes()))
    hole = min(hole, len(records))
    with open(directory / INDEX, "r+b") as file:
        file.write(b"\0" * (32 * hole))
    index = logs_index.open_index(str(directory))
    try:
        expected = [
            number
            for number, (_, _, start, length, flags) in enumerate(records)
            if number >= hole and flags == stream and start + length > offset
        ]
        assert logs_index.find_offset(index, len(records), stream, offset) == (expected or [len(records)])[0]
        assert logs_index.first_record(index, len(records)) == (hole if hole < len(records) else 0)
        assert logs_index.find_wall(index, len(records), (offset + 1) * 10**9) == min(max(offset, hole), len(records))
    finally:
        os.close(index)
