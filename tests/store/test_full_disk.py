"""No room, or a disk that fails: what may fail fails at once, everything else waits and is written."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobd.store import writer
from jobd.store.ballast import SIZE_BYTES, Ballast
from jobd.store.batch import StoreError, StoreFenced, StoreFull
from jobd.store.retention import Policy, Retention

from .helpers import DEADLINE_SEC, OWNER, Book, assert_rows_equal_replay, run_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIBC = ctypes.CDLL(None, use_errno=True)
MNT_DETACH = 2  # umount2(2)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if LIBC.mount(b"tmpfs", os.fsencode(disk), b"tmpfs", 0, b"size=16m"):
        pytest.skip(f"cannot mount a tmpfs here: {os.strerror(ctypes.get_errno())}")
    try:
        yield disk
    finally:
        LIBC.umount2(os.fsencode(disk), MNT_DETACH)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "RETRY_SEC", 0.02)


def fill_up(disk: Path) -> Path:
    """Take all the room there is."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 16, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return filler


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SEC
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_on_a_full_disk_exits_are_recorded_and_new_runs_are_refused(small_disk: Path) -> None:
    with Book(small_disk) as book:
        for n in range(20):
            last = book.accept(run_id(n), f"make-{n}")
        book.durable(last)
        filler = fill_up(small_disk)
        blobs = ((b"a" * 16, b"x" * 300_000), (b"b" * 16, b"y" * 300_000))
        refused = book.wait(book.accept(run_id(100), "new", may_fail=True, blobs=blobs))
        for n in range(101, 130):  # until the log had to grow
            if refused.error is not None:
                break
            blobs = ((n.to_bytes(16, "big"), os.urandom(300_000)), blobs[1])
            refused = book.wait(book.accept(run_id(n), "new", may_fail=True, blobs=blobs))
        assert isinstance(refused.error, StoreFull)
        assert str(refused.error).startswith(f"cannot write {small_disk}/state.db: ")
        assert book.store.trouble
        for n in range(20):
            last = book.finish(run_id(n))
        book.durable(last)  # on the ballast's room
        assert not (small_disk / "ballast").exists()
        assert isinstance(book.wait(book.accept(run_id(200), "newer", may_fail=True)).error, StoreFull)
        assert book.store.run(OWNER, run_id(19)) == last.runs[0]  # reading goes on
        filler.unlink()
        until(lambda: book.store.trouble == "")
        assert (small_disk / "ballast").stat().st_size == SIZE_BYTES
        del book.jobs[OWNER, "new"], book.jobs[OWNER, "newer"]
        book.durable(book.accept(run_id(300), "newest", may_fail=True))
        assert_rows_equal_replay(book.store)


def test_what_has_no_room_even_so_waits_until_there_is_some(small_disk: Path) -> None:
    with Book(small_disk) as book:
        book.durable(book.accept(run_id(1)))
        filler = fill_up(small_disk)
        big = tuple(
            (n.to_bytes(16, "big"), os.urandom(1 << 20)) for n in range(12)
        )  # more than the ballast and the log
        waiting = [book.accept(run_id(2), "big", blobs=big), book.finish(run_id(1))]
        until(lambda: bool(book.store.trouble))
        assert isinstance(book.wait(book.accept(run_id(3), "may fail", may_fail=True)).error, StoreFull)
        assert book.store.run(OWNER, run_id(2)) is None
        filler.unlink()
        for batch in waiting:
            book.durable(batch)
        assert book.done.index(waiting[0]) < book.done.index(waiting[1])
        del book.jobs[OWNER, "may fail"]
        assert_rows_equal_replay(book.store)


def test_retention_works_on_a_full_disk(small_disk: Path) -> None:
    with Book(small_disk) as book:
        for n in range(50):
            book.accept(run_id(n), f"make-{n}")
            last = book.finish(run_id(n))
        book.durable(last)
        fill_up(small_disk)
        assert book.store._writer is not None
        one = Retention(book.store.fetch, book.store._writer.call, small_disk, Policy(keep_for_ns=0), book.now + 1)
        while one.step():
            pass
        assert one.runs == 50
        assert book.store.runs_page().rows == []


def test_opening_on_a_full_disk(small_disk: Path) -> None:
    with Book(small_disk) as book:
        book.durable(book.accept(run_id(1)))
    (small_disk / "ballast").unlink()
    filler = fill_up(small_disk)
    os.truncate(filler, filler.stat().st_size - (1 << 20))  # room to open, and no more
    with Book(small_disk) as book:
        until(lambda: "nearly full" in book.store.trouble)
        assert isinstance(book.wait(book.accept(run_id(2), "make-2", may_fail=True)).error, StoreFull)
        filler.unlink()
        until(lambda: book.store.trouble == "")
        book.runs.clear()
        book.jobs.clear()
        book.durable(book.accept(run_id(2), "make-2", may_fail=True))


def test_closing_while_the_disk_is_full_ends(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "CLOSE_SEC", 0.05)
    book = Book(small_disk).start()
    book.durable(book.accept(run_id(1)))
    fill_up(small_disk)
    big = tuple((n.to_bytes(16, "big"), os.urandom(1 << 20)) for n in range(12))
    lost = book.accept(run_id(2), "big", blobs=big)
    book.store.close()
    assert book.store.completions() == [lost]
    assert "full" in str(lost.error)


def test_the_ballast_comes_back_only_when_that_leaves_room(small_disk: Path) -> None:
    ballast = Ballast(small_disk)
    assert not ballast.is_there()
    assert ballast.restore()
    assert ballast.release()
    assert not ballast.release()
    filler = fill_up(small_disk)
    os.truncate(filler, filler.stat().st_size - SIZE_BYTES - (1 << 20))
    assert not ballast.restore()
    assert not ballast.is_there()
    filler.unlink()
    assert ballast.restore()


def test_a_daemon_that_starts_on_a_full_disk_has_its_state_and_waits(small_disk: Path) -> None:
    book = Book(small_disk)  # stays open, as if killed: its files are left as they are
    with book:
        book.durable(book.accept(run_id(1)))
        (small_disk / "ballast").unlink()
        filler = fill_up(small_disk)
        with Book(small_disk) as again:
            assert [r.run for r in again.store.live_runs()] == [run_id(1)]
            again.runs, again.jobs = book.runs, book.jobs
            batch = again.finish(run_id(1))
            until(lambda: "full" in again.store.trouble)
            filler.unlink()
            again.durable(batch)
            assert isinstance(book.wait(book.accept(run_id(9))).error, StoreFenced)
            del book.runs[run_id(9)]
            assert again.store.run(OWNER, run_id(1)) == batch.runs[0]


def test_a_read_only_disk_is_refused_at_the_start(small_disk: Path) -> None:
    remount, read_only = 32, 1  # MS_REMOUNT, MS_RDONLY: mount(2)
    with Book(small_disk) as book:
        book.durable(book.accept(run_id(1)))
    assert LIBC.mount(b"tmpfs", os.fsencode(small_disk), b"tmpfs", remount | read_only, None) == 0
    try:
        with pytest.raises(StoreError, match=r"^cannot open .*state\.db"):
            Book(small_disk)
    finally:
        LIBC.mount(b"tmpfs", os.fsencode(small_disk), b"tmpfs", remount, None)
    with Book(small_disk) as book:
        assert book.store.run(OWNER, run_id(1)) is not None


WORK = """
import sys, time
from pathlib import Path
from jobd.store import writer
from tests.store.helpers import Book, assert_rows_equal_replay, run_id
writer.RETRY_SEC = 0.02
with Book(Path(sys.argv[1])) as book:
    book.durable(book.accept(run_id(0)))
    print("begin", flush=True)
    sys.stdin.readline()
    for n in range(1, 40):
        batch = book.wait(book.accept(run_id(n), f"make-{n}", may_fail=n % 2 == 0))
        if batch.error is not None:
            assert n % 2 == 0
            del book.runs[run_id(n)], book.jobs[1000, f"make-{n}"]
        print(n, "refused" if batch.error else "durable", flush=True)
    book.until_quiet()
    assert not book.store.notices, book.store.notices
    assert {r.run for r in book.store.live_runs()} == set(book.runs)
    assert_rows_equal_replay(book.store)
    print("end", flush=True)
"""
STRACE = shutil.which("strace")


@contextlib.contextmanager
def failing(pid: int, fault: str, state: Path, trace: Path) -> Iterator[None]:
    """While inside, that process meets the fault at its database."""
    assert STRACE is not None
    call = fault.partition(":")[0]
    tracer = subprocess.Popen(
        [STRACE, "-f", "-o", str(trace), "-e", f"trace={call}", "-e", f"inject={fault}",
         "-P", str(state / "state.db"), "-P", str(state / "state.db-wal"), "-p", str(pid)],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert tracer.stderr is not None
        if "attached" not in (said := tracer.stderr.readline()):
            pytest.skip(f"strace may not trace here: {said.strip()}")
        yield
    finally:
        tracer.terminate()
        tracer.communicate()


@pytest.mark.slow
@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
@pytest.mark.parametrize(
    "fault",
    [
        "fdatasync:error=EIO:when=5",
        "fdatasync:error=EIO:when=5..8",
        "fdatasync:error=EIO:when=4+9",
        "pwrite64:error=EIO:when=30",
        "pwrite64:error=EIO:when=30..33",
        "pwrite64:error=EDQUOT:when=40..47",
        "pwrite64:error=EROFS:when=50+40",
        "pwrite64:error=ENOSPC:when=40..45",
    ],
)
def test_a_failing_disk_loses_nothing_and_lies_about_nothing(tmp_path: Path, fault: str) -> None:
    state = tmp_path / "state"
    state.mkdir()
    child = subprocess.Popen(
        [sys.executable, "-c", WORK, str(state)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "begin\n"
        with failing(child.pid, fault, state, tmp_path / "trace"):
            out, err = child.communicate("\n", timeout=DEADLINE_SEC)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 0, err
    assert out.endswith("end\n")
    assert "(INJECTED)" in (tmp_path / "trace").read_text()
    with Book(state) as book:
        assert book.store.notices == []
        assert_rows_equal_replay(book.store)
