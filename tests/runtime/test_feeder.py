"""The feeder's two queues: what the loop hears of a run, and when."""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from typing import TYPE_CHECKING

import pytest

from jobd.runtime.feeder import Feeder
from jobd.runtime.feeder_thread import Fed, FeederThread, fed
from jobd.runtime.inlet import Inlet, create

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RUN = b"r" * 16


def test_a_daemon_that_leaves_does_not_end_what_is_fed(tmp_path: Path) -> None:
    feeder = Feeder(lambda: None)
    reader, writer = os.pipe2(os.O_NONBLOCK)
    file = create(str(tmp_path / "run"))
    held = {"stdin": os.dup(writer), "input": os.dup(file)}
    assert feeder.add(RUN, str(tmp_path / "run"), held) is not None
    feeder.feed(RUN, b"hello")
    feeder.stop()
    # The loop takes news that it had not taken before; `closed` among them would have the keeper end the run's stdin.
    assert [(told.received, told.closed) for told in feeder.take()] == [(5, False)]
    assert os.read(reader, 100) == b"hello"
    for fd in (reader, writer, file):
        os.close(fd)


def test_on_a_full_disk_the_run_has_what_is_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nearly_full(fd: int, pieces: list[bytes], at: int) -> int:
        if at >= 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.pwrite(fd, b"".join(pieces)[:5], at)

    news: list[Fed] = []
    worker = FeederThread(deque(), lambda item: news.append(fed(item) if isinstance(item, Inlet) else item))
    reader, writer = os.pipe2(os.O_NONBLOCK)
    worker.add_inlet(Inlet(RUN, str(tmp_path / "run"), writer, create(str(tmp_path / "run")), False))
    with monkeypatch.context() as m:
        m.setattr(os, "pwritev", nearly_full)
        worker.feed(RUN, b"hello world")
        worker.serve_fed()
    assert os.read(reader, 100) == b"hello"
    assert (news[-1].received, news[-1].delivered) == (5, 5)
    assert "No space" in news[-1].text
    worker.stop()
    worker.close()
    os.close(reader)


def test_what_cannot_be_fed_leaves_no_descriptor_open(tmp_path: Path) -> None:
    feeder = Feeder(lambda: None)
    master, slave = os.openpty()
    reader, writer = os.pipe()  # a pipe has no position
    held = {"pty": os.dup(master), "input": reader}
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="Illegal seek"):
        feeder.add(RUN, str(tmp_path / "run"), dict(held))
    assert len(os.listdir("/proc/self/fd")) <= before - len(held)
    for fd in (master, slave, writer):
        os.close(fd)


def test_the_last_command_may_find_a_thread_that_has_ended() -> None:
    """It takes a command as soon as it is there, and so may have ended before it is poked for it."""
    before = set(os.listdir("/proc/self/fd"))
    feeder = Feeder(lambda: None)
    feeder._command(feeder._worker.stop)
    assert feeder._thread is not None
    feeder._thread.join(30)
    feeder.stop()
    assert set(os.listdir("/proc/self/fd")) <= before


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_has_died_is_told_of_and_waited_for_by_nobody(tmp_path: Path) -> None:
    woken = threading.Event()
    feeder = Feeder(woken.set)
    held = {"stdin": os.open(tmp_path, os.O_RDONLY), "input": create(str(tmp_path / "run"))}  # epoll takes no directory
    feeder.add(RUN, str(tmp_path / "run"), held)
    assert woken.wait(30)
    (told,) = feeder.take()
    assert (told.run, told.kind) == (b"", "died")
    assert "PermissionError" in told.text
    assert feeder.release_all() == {}
    feeder.stop()
    for fd in held.values():
        os.close(fd)


def test_in_a_flood_the_loop_is_told_of_large_steps_and_of_the_last(tmp_path: Path) -> None:
    piece, count = 128 << 10, 20
    total = piece * count
    commands: deque[tuple[Callable[..., None], tuple[object, ...]]] = deque()
    news: list[int] = []

    def tell(item: Fed | Inlet) -> None:
        if isinstance(item, Inlet):
            news.append(item.received)
            if item.received == total:
                commands.append((worker.stop, ()))
                worker.poke()

    worker = FeederThread(commands, tell)
    reader, writer = os.pipe2(os.O_NONBLOCK)
    worker.add_inlet(Inlet(RUN, str(tmp_path / "run"), writer, create(str(tmp_path / "run")), False))
    for _ in range(count):
        worker.feed(RUN, bytes(piece))
        worker.serve_fed()
    assert 0 < len(news) < count / 2
    worker.run()  # a moment later the rest is told
    assert news[-1] == total
    worker.close()
    os.close(reader)


def test_small_pieces_are_put_together_while_the_thread_does_not_come_to_them(tmp_path: Path) -> None:
    feeder = Feeder(lambda: None)
    feeder._thread = threading.current_thread()  # as one that hangs in the disk
    others = [bytes([n]) * 16 for n in range(2)]
    reader, writer = os.pipe2(os.O_NONBLOCK)
    file = create(str(tmp_path / "run"))
    assert feeder.add(RUN, str(tmp_path / "run"), {"stdin": writer, "input": os.dup(file)}) is not None
    for n in range(20_000):
        feeder.feed(RUN, b"%05d" % n)
        feeder.feed(others[n % 2], b"x")
    feeder.feed(RUN, b"y" * 5000)
    feeder.feed(RUN, b"z")
    feeder.feed(RUN, b"")
    feeder._command(feeder._worker.stop)
    assert len(feeder._commands) < 20
    feeder._worker.run()
    feeder._worker.close()
    expected = b"".join(b"%05d" % n for n in range(20_000)) + b"y" * 5000 + b"z"
    assert os.pread(file, 1 << 20, 0) == expected
    for fd in (reader, file):
        os.close(fd)
