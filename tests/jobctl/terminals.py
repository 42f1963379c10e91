"""jobctl on a terminal of its own: a pty that is its controlling terminal, so that pagers and Ctrl-C work."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import shutil
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING

from tests.jobctl.fakes import DEADLINE_SEC, jobctl_command

if TYPE_CHECKING:
    from collections.abc import Sequence

SETSID = shutil.which("setsid") or "setsid"  # by its path: tests make PATH odd
AGAIN_SEC = 0.2  # before a key is pressed again
# Of the environment that tests run in, what would change what is shown.
UNSET = ("NO_COLOR", "COLUMNS", "PAGER", "LESS", "SUDO_UID", "PKEXEC_UID", "DOAS_USER")


class Terminal:
    """A command on a pty."""

    def __init__(self, command: Sequence[str | bytes], *, columns: int = 80, rows: int = 24, **env: str) -> None:
        given = {k: v for k, v in os.environ.items() if k not in UNSET and not k.startswith("JOBCTL_")}
        given.update({"TERM": "xterm", "TZ": "UTC", "LC_ALL": "C.UTF-8", **env})
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        whole = [SETSID, "--ctty", *command]  # a child leads no group: setsid becomes the command, and does not fork
        self.child = subprocess.Popen(whole, stdin=theirs, stdout=theirs, stderr=theirs, env=given)
        os.close(theirs)
        self.shown = b""

    def read(self, until: bytes) -> bytes:
        """Read until this is on the terminal; everything so far."""
        end = time.monotonic() + DEADLINE_SEC
        while until not in self.shown:
            assert time.monotonic() < end, (until, self.shown)
            assert self._more(), (until, self.shown)
        return self.shown

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._ours, keys)

    def type_until(self, keys: bytes, wanted: bytes) -> None:
        """Press keys again and again until this is shown: less may lose one that comes just before it waits."""
        end = time.monotonic() + DEADLINE_SEC
        while wanted not in self.shown:
            assert time.monotonic() < end, self.shown
            self.type(keys)
            if select.select([self._ours], [], [], AGAIN_SEC)[0]:
                self._more()

    def type_until_it_ends(self, keys: bytes) -> None:
        """The same, until the command has ended."""
        end = time.monotonic() + DEADLINE_SEC
        while self.child.poll() is None:
            assert time.monotonic() < end, self.shown
            self.type(keys)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(AGAIN_SEC)
        self.end()

    def end(self) -> bytes:
        """Read until nobody has the terminal open; everything that was written to it. The status is in `status`."""
        while self._more():
            pass
        self.status = self.child.wait(DEADLINE_SEC)
        return self.shown

    def close(self) -> None:
        """End it, where the test has not."""
        self.child.kill()
        self.child.wait(DEADLINE_SEC)
        os.close(self._ours)

    def _more(self) -> bool:
        ready, _, _ = select.select([self._ours], [], [], DEADLINE_SEC)
        assert ready, f"nothing comes any more: {self.shown!r}"
        try:
            data = os.read(self._ours, 1 << 16)
        except OSError:  # EIO: the terminal's other end is closed
            return False
        self.shown += data
        return bool(data)


def on_terminal(path: str, *args: str | bytes, columns: int = 80, rows: int = 24, **env: str) -> bytes:
    """What jobctl, without a pager, writes to a terminal that is its stdout and stderr."""
    terminal = Terminal(jobctl_command(path, *args), columns=columns, rows=rows, **{"JOBCTL_PAGER": "", **env})
    try:
        return terminal.end()
    finally:
        terminal.close()
