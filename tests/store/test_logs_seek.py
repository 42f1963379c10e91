"""The last lines of a log, and a moment in it."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobd.store import logs, logs_index
from jobd.store.logs import RunLog
from jobd.store.logs_index import INDEX, RECORD, STDERR, STDOUT, segment_path
from jobd.store.logs_seek import since, tail
from tests.store.logs_files import Chunk, joined, shown, write_log
from tests.store.test_logs import LINES

if TYPE_CHECKING:
    from pathlib import Path


def lines_of(view: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """The lines of a view; leaving a stream ends a line."""
    lines: list[tuple[int, bytes]] = []
    for stream, data in view:
        for line in data.splitlines(keepends=True):
            if lines and lines[-1][0] == stream and not lines[-1][1].endswith(b"\n"):
                lines[-1] = stream, lines[-1][1] + line
            else:
                lines.append((stream, line))
    return lines


@settings(deadline=None)
@given(chunks=LINES, count=st.integers(0, 30))
def test_the_tail_of_one_stream_is_its_last_lines(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[Chunk], count: int
) -> None:
    directory = tmp_path_factory.mktemp("log")
    streams = write_log(directory, chunks)
    with RunLog(directory) as log:
        for stream, selection in ((STDOUT, {"stderr": False}), (STDERR, {"stdout": False})):
            view = shown(log, list(log.pieces(tail(log, count, **selection, final=True), final=True)))
            assert joined(view, stream).splitlines(True) == (streams[stream].splitlines(True)[-count:] if count else [])


@settings(deadline=None)
@given(chunks=LINES, count=st.integers(0, 30), final=st.booleans())
def test_the_tail_of_both_streams_is_as_many_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[Chunk], count: int, final: bool
) -> None:
    directory = tmp_path_factory.mktemp("log")
    write_log(directory, chunks)
    with RunLog(directory) as log:
        everything = lines_of(shown(log, list(log.pieces(log.start(), final=final))))
        last = lines_of(shown(log, list(log.pieces(tail(log, count, final=final), final=final))))
        assert len(last) == min(count, len(everything))
        for stream in (STDOUT, STDERR):
            mine = [line for number, line in last if number == stream]
            assert b"".join(line for number, line in everything if number == stream).endswith(b"".join(mine))


def test_a_tail_goes_on_as_the_log_grows(tmp_path: Path) -> None:
    write_log(tmp_path, [(STDOUT, b"a\nb\nc\nd\n")])
    with RunLog(tmp_path) as log:
        cursor = tail(log, 2)
        assert shown(log, list(log.pieces(cursor))) == [(STDOUT, b"c\nd\n")]
        with open(segment_path(str(tmp_path), STDOUT, 0), "ab") as file:
            file.write(b"e\n")
        with open(tmp_path / INDEX, "ab") as index:
            index.write(RECORD.pack(2, 2, 8, 2, STDOUT))
        assert shown(log, list(log.pieces(cursor))) == [(STDOUT, b"e\n")]


def test_the_tail_of_a_large_log_reads_little_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 1 << 30  # sparse: a GiB of zeros, and a few lines
    path = segment_path(str(tmp_path), STDOUT, 0)
    ending = b"".join(b"line %d\n" % number for number in range(1000))
    with open(path, "wb") as file:
        file.truncate(size - len(ending))
        file.seek(0, 2)
        file.write(ending)
    with open(tmp_path / INDEX, "wb") as index:
        step = 256 * 1024
        for number, offset in enumerate(range(0, size, step)):
            index.write(RECORD.pack(number, number, offset, step, STDOUT))
    looked = 0
    look = RunLog.look

    def counting(log: RunLog, stream: int, offset: int, length: int) -> bytes | None:
        nonlocal looked
        data = look(log, stream, offset, length)
        looked += len(data or b"")
        return data

    monkeypatch.setattr(logs.RunLog, "look", counting)
    with RunLog(tmp_path) as log:
        assert shown(log, list(log.pieces(tail(log, 3)))) == [(STDOUT, b"line 997\nline 998\nline 999\n")]
        assert looked < 4 * 1024 * 1024
        assert log.next_piece(since(log, 4000)) is not None


def test_a_moment_begins_with_the_first_line_that_begins_then(tmp_path: Path) -> None:
    write_log(tmp_path, [(STDOUT, b"one\ntw"), (STDERR, b"warn\n"), (STDOUT, b"o\nthree\n"), (STDERR, b"late\n")])
    second = 1_000_000_000
    with RunLog(tmp_path) as log:
        views = [shown(log, list(log.pieces(since(log, at * second), final=True))) for at in range(6)]
    rest = [(STDOUT, b"three\n"), (STDERR, b"late\n")]
    assert views[0] == views[1] == [(STDOUT, b"one\ntwo\n"), (STDERR, b"warn\n"), *rest]
    assert views[2] == [(STDERR, b"warn\n"), *rest]
    assert views[3] == rest
    assert views[4] == [(STDERR, b"late\n")]
    assert views[5] == []


def test_seeking_in_an_empty_log_is_its_start(tmp_path: Path) -> None:
    with RunLog(tmp_path / "none") as log:
        assert list(log.pieces(tail(log, 5))) == []
        assert list(log.pieces(since(log, 5))) == []


def test_whoever_goes_on_from_a_place_found_opens_no_file_of_him_who_found_it(tmp_path: Path) -> None:
    write_log(tmp_path, [(STDOUT, b"a\n"), (STDERR, b"b\n")] * 20)
    for find in (partial(tail, lines=5, final=True), partial(since, wall=1), RunLog.start):
        with RunLog(tmp_path) as found_by:
            cursor = find(found_by)
        before = set(os.listdir("/proc/self/fd"))
        with RunLog(tmp_path) as log:
            assert b"".join(log.read(piece) for piece in log.pieces(cursor, final=True)).endswith(b"a\nb\n")
        assert set(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("count", [1, 22, 100, 1000, 2500])
def test_the_last_lines_are_found_over_many_steps_backwards(tmp_path: Path, count: int) -> None:
    ends = [b"\n" if n % 7 == 0 or n % 3 == 2 else b"" for n in range(6000)]
    write_log(tmp_path, [(STDOUT if n % 7 else STDERR, b"%d %s" % (n, end)) for n, end in enumerate(ends)])
    with RunLog(tmp_path) as log:
        everything = lines_of(shown(log, list(log.pieces(log.start(), final=True))))
        last = lines_of(shown(log, list(log.pieces(tail(log, count, final=True), final=True))))
        assert len(last) == count < len(everything)
        for stream in (STDOUT, STDERR):
            mine = b"".join(line for number, line in last if number == stream)
            assert b"".join(line for number, line in everything if number == stream).endswith(mine)


def test_few_lines_cost_few_records_however_many_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_log(tmp_path, [(STDOUT, b"a line\n")] * 10_000)
    looked_at: list[int] = []
    read_block = logs_index.read_block

    def counted(index: int, first: int, count: int) -> list[tuple[int, int, int, int, int]]:
        found = read_block(index, first, count)
        looked_at.append(len(found))
        return found

    monkeypatch.setattr(logs_index, "read_block", counted)
    with RunLog(tmp_path) as log:
        tail(log, 20, final=True)
    assert sum(looked_at) < 200
