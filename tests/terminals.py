"""A terminal for tests: both ends of a pseudo-terminal, and programs whose controlling terminal it is."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEADLINE_SEC = 30.0


class Terminal:
    """The person's side is `master`; a program gets the other as its terminal. A context manager."""

    def __init__(self, rows: int = 24, columns: int = 80) -> None:
        self.master, self.slave = os.openpty()
        self.shown = bytearray()  # all that the terminal was sent
        self.processes: list[subprocess.Popen[bytes]] = []
        self.resize(rows, columns)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for process in self.processes:
            process.kill()
            for file in (process.stdin, process.stdout, process.stderr):
                if file is not None:
                    file.close()
            process.wait()
        self.hang_up()
        os.close(self.slave)

    def start(
        self,
        command: Sequence[str | bytes],
        *,
        env: Mapping[str, str] | None = None,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a program in a session of its own, at this terminal but for the descriptors given."""

        def settle() -> None:
            fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)

        process = subprocess.Popen(
            command,
            stdin=self.slave if stdin is None else stdin,
            stdout=self.slave if stdout is None else stdout,
            stderr=self.slave if stderr is None else stderr,
            env=env,
            start_new_session=True,
            preexec_fn=settle,
            bufsize=0,
        )
        self.processes.append(process)
        return process

    def type(self, keys: bytes) -> None:
        """What a person types."""
        os.write(self.master, keys)

    def read(self, text: bytes, since: int = 0) -> int:
        """Read until `text` has been shown, behind the position `since`; the position behind it."""
        end = time.monotonic() + DEADLINE_SEC
        while (at := self.shown.find(text, since)) < 0:
            left = end - time.monotonic()
            if left < 0 or not select.select([self.master], [], [], left)[0]:
                raise AssertionError(f"not shown: {text!r}; but: {bytes(self.shown[since:])[-500:]!r}")
            try:
                self.shown += os.read(self.master, 65_536)
            except OSError as e:
                raise AssertionError(f"not shown: {text!r}; but: {bytes(self.shown[since:])[-500:]!r}") from e
        return at + len(text)

    def read_rest(self) -> bytes:
        """All that has been shown, and all that is on its way."""
        while select.select([self.master], [], [], 0)[0]:
            try:
                self.shown += os.read(self.master, 65_536)
            except OSError:
                break
        return bytes(self.shown)

    def resize(self, rows: int, columns: int) -> None:
        """Make it another size; the kernel tells the program in the foreground."""
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def modes(self) -> list[object]:
        """Its termios attributes."""
        return list(termios.tcgetattr(self.slave))

    @property
    def is_raw(self) -> bool:
        """Whether keys go to the program one by one, and none is a signal."""
        lflag = termios.tcgetattr(self.slave)[3]
        assert isinstance(lflag, int)
        return not lflag & (termios.ICANON | termios.ECHO | termios.ISIG)

    def hang_up(self) -> None:
        """Close the window."""
        if self.master >= 0:
            os.close(self.master)
        self.master = -1
