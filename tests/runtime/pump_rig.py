"""A pump in a test: pipes, waiting for notices with a deadline, and the streams as the log has them."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from jobd.runtime.pump import Notice, Pump
from jobd.store import logs_index

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobd.runtime.pump_relay import Relay

DEADLINE_SEC = 20


class Rig:
    """A started pump and what it said so far. Use as a context."""

    def __init__(self, directory: Path, *, open_runs: int | None = None, relay: Relay | None = None) -> None:
        self.directory = directory
        self.wakes = 0
        self.notices: list[Notice] = []
        self._changed = threading.Event()
        self.pump = Pump(self._woken, open_runs=open_runs, relay=relay)

    def __enter__(self) -> Rig:
        self.pump.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.pump.stop()

    def _woken(self) -> None:
        self.wakes += 1
        self._changed.set()

    def until(self, wanted: Callable[[list[Notice]], bool]) -> list[Notice]:
        """Waits until `wanted` is true of all notices so far."""
        deadline = time.monotonic() + DEADLINE_SEC
        while not wanted(self.notices):
            assert self._changed.wait(deadline - time.monotonic()), self.notices
            self._changed.clear()
            self.notices += self.pump.take()
        return self.notices

    def until_kind(self, run: bytes, kind: str, times: int = 1) -> Notice:
        """Waits for the n-th notice of a kind for a run."""

        def of_kind(notices: list[Notice]) -> list[Notice]:
            return [notice for notice in notices if (notice.run, notice.kind) == (run, kind)]

        return of_kind(self.until(lambda notices: len(of_kind(notices)) >= times))[times - 1]

    def until_bytes(self, run: bytes, out: int, err: int = 0) -> None:
        """Waits until a watched run has so many bytes."""
        self.until(lambda seen: any(n.run == run and n.out_bytes >= out and n.err_bytes >= err for n in seen))

    def settle(self) -> None:
        """Waits until the pump has done every command given so far, and seen what is in the pipes."""
        for _ in range(2):
            self.pump.release(b"nobody")
        self.notices += self.pump.take()


def stream(directory: Path, number: int) -> bytes:
    """A stream as its files have it."""
    return b"".join(Path(segment.path).read_bytes() for segment in logs_index.segments(str(directory))[number])


def records(directory: Path) -> list[tuple[int, int, int, int, int]]:
    data = (directory / logs_index.INDEX).read_bytes()
    return list(logs_index.RECORD.iter_unpack(data[: len(data) // 32 * 32]))


def write_all(fd: int, data: bytes) -> None:
    """Writes, waiting as a job would."""
    while data:
        data = data[os.write(fd, data) :]


def write_and_close(fd: int, data: bytes) -> None:
    write_all(fd, data)
    os.close(fd)
