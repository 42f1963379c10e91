"""What fills a small file system, and what needs it most: a writer of the database that never pauses."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
import time
from typing import TYPE_CHECKING, Final, Self

from jobd.wire import errors
from jobd.wire import messages as m
from tests.fault.background import Background
from tests.fault.load import MAX_LIVE, Load
from tests.fault.report import Problem
from tests.system.raw import Raw

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.program import Program

QUEUE: Final = "noted"
MOST_SLOTS: Final = 1000
REFUSED_SEC: Final = 0.02  # between two refusals
AGAIN_SEC: Final = 0.05  # after a daemon has died


class FullLoad(Load):
    """Load that may be refused for want of room while there is none."""

    def __init__(self, program: Program, seed: int) -> None:
        super().__init__(program, seed)
        self.full = False
        self.refused = 0
        self.slowest = 0.0

    def pardons(self, answer: m.Fault) -> bool:
        self.refused += 1
        return answer.code == errors.NO_SPACE and self.full

    def _pace(self) -> None:
        if not self.full or len(self.plans) - self._executed() > MAX_LIVE:
            super()._pace()  # else as fast as it goes

    def _submit(self, raw: Raw | None, run: bytes, index: int) -> Raw | None:
        began = time.monotonic()
        try:
            return super()._submit(raw, run, index)
        finally:
            self.slowest = max(self.slowest, time.monotonic() - began)


class Notes(Background):
    """Changes a queue all the time that the disk is full: hundreds of commits a second, so that the log of the
    database comes to its end, and each has to be there at the end if it was answered."""

    def __init__(self, program: Program) -> None:
        super().__init__("notes")
        self.program = program
        self.full = threading.Event()
        self.asked = 1  # slots that were asked for last
        self.answered = 1
        self.refused = 0

    def __enter__(self) -> Self:
        """Make the queue, and start."""
        with Raw(self.program.socket) as raw:
            assert isinstance(raw.ask(m.QueueAdd(id=1, name=QUEUE, slots=1)), m.Reply)
        return super().__enter__()

    def __exit__(self, kind: object, *rest: object) -> None:
        self.over.set()  # first: it is not to begin once more
        self.full.set()
        super().__exit__(kind, *rest)

    def act(self) -> None:
        while not self.over.is_set():
            self.full.wait()
            with contextlib.suppress(EOFError, OSError), Raw(self.program.socket) as raw:
                while self.full.is_set() and not self.over.is_set():
                    self._change(raw)
            self.over.wait(AGAIN_SEC)

    def _change(self, raw: Raw) -> None:
        wanted = 1 + self.asked % MOST_SLOTS
        self.asked = wanted
        if isinstance(raw.ask(m.QueueSet(id=raw.next_id(), name=QUEUE, slots=wanted)), m.Reply):
            self.answered = wanted
        else:
            self.refused += 1
            self.asked = self.answered
            self.over.wait(REFUSED_SEC)

    def lost(self) -> list[Problem]:
        """At the end: whether what was answered last is so."""
        with Raw(self.program.socket) as raw:
            answer = raw.ask(m.QueueList(id=1, patterns=[QUEUE]))
        assert isinstance(answer, m.Reply), answer
        assert isinstance(answer.body, m.Queues), answer
        found = [queue.slots for queue in answer.body.queues]
        if found in ([self.answered], [self.asked]):  # the last may not have been answered
            return []
        text = f"{self.answered} slots were answered, then {self.asked} asked for; now it has {found}"
        return [Problem("lost notes", QUEUE, text)]


def fill(path: Path, leave: int) -> None:
    """Take all the room of a file system but `leave` bytes; what `path` has taken it keeps."""
    with path.open("ab", buffering=0) as file, contextlib.suppress(_NoRoomError):
        free = shutil.disk_usage(path.parent).free - leave
        for size in (1 << 20, 4096):
            while free >= size:
                _write(file.fileno(), size)
                free -= size
        if not leave:
            _write(file.fileno(), 4096)


class _NoRoomError(Exception):
    pass


def _write(fd: int, size: int) -> None:
    try:
        os.write(fd, bytes(size))
    except OSError as e:
        if e.errno == errno.ENOSPC:
            raise _NoRoomError from e
        raise
