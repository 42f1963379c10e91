"""Signals as something to poll for: the kernel's interruptions become bytes in a pipe, seen to in their turn."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C module; `signal` builds enums
import os

SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGTERM, SIGCONT, SIGWINCH = 1, 2, 3, 13, 15, 18, 28  # signal(7)
FORWARDED = (SIGINT, SIGQUIT, SIGTERM)
MAX_BYTES = 4096  # taken at a time; one byte is one signal


class Signals:
    """Keeps the signals named from their usual effect while it is entered. One that was ignored stays ignored."""

    def __init__(self, *numbers: int) -> None:
        self._numbers = numbers
        self._before: dict[int, object] = {}
        self._fds = (-1, -1)
        self._wakeup = -1

    def __enter__(self) -> Signals:
        self._fds = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._wakeup = _signal.set_wakeup_fd(self._fds[1], warn_on_full_buffer=False)
        # A reader who has gone is an error to handle here, not the end.
        self._before[SIGPIPE] = _signal.signal(SIGPIPE, _signal.SIG_IGN)
        for number in self._numbers:
            if _signal.getsignal(number) != _signal.SIG_IGN:
                self._before[number] = _signal.signal(number, _nothing)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, before in self._before.items():
            _signal.signal(number, before)
        _signal.set_wakeup_fd(self._wakeup)
        for fd in self._fds:
            os.close(fd)

    def fileno(self) -> int:
        """Readable when a signal has come."""
        return self._fds[0]

    def take(self) -> bytes:
        """The numbers of the signals that have come, in their order."""
        try:
            return os.read(self._fds[0], MAX_BYTES)
        except BlockingIOError:
            return b""


def _nothing(number: int, frame: object) -> None:
    """The number goes to the wakeup descriptor, before this is called."""
