"""Waiting for a line in a run's output, from its first byte on. Woken by the pump; the bytes are read from the files.

A line counts when it is complete; of a long one, as much as MAX_LINE. Python's regular expressions may take for ever on
a line that somebody has chosen, and hold the interpreter while they do: a thread would not help. So each look is
under a timer of processor time, whose signal ends it, and the pattern is given up.
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Final

import trio

from jobd.store.logs_index import STDERR, STDOUT

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator
    from types import FrameType

    from jobd.runtime.asking import Asking
    from jobd.runtime.pump import Pump
    from jobd.runtime.run import Run
    from jobd.store.logs import RunLog

MAX_LINE: Final = 2048  # bytes of a line that are looked at: with so many, a pattern in n² takes milliseconds
CHUNK: Final = 16 << 10  # bytes that are read at a time: 0.2 ms of lines of the usual length
# Of processor time, for the lines of a chunk. A thousand times what a sound pattern takes; ten jobs that are submitted.
PATIENCE_SEC: Final = 0.02
LEAST_SEC: Final = 0.001  # of the timer: 0 turns it off


class PatternTooSlow(Exception):  # noqa: N818  # what is the case
    """The pattern would take too long on what the job wrote."""


async def until_line(run: Run, log: RunLog, pump: Pump, pattern: re.Pattern[str], asking: Asking) -> str:
    """Return the first line, in either stream, in which the pattern is found. Cancelling leaves nothing behind.

    Raises:
        PatternTooSlow: it cannot be looked for.
    """
    streams = [_Stream(log, STDOUT)] + ([] if run.spec.one_stream else [_Stream(log, STDERR)])
    pump.watch(run.id)
    try:
        while True:
            for stream in streams:
                began = time.perf_counter()
                lines = stream.read()
                found = search(pattern, lines)
                if found is not None:
                    return found
                await asking.turn(run.row.owner, time.perf_counter() - began)
                if stream.behind:
                    await trio.lowlevel.checkpoint()
            if not any(stream.behind for stream in streams):
                log.close()
                await run.output_changed.wait()  # nothing was awaited since the last look
    finally:
        pump.unwatch(run.id)
        log.close()


class _Stream:
    """How far one stream has been read."""

    def __init__(self, log: RunLog, which: int) -> None:
        self._log = log
        self._which = which
        self._at = 0
        self._rest = b""  # of a line that is not complete
        self._skips = False  # the rest of a long line
        self.behind = False  # there was more than one chunk

    def read(self) -> list[bytes]:
        """The next complete lines."""
        data = self._log.look(self._which, self._at, CHUNK)
        if data is None:
            path, _, gone = self._log.locate(self._which, self._at)
            if path:  # it has come since
                self.behind = True
                return []
            self._at += gone  # dropped by the cap: go on behind the gap
            self._rest, self._skips = b"", self._skips or gone > 0
            self.behind = gone > 0
            return []
        self._at += len(data)
        self.behind = len(data) == CHUNK
        return list(self._lines(data))

    def _lines(self, data: bytes) -> Iterator[bytes]:
        *complete, last = (self._rest + data).split(b"\n")
        for line in complete:
            if not self._skips:
                yield line[:MAX_LINE]
            self._skips = False
        self._rest = b""
        if self._skips:
            return
        if len(last) >= MAX_LINE:
            self._skips = True
            yield last[:MAX_LINE]
        else:
            self._rest = last


# --- the pattern --------------------------------------------------------------------------------------------------
class _Timer:
    """Raises in the middle of a match. The interpreter looks for signals in there, in the main thread.

    The kernel's timer counts what all threads use, and so rings too early while others are busy with somebody else's
    output: what counts is this thread's own time.
    """

    def __init__(self) -> None:
        self._armed = False
        self._until = 0.0  # by this thread's time

    def _ring(self, _: int, __: FrameType | None) -> None:
        if not self._armed:
            return  # it comes a moment too late
        left = self._until - time.thread_time()
        if left <= 0:
            raise PatternTooSlow
        signal.setitimer(signal.ITIMER_PROF, max(left, LEAST_SEC))

    def search(self, pattern: re.Pattern[str], lines: list[bytes]) -> str | None:
        before = signal.signal(signal.SIGPROF, self._ring)
        self._armed, self._until = True, time.thread_time() + PATIENCE_SEC
        try:
            signal.setitimer(signal.ITIMER_PROF, PATIENCE_SEC)
            for line in lines:
                text = line.decode("utf-8", "replace").removesuffix("\r")
                if pattern.search(text):
                    return text
            return None
        finally:
            self._armed = False
            signal.setitimer(signal.ITIMER_PROF, 0)
            if before is None or before is signal.SIG_DFL:
                before = _nothing  # a signal that is on its way already would end the daemon
            signal.signal(signal.SIGPROF, before)


def _nothing(_: int, __: FrameType | None) -> None:
    """What a late SIGPROF does."""


def search(pattern: re.Pattern[str], lines: list[bytes]) -> str | None:
    """The first line in which the pattern is found.

    Raises:
        PatternTooSlow: it takes too long.
    """
    return _Timer().search(pattern, lines) if lines else None
