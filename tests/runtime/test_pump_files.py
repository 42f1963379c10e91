"""The files of one run, where opening one of them fails."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from jobd.runtime.pump_files import Run
from jobd.store import logs_index
from jobd.store.logs import RunLog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe2(os.O_NONBLOCK)
    yield ends
    for fd in ends:
        os.close(fd)


def open_below(directory: Path) -> int:
    """How many descriptors of this process are files in a directory."""
    links = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd"))
    return sum(os.readlink(link).startswith(str(directory)) for link in links if os.path.lexists(link))


@pytest.mark.parametrize("what", ["index", "look"])
def test_what_could_not_be_opened_is_opened_with_the_next_bytes_and_nothing_twice(
    what: str, tmp_path: Path, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(bytes(16), str(tmp_path / "log"), pipe[0], None, 0)
    os.write(pipe[1], b"bytes\n")

    def fail(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(*(logs_index, "open_index", fail) if what == "index" else (os, "fstat", fail))
        for _ in range(3):
            with pytest.raises(OSError, match="Too many open files"):
                run.move(run.out, 100)
    assert run.move(run.out, 100) == 6
    assert open_below(tmp_path) == 2, "the stream and the index"
    run.close_files()
    assert open_below(tmp_path) == 0
    with RunLog(run.directory) as log:
        assert [log.read(piece) for piece in log.pieces(log.start())] == [b"bytes\n"]
