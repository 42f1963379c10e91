"""Where jobd's own log goes: stderr, or the journal behind it. For both halves; standard library only, no `typing`.

Writing never waits. A pipe that nobody reads, a terminal that is held, a full disk: the record is dropped, and how many
were is told with the next one that goes.
"""

from __future__ import annotations

import os
import select
import time

from jobd.core import logline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

STDERR = 2
STREAM = "JOURNAL_STREAM"  # systemd.exec(5): device and inode of the stream that systemd has connected


class LogStream:
    """One descriptor, and the records that go there. Callers from several threads take turns by themselves."""

    def __init__(self, fd: int = STDERR, environ: Mapping[str, str] = os.environ) -> None:
        self._fd = fd
        self._journal = _is_journal(fd, environ.get(STREAM, ""))
        self._limit = logline.RateLimit()
        self._dropped = 0

    def write(self, kind: Hashable, text: str, level: str) -> None:
        """One record, as one line; of many of a kind only the first in a minute."""
        for said, of_level in self._limit.admit(kind, text, level, time.monotonic()):
            self._put(said, of_level)

    def _put(self, text: str, level: str) -> None:
        if self._dropped:
            text = f"({self._dropped} records before this one could not be written) {text}"
        stamp = None if self._journal else time.strftime("%Y-%m-%dT%H:%M:%S%z")
        if self._send(logline.line(text, level, stamp, os.getpid())):
            self._dropped = 0
        else:
            self._dropped += 1

    def _send(self, line: bytes) -> bool:
        try:
            # At most PIPE_BUF bytes, for which a pipe that is ready has room: this write does not wait.
            poll = select.poll()
            poll.register(self._fd, select.POLLOUT)
            return bool(poll.poll(0)) and os.write(self._fd, line) == len(line)
        except OSError:
            return False


def _is_journal(fd: int, stream: str) -> bool:
    try:
        info = os.fstat(fd)
    except OSError:
        return False
    return logline.is_journal(stream, info.st_dev, info.st_ino)
