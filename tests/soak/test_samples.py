"""What is counted of a process and of a directory is what is there: a leak that is planted is seen."""

from __future__ import annotations

import mmap
import os
import threading
from typing import TYPE_CHECKING

import pytest

from tests.soak.samples import MIB, of_process, of_state
from tests.system.program import until

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def before() -> dict[str, float]:
    return of_process(os.getpid())


def now(what: str) -> float:
    return of_process(os.getpid())[what]


def test_descriptors(before: dict[str, float]) -> None:
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(5)]
    try:
        assert now("descriptors") == before["descriptors"] + 5
    finally:
        for fd in opened:
            os.close(fd)


def test_threads(before: dict[str, float]) -> None:
    end = threading.Event()
    threads = [threading.Thread(target=end.wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        assert now("threads") == before["threads"] + 3
    finally:
        end.set()
        for thread in threads:
            thread.join()


def test_zombies(before: dict[str, float]) -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    try:
        until(lambda: now("zombies") == before["zombies"] + 1, "it has ended")
    finally:
        os.waitpid(pid, 0)
    assert now("zombies") == before["zombies"]


def test_memory(before: dict[str, float]) -> None:
    with mmap.mmap(-1, 32 * MIB) as block:  # not what an allocator may have in store
        block.write(b"x" * (32 * MIB))
        for what in ("RSS", "PSS"):
            assert now(what) > before[what] + 24


def test_files(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "1"
    folder.mkdir(parents=True)
    (folder / "out.0").write_bytes(bytes(MIB))
    for name in ("state.db", "state.db-wal"):
        (tmp_path / name).write_bytes(bytes(MIB))
    assert of_state(tmp_path) == {"files": 5, "logs": 1, "database": 2}
