"""The pump with real pipes: exact bytes, notices, ends, hand-over, and what it costs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobd.store import logs_index
from jobd.store.logs import RunLog
from jobd.store.logs_index import ENDED, INDEX, RECOVERED, STDERR, STDOUT, segment_path
from tests.runtime.pump_rig import Rig, records, stream, write_all, write_and_close

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN = bytes(15) + b"\1"
OTHER = bytes(15) + b"\2"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path) as made:
        yield made


def test_both_streams_arrive_exactly_and_the_end_tells_their_sizes(rig: Rig) -> None:
    directory = rig.directory / "a" / "run"
    (out, out_w), (err, err_w) = os.pipe(), os.pipe()
    rig.pump.add(RUN, directory, out, err)
    write_all(out_w, b"to out\n")
    write_all(err_w, b"to err\0\xff")
    os.close(out_w)
    os.close(err_w)
    end = rig.until_kind(RUN, "eof")
    assert (end.out_bytes, end.err_bytes) == (7, 8)
    assert (stream(directory, STDOUT), stream(directory, STDERR)) == (b"to out\n", b"to err\0\xff")
    assert [notice.kind for notice in rig.notices] == ["eof"]
    assert (directory.stat().st_mode & 0o777, (directory / INDEX).stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_run_without_output_makes_no_files(rig: Rig) -> None:
    for fresh in (True, False):
        out, out_w = os.pipe()
        rig.pump.add(RUN, rig.directory / "run", out, None, fresh=fresh)
        os.close(out_w)
        assert rig.until_kind(RUN, "eof", 1 + (not fresh))[2:4] == (0, 0)
    assert os.listdir(rig.directory) == []


def test_a_flood_of_both_streams_is_exact_and_indexed_without_a_gap(rig: Rig) -> None:
    directory = rig.directory / "run"
    (out, out_w), (err, err_w) = os.pipe(), os.pipe()
    rig.pump.add(RUN, directory, out, err)
    data = {STDOUT: os.urandom(3_000_000), STDERR: b"line of err\n" * 200_000}
    writers = [
        threading.Thread(target=write_and_close, args=(fd, data[number]))
        for fd, number in ((out_w, STDOUT), (err_w, STDERR))
    ]
    for writer in writers:
        writer.start()
    rig.until_kind(RUN, "eof")
    for writer in writers:
        writer.join()
    for number in (STDOUT, STDERR):
        assert stream(directory, number) == data[number]
        ends = 0
        for _, _, offset, length, flags in records(directory):
            if flags == number:
                assert offset == ends
                ends += length
        assert ends == len(data[number])


def test_an_unwatched_run_wakes_nobody_and_a_watched_one_is_told_once_for_all(rig: Rig) -> None:
    out, out_w = os.pipe()
    rig.pump.add(RUN, rig.directory / "run", out, None)
    for _ in range(50):
        write_all(out_w, b"x")
        rig.settle()
    assert (rig.wakes, rig.notices) == (0, [])
    rig.pump.watch(RUN)
    rig.until_bytes(RUN, 50)
    for _ in range(50):
        write_all(out_w, b"x")
        rig.pump.release(b"nobody")  # the pump's turn, without taking the notice
    rig.until_bytes(RUN, 51)
    rig.settle()
    assert rig.notices[-1].out_bytes == 100
    assert len(rig.notices) <= 3
    rig.pump.unwatch(RUN)
    rig.settle()
    wakes = rig.wakes
    write_all(out_w, b"x")
    rig.settle()
    assert rig.wakes == wakes
    os.close(out_w)
    assert rig.until_kind(RUN, "eof").out_bytes == 101


def test_close_takes_what_is_there_although_somebody_holds_the_pipe(rig: Rig) -> None:
    directory = rig.directory / "run"
    (out, out_w), (err, err_w) = os.pipe(), os.pipe()
    kept = os.dup(out)
    rig.pump.set_room(False)  # so that it is all still in the pipes
    rig.pump.add(RUN, directory, out, err)
    write_all(out_w, b"o" * 60_000)
    write_all(err_w, b"e")
    rig.until_kind(RUN, "blocked")
    rig.pump.close(RUN)
    rig.pump.set_room(True)
    end = rig.until_kind(RUN, "eof")
    assert (end.out_bytes, end.err_bytes) == (60_000, 1)
    write_all(out_w, b"late")
    assert os.read(kept, 10) == b"late"
    for fd in (out_w, err_w, kept):
        os.close(fd)
    rig.pump.close(RUN)  # again: nothing
    rig.settle()
    assert [notice.kind for notice in rig.notices].count("eof") == 1


def test_the_end_of_one_stream_is_noted_for_readers_while_the_other_goes_on(rig: Rig) -> None:
    directory = rig.directory / "run"
    (out, out_w), (err, err_w) = os.pipe(), os.pipe()
    rig.pump.add(RUN, directory, out, err)
    rig.pump.watch(RUN)
    write_all(out_w, b"no newline")
    rig.until_bytes(RUN, 10)
    os.close(out_w)
    rig.settle()
    write_all(err_w, b"err\n")
    rig.until_bytes(RUN, 10, 4)
    with RunLog(directory) as log:
        assert [piece.stream for piece in log.pieces(log.start())] == [STDOUT, STDERR]
    assert [flags for *_, flags in records(directory)] == [STDOUT, STDOUT | ENDED, STDERR]
    os.close(err_w)
    rig.until_kind(RUN, "eof")


def test_a_log_is_continued_by_the_next_pump_and_a_torn_index_repaired(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    out, out_w = os.pipe()
    with Rig(tmp_path) as first:
        first.pump.add(RUN, directory, os.dup(out), None)
        first.pump.watch(RUN)
        write_all(out_w, b"one\n")
        first.until_bytes(RUN, 4)
    with open(segment_path(str(directory), STDOUT, 0), "ab") as file:
        file.write(b"spliced, not indexed\n")
    with open(directory / INDEX, "ab") as file:
        file.write(b"torn")
    write_all(out_w, b"two\n")
    with Rig(tmp_path) as second:
        second.pump.add(RUN, directory, out, None)
        os.close(out_w)
        assert second.until_kind(RUN, "eof").out_bytes == 29
    assert stream(directory, STDOUT) == b"one\nspliced, not indexed\ntwo\n"
    assert [record[2:] for record in records(directory)] == [
        (0, 4, STDOUT), (4, 21, STDOUT | RECOVERED), (25, 4, STDOUT),
    ]  # fmt: skip


def test_a_log_that_was_not_expected_is_continued_all_the_same(rig: Rig) -> None:
    directory = rig.directory / "run"
    directory.mkdir()
    (directory / "out.0000000000000000").write_bytes(b"before\n")
    out, out_w = os.pipe()
    rig.pump.add(RUN, directory, out, None, fresh=True)
    write_all(out_w, b"after\n")
    os.close(out_w)
    assert rig.until_kind(RUN, "eof").out_bytes == 13
    assert stream(directory, STDOUT) == b"before\nafter\n"


def test_released_pipes_are_open_and_unread(rig: Rig) -> None:
    (out, out_w), (err, err_w), (ended, ended_w), (more, more_w) = os.pipe(), os.pipe(), os.pipe(), os.pipe()
    rig.pump.add(RUN, rig.directory / "run", out, err)
    rig.pump.add(OTHER, rig.directory / "other", ended, more)
    os.close(ended_w)
    rig.settle()
    assert rig.pump.release_all() == {RUN: (out, err), OTHER: (None, more)}
    write_all(out_w, b"unread")
    rig.settle()
    assert os.read(out, 10) == b"unread"
    assert rig.pump.release(RUN) is None
    rig.pump.add(RUN, rig.directory / "run", out, err)
    assert rig.pump.release(RUN) == (out, err)
    for fd in (out, out_w, err, err_w, more, more_w):
        os.close(fd)
    assert rig.notices == []


def test_a_run_added_twice_is_refused_and_the_first_goes_on(rig: Rig) -> None:
    (out, out_w), (again, again_w) = os.pipe(), os.pipe()
    rig.pump.add(RUN, rig.directory / "run", out, None)
    rig.pump.add(RUN, rig.directory / "run", again, None)
    assert "cannot add run" in rig.until_kind(RUN, "error").text
    with pytest.raises(BrokenPipeError):
        os.write(again_w, b"x")
    write_all(out_w, b"x")
    os.close(out_w)
    os.close(again_w)
    assert rig.until_kind(RUN, "eof").out_bytes == 1


def test_more_runs_than_may_have_files_open_are_all_exact(tmp_path: Path) -> None:
    count = 20
    with Rig(tmp_path, open_runs=3) as rig:
        pipes = [os.pipe() for _ in range(count)]
        names = [number.to_bytes(16, "big") for number in range(count)]
        for name, (out, _) in zip(names, pipes, strict=True):
            rig.pump.add(name, tmp_path / name.hex(), out, None)
            rig.pump.watch(name)
        rig.settle()
        before = len(os.listdir("/proc/self/fd"))
        for turn in range(1, 4):
            for name, (_, out_w) in zip(names, pipes, strict=True):
                write_all(out_w, b"turn %d\n" % turn)
                rig.until_bytes(name, 7 * turn)
        assert len(os.listdir("/proc/self/fd")) <= before + 3 * 3
        for name, (_, out_w) in zip(names, pipes, strict=True):
            os.close(out_w)
            rig.until_kind(name, "eof")
        for name in names:
            assert stream(tmp_path / name.hex(), STDOUT) == b"turn 1\nturn 2\nturn 3\n"


def test_a_file_removed_behind_the_pump_costs_only_what_was_in_it(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    with Rig(tmp_path, open_runs=1) as rig:
        (out, out_w), (other, other_w) = os.pipe(), os.pipe()
        rig.pump.add(RUN, directory, out, None)
        rig.pump.add(OTHER, tmp_path / "other", other, None)
        for name in (RUN, OTHER):
            rig.pump.watch(name)
        write_all(out_w, b"lost\n")
        rig.until_bytes(RUN, 5)
        for done in (1, 2):  # so that the files of RUN are closed
            write_all(other_w, b"x")
            rig.until_bytes(OTHER, done)
        os.unlink(segment_path(str(directory), STDOUT, 0))
        write_all(out_w, b"kept\n")
        rig.until_bytes(RUN, 10)
        assert [name for name in sorted(os.listdir(directory)) if name != INDEX] == ["out.0000000000000005"]
        with RunLog(directory) as log:
            pieces = list(log.pieces(log.start()))
            assert [(piece.dropped, piece.length) for piece in pieces] == [(True, 5), (False, 5)]
        os.close(out_w)
        os.close(other_w)
        rig.until_kind(RUN, "eof")


MEASURE = """
import gc, os, sys, tracemalloc
from pathlib import Path
from tests.runtime.pump_rig import Rig

count, root = 500, Path(sys.argv[1])
with Rig(root) as rig:
    out, out_w = os.pipe()
    pairs = [(os.dup(out), os.dup(out)) for _ in range(count)]
    rig.settle()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number, (one, two) in enumerate(pairs):
        name = number.to_bytes(16, "big")
        rig.pump.add(name, root / "logs" / "1000" / "ff" / name.hex(), one, two)
    rig.settle()
    gc.collect()  # errors that were caught are garbage in cycles
    print((tracemalloc.get_traced_memory()[0] - before) / count)
    tracemalloc.stop()
    os.close(out_w)
    rig.until(lambda seen: sum(notice.kind == "eof" for notice in seen) == count)
"""


def test_an_idle_run_costs_little_memory(tmp_path: Path) -> None:
    """In a process of its own: what other tests have left in this one must not count."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1536


def test_a_flood_does_not_starve_the_others(rig: Rig) -> None:
    (out, out_w), (other, other_w) = os.pipe(), os.pipe()
    rig.pump.add(RUN, rig.directory / "flood", out, None)
    rig.pump.add(OTHER, rig.directory / "quiet", other, None)
    rig.pump.watch(OTHER)
    stop = threading.Event()

    def flood() -> None:
        for _ in range(2000):  # at most 128 MB
            if stop.is_set():
                break
            write_all(out_w, b"f" * 65536)
        os.close(out_w)

    writer = threading.Thread(target=flood)
    writer.start()
    for done in range(1, 21):
        write_all(other_w, b"q")
        rig.until_bytes(OTHER, done)
    assert not any(notice.run == RUN and notice.kind == "eof" for notice in rig.notices)
    stop.set()
    writer.join()
    os.close(other_w)
    rig.until_kind(OTHER, "eof")
    assert logs_index.segments(str(rig.directory / "flood"))[STDOUT]
