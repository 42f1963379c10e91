"""Caps, full owners and full disks: what cannot be written stays in the pipe, or is dropped where that was asked."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from jobd.store import logs_index
from jobd.store.logs import RunLog
from jobd.store.logs_index import DROPPED, INDEX, STDERR, STDOUT
from tests.runtime.pump_rig import Rig, records, stream, write_all, write_and_close

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUN = bytes(15) + b"\1"
OTHER = bytes(15) + b"\2"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is tried again soon, not each second."""
    monkeypatch.setattr("jobd.runtime.pump_thread._RETRY_NS", 50_000_000)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path) as made:
        yield made


def test_a_full_log_blocks_the_job_at_the_byte_and_goes_on_when_the_cap_is_raised(rig: Rig) -> None:
    directory = rig.directory / "run"
    (out, out_w), (err, err_w) = os.pipe(), os.pipe()
    rig.pump.add(RUN, directory, out, err, max_size=1000)
    write_all(err_w, b"e" * 100)
    write_all(out_w, b"o" * 5000)
    assert "max_size of 1000 bytes" in rig.until_kind(RUN, "blocked").text
    rig.settle()
    assert len(stream(directory, STDOUT)) + len(stream(directory, STDERR)) == 1000
    rig.pump.set_cap(RUN, 2000)
    rig.until_kind(RUN, "unblocked")
    rig.until_kind(RUN, "blocked", 2)
    rig.pump.set_cap(RUN, None)
    os.close(out_w)
    os.close(err_w)
    assert rig.until_kind(RUN, "eof")[2:4] == (5000, 100)
    assert stream(directory, STDOUT) == b"o" * 5000


def test_closing_a_full_log_takes_what_is_in_the_pipe_beyond_the_cap(rig: Rig) -> None:
    out, out_w = os.pipe()
    rig.pump.add(RUN, rig.directory / "run", out, None, max_size=10)
    write_all(out_w, b"o" * 5000)
    rig.until_kind(RUN, "blocked")
    rig.pump.close(RUN)
    assert rig.until_kind(RUN, "eof").out_bytes == 5000
    os.close(out_w)


def numbered(count: int) -> bytes:
    return b"".join(b"%09d\n" % number for number in range(count))


@pytest.mark.parametrize("restart", [False, True])
def test_dropping_keeps_the_newest_bytes_of_both_streams_and_says_how_many_are_gone(
    tmp_path: Path, restart: bool
) -> None:
    directory, cap = tmp_path / "run", 200_000
    data = {STDOUT: numbered(100_000), STDERR: numbered(30_000)}
    (out, out_w), (err, err_w) = os.pipe(), os.pipe()
    for part in range(2):
        with Rig(tmp_path) as rig:
            rig.pump.add(RUN, directory, os.dup(out), os.dup(err), max_size=cap, on_full="drop")
            rig.pump.watch(RUN)
            for turn in range(100):
                at = part * 100 + turn
                for number, fd in ((STDOUT, out_w), (STDERR, err_w)):
                    size = len(data[number]) // 200
                    write_all(fd, data[number][at * size : (at + 1) * size])
            if restart or part:
                sizes = [len(data[number]) // 2 * (part + 1) for number in (STDOUT, STDERR)]
                rig.until_bytes(RUN, sizes[0], sizes[1])
            elif not part:
                rig.settle()
    for fd in (out, out_w, err, err_w):
        os.close(fd)
    check_dropped(directory, cap, data)


def check_dropped(directory: Path, cap: int, data: dict[int, bytes]) -> None:
    kept = 0
    with RunLog(directory) as log:
        sizes = dict(zip((STDOUT, STDERR), log.sizes(), strict=True))
        starts = dict(zip((STDOUT, STDERR), log.starts(), strict=True))
        pieces = list(log.pieces(log.start(), final=True))
        for number in (STDOUT, STDERR):
            assert sizes[number] == len(data[number])
            shown = b"".join(log.read(piece) for piece in pieces if piece.stream == number)
            assert shown == data[number][starts[number] :]
            dropped = [piece for piece in pieces if piece.stream == number and piece.dropped]
            assert [(piece.offset, piece.length) for piece in dropped] == [(starts[number], starts[number])]
            kept += len(shown)
    assert cap // 2 < kept <= cap
    markers = [record for record in records(directory) if record[4] & DROPPED]
    assert sum(length for _, _, _, length, _ in markers) == sum(starts.values())


def test_a_stream_that_lost_all_its_bytes_goes_on_at_its_offset(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    (out, out_w), (err, err_w) = os.pipe(), os.pipe()
    with Rig(tmp_path) as first:
        first.pump.add(RUN, directory, os.dup(out), os.dup(err), max_size=32 * 1024, on_full="drop")
        first.pump.watch(RUN)
        write_all(err_w, b"gone\n")
        first.until_bytes(RUN, 0, 5)
        for number in range(1, 26):
            write_all(out_w, b"o" * 4096)
            first.until_bytes(RUN, number * 4096, 5)
    write_all(err_w, b"new\n")
    with Rig(tmp_path) as second:
        second.pump.add(RUN, directory, out, err, max_size=32 * 1024, on_full="drop")
        os.close(out_w)
        os.close(err_w)
        assert second.until_kind(RUN, "eof")[2:4] == (25 * 4096, 9)
    with RunLog(directory) as log:
        pieces = list(log.pieces(log.start(stdout=False), final=True))
        assert [(piece.dropped, piece.offset, piece.length) for piece in pieces] == [(True, 5, 5), (False, 5, 4)]


def test_an_index_gives_back_the_space_of_dropped_bytes(rig: Rig) -> None:
    directory = rig.directory / "run"
    out, out_w = os.pipe()
    rig.pump.add(RUN, directory, out, None, max_size=32 * 1024, on_full="drop")
    rig.pump.watch(RUN)
    for number in range(1, 3001):
        write_all(out_w, b"%049d\n" % number)
        if number % 10 == 0:
            rig.until_bytes(RUN, number * 50)
    os.close(out_w)
    rig.until_kind(RUN, "eof")
    status = (directory / INDEX).stat()
    assert status.st_size // 32 == len(records(directory))
    if records(directory)[0][4] != 0:
        pytest.skip("this file system cannot punch holes")
    assert status.st_blocks * 512 < status.st_size
    with RunLog(directory) as log:
        shown = b"".join(log.read(piece) for piece in log.pieces(log.start()))
    assert shown == b"".join(b"%049d\n" % number for number in range(1, 3001))[-len(shown) :]


def test_a_cap_turned_to_drop_later_drops(rig: Rig) -> None:
    directory = rig.directory / "run"
    out, out_w = os.pipe()
    rig.pump.add(RUN, directory, out, None, max_size=10_000)
    write_all(out_w, b"a" * 20_000)
    rig.until_kind(RUN, "blocked")
    rig.pump.set_cap(RUN, 10_000, "drop")
    rig.until_kind(RUN, "unblocked")
    os.close(out_w)
    assert rig.until_kind(RUN, "eof").out_bytes == 20_000
    assert sum(segment.size for segment in logs_index.segments(str(directory))[STDOUT]) <= 10_000


def test_a_full_owner_stops_his_runs_and_nobody_elses(rig: Rig) -> None:
    (out, out_w), (other, other_w) = os.pipe(), os.pipe()
    rig.pump.set_owner_room(1000, 0)
    rig.pump.add(RUN, rig.directory / "run", out, None, owner=1000)
    rig.pump.add(OTHER, rig.directory / "other", other, None, owner=1001)
    for fd in (out_w, other_w):
        write_all(fd, b"x")
    os.close(other_w)
    rig.until_kind(OTHER, "eof")
    assert "uid 1000" in rig.until_kind(RUN, "blocked").text
    assert not (rig.directory / "run").exists()
    rig.pump.set_owner_room(1000, None)
    rig.until_kind(RUN, "unblocked")
    os.close(out_w)
    assert rig.until_kind(RUN, "eof").out_bytes == 1


def test_what_an_owner_may_write_is_counted_over_his_runs(rig: Rig) -> None:
    (out, out_w), (other, other_w) = os.pipe(), os.pipe()
    rig.pump.set_owner_room(1000, 1000)
    rig.pump.add(RUN, rig.directory / "run", out, None, owner=1000)
    rig.pump.add(OTHER, rig.directory / "other", other, None, owner=1000)
    write_all(out_w, b"x" * 600)
    os.close(out_w)
    assert rig.until_kind(RUN, "eof").out_bytes == 600
    write_all(other_w, b"x" * 600)
    os.close(other_w)
    assert rig.until_kind(OTHER, "blocked").out_bytes == 400
    rig.pump.set_owner_room(1000, 600)  # counted anew: what is closed is the store's to count
    assert rig.until_kind(OTHER, "eof").out_bytes == 600


def test_a_run_that_may_lose_its_oldest_goes_on_when_its_owner_is_full(rig: Rig) -> None:
    out, out_w = os.pipe()
    rig.pump.set_owner_room(1000, 10_000)
    rig.pump.add(RUN, rig.directory / "run", out, None, owner=1000, max_size=1_000_000, on_full="drop")
    for _ in range(10):
        write_all(out_w, b"x" * 5000)
    os.close(out_w)
    assert rig.until_kind(RUN, "eof").out_bytes == 50_000
    kept = sum(segment.size for segment in logs_index.segments(str(rig.directory / "run"))[STDOUT])
    assert 0 < kept <= 10_000


def test_a_blocked_run_that_is_empty_still_ends(rig: Rig) -> None:
    out, out_w = os.pipe()
    rig.pump.set_room(False)
    rig.pump.add(RUN, rig.directory / "run", out, None)
    os.close(out_w)
    assert rig.until_kind(RUN, "eof").out_bytes == 0


@pytest.mark.slow
def test_a_directory_that_cannot_be_made_is_tried_again_and_nothing_is_lost(rig: Rig) -> None:
    obstacle = rig.directory / "logs"
    obstacle.write_bytes(b"")
    out, out_w = os.pipe()
    rig.pump.add(RUN, obstacle / "run", out, None)
    write_all(out_w, b"kept\n")
    assert "Not a directory" in rig.until_kind(RUN, "blocked").text
    obstacle.unlink()
    rig.until_kind(RUN, "unblocked")
    os.close(out_w)
    assert rig.until_kind(RUN, "eof").out_bytes == 5
    assert stream(obstacle / "run", STDOUT) == b"kept\n"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a tmpfs")
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "jobd-test", place], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount a tmpfs: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.slow
def test_a_full_disk_blocks_with_a_reserve_left_and_nothing_is_lost(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"b" * 3_000_000)
    data = {STDOUT: os.urandom(1_500_000), STDERR: os.urandom(800_000)}
    (out, out_w), (err, err_w) = os.pipe(), os.pipe()
    writers = [
        threading.Thread(target=write_and_close, args=(fd, data[number]))
        for fd, number in ((out_w, STDOUT), (err_w, STDERR))
    ]
    with Rig(small_disk) as rig:
        rig.pump.add(RUN, small_disk / "run", out, err)
        for writer in writers:
            writer.start()
        rig.until_kind(RUN, "blocked")
        status = os.statvfs(small_disk)
        assert status.f_bavail * status.f_frsize < 100_000
        ballast.unlink()
        rig.until_kind(RUN, "unblocked")
        assert rig.until_kind(RUN, "eof")[2:4] == (1_500_000, 800_000)
        for writer in writers:
            writer.join()
        assert [stream(small_disk / "run", number) for number in (STDOUT, STDERR)] == list(data.values())


@pytest.mark.slow
def test_a_run_closed_on_a_full_disk_ends_when_there_is_room(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    with contextlib.suppress(OSError), open(ballast, "wb", buffering=0) as file:
        for _ in range(5000):
            file.write(b"b" * 1024)
    out, out_w = os.pipe()
    with Rig(small_disk) as rig:
        rig.pump.add(RUN, small_disk / "run", out, None)
        write_all(out_w, b"kept\n" * 1000)
        rig.until_kind(RUN, "blocked")
        rig.pump.close(RUN)
        rig.settle()
        assert not any(notice.kind == "eof" for notice in rig.notices)
        ballast.unlink()
        assert rig.until_kind(RUN, "eof").out_bytes == 5000
        assert stream(small_disk / "run", STDOUT) == b"kept\n" * 1000
    os.close(out_w)
