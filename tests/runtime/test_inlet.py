"""One run's stdin between a client and a pipe: exact through kills at any instant, full pipes and full disks."""

from __future__ import annotations

import errno
import os
import random
import time
from typing import TYPE_CHECKING

import pytest

from jobd.runtime import inlet
from jobd.runtime.inlet import END, NAME, PUNCH_BYTES, Inlet, create

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Rig:
    """A pipe that is fed, and what a keeper would hold: both ends, and the file's description."""

    def __init__(self, directory: Path) -> None:
        self.directory = str(directory)
        self.file = create(self.directory)
        self.reader, self.writer = os.pipe2(os.O_NONBLOCK)
        self.inlet = self.next_daemon()

    def next_daemon(self) -> Inlet:
        """The daemon that follows one that was killed: it has copies of what the keeper holds, and nothing else."""
        self.inlet = Inlet(b"run", self.directory, os.dup(self.writer), os.dup(self.file), False)
        return self.inlet

    def feed(self, data: bytes) -> None:
        self.inlet.waiting.append(data)
        self.inlet.write()
        self.inlet.deliver()

    def read(self) -> bytes:
        try:
            return os.read(self.reader, 1 << 20)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        for fd in (self.file, self.reader, self.writer):
            if fd >= 0:
                os.close(fd)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path / "run")
    yield made
    if not made.inlet.closed:
        made.inlet.close()
    made.close()


def test_bytes_go_through_and_the_end_closes(rig: Rig) -> None:
    rig.feed(b"hello")
    assert (rig.inlet.received, rig.inlet.delivered, rig.inlet.closed) == (5, 5, False)
    rig.feed(b"")
    assert rig.inlet.closed
    assert rig.read() == b"hello"


def test_a_full_pipe_keeps_the_rest_in_the_file(rig: Rig) -> None:
    rig.feed(b"x" * 1_000_000)
    assert rig.inlet.full
    assert rig.inlet.received == 1_000_000
    taken = 0
    while taken < 1_000_000:
        taken += len(rig.read())
        rig.inlet.deliver()
    assert not rig.inlet.full


def test_the_end_waits_for_what_is_before_it(rig: Rig) -> None:
    rig.feed(b"x" * 1_000_000)
    rig.feed(b"")
    assert not rig.inlet.closed
    assert rig.next_daemon().ended  # it is known to the next daemon as well
    while rig.read():
        rig.inlet.deliver()
    assert rig.inlet.closed


def test_exact_over_daemons_that_are_killed_anywhere(rig: Rig) -> None:
    numbers = random.Random(7)
    data = numbers.randbytes(3_000_000)
    got = b""
    while len(got) < len(data):
        step = numbers.randrange(4)
        if step == 0:
            old = rig.inlet
            at = rig.next_daemon().received  # what the old one had in memory alone, the client sends again
            old.close()
            assert at == rig.inlet.received
        elif step == 1:
            at = rig.inlet.received
            rig.inlet.waiting.append(data[at : at + numbers.randrange(1, 200_000)] or b"x")
            if at == len(data):
                rig.inlet.waiting.clear()
            rig.inlet.write()
        elif step == 2:
            rig.inlet.deliver()
        else:
            got += rig.read()
    assert got == data


def test_a_reader_that_is_gone_closes(rig: Rig) -> None:
    os.close(rig.reader)
    rig.reader = -1
    rig.feed(b"x")
    assert rig.inlet.closed


def test_what_was_had_is_given_back(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inlet, "PUNCH_BYTES", 1 << 20)
    block = bytes(range(256)) * 1024
    total = 0
    while total < 4 << 20:
        rig.feed(block)
        total += len(block)
        while data := rig.read():
            assert data == block[: len(data)] or len(data) < len(block)
            rig.inlet.deliver()
    used = os.fstat(rig.file).st_blocks * 512
    assert os.fstat(rig.file).st_size == total
    assert used <= 2 << 20  # a file system without holes would have all of it


def test_holes_end_where_no_folio_is_cut() -> None:
    assert PUNCH_BYTES % (os.sysconf("SC_PAGE_SIZE") << 11) == 0


def test_a_full_disk_loses_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as m:
        m.setattr(os, "pwritev", full)
        rig.inlet.waiting.append(b"hello")
        with pytest.raises(OSError, match="No space"):
            rig.inlet.write()
    rig.inlet.write()
    rig.inlet.deliver()
    assert rig.read() == b"hello"


def test_small_pieces_that_wait_are_kept_as_one(rig: Rig) -> None:
    """Or a client that sends byte by byte, on a full disk, would cost fifty times what it may send ahead."""
    data = random.Random(2).randbytes(30_000)
    pieces = [data[at : at + 3] for at in range(0, 15_000, 3)] + [data[15_000:25_000], data[25_000:]]
    for piece in (*pieces, b""):
        rig.inlet.take(piece)
    assert len(rig.inlet.waiting) == 2
    rig.inlet.write()
    rig.inlet.deliver()
    assert rig.read() == data
    assert rig.inlet.closed


def test_a_short_write_goes_on_where_it_stopped(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwritev", lambda fd, pieces, at: os.pwrite(fd, b"".join(pieces)[:3], at))
    rig.feed(b"hello world")
    assert rig.read() == b"hello world"


def test_files_go_and_so_does_an_empty_directory(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    os.close(create(str(directory)))
    (directory / END).touch()
    inlet.remove(str(directory))
    assert not directory.exists()
    os.close(create(str(directory)))
    (directory / "out.0000000000000000").touch()
    inlet.remove(str(directory))
    assert [path.name for path in directory.iterdir()] == ["out.0000000000000000"]
    assert NAME == "in"
    inlet.remove(str(tmp_path / "never"))


def test_all_that_waits_is_written_in_order_and_the_end_behind_it(rig: Rig) -> None:
    source = random.Random(4)
    pieces = [source.randbytes(source.choice([5000, 9000])) for _ in range(inlet.MAX_PIECES * 2)]
    for piece in (*pieces, b""):
        rig.inlet.take(memoryview(piece) if piece else piece)
    rig.inlet.write()
    assert rig.inlet.ended
    assert os.pread(rig.file, 1 << 21, 0) == b"".join(pieces)


def test_free_space_is_asked_for_again_in_time(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = os.fstatvfs

    def ask(fd: int) -> os.statvfs_result:
        asked.append(fd)
        return real(fd)

    monkeypatch.setattr(os, "fstatvfs", ask)
    for _ in range(8):
        rig.inlet.take(bytes(inlet.ASK_BYTES // 4))
        rig.inlet.write()
    assert len(asked) == 2
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + inlet.ASK_SEC)
    rig.inlet.take(bytes(5000))
    rig.inlet.write()
    assert len(asked) == 3
