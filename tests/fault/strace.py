"""strace, attached to a process that runs: it kills it before its k-th system call, or has that call fail.

A count is a thread's own. What strace writes says whether it came to that: a call that is not made so often is no fault
that was survived.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Self

from tests.fault.report import CannotRunError, Problem
from tests.system.program import until

if TYPE_CHECKING:
    from pathlib import Path

ATTACH_SEC = 10.0
SURE = 20  # of fewer, none may be met by chance
TOO_FEW = "too few met"
INJECTED = b"(INJECTED)"
KILLED = b"+++ killed by SIGKILL +++"


class Strace:
    """strace at one process, from the time when the block begins until it ends or that process does.

    Args:
        pid: the process. With `threads` all of its threads, and the processes that it makes.
        inject: what strace takes after `-e inject=`, "openat:error=EMFILE:when=3".
        notes: where it may write; a file for each.
    """

    def __init__(self, pid: int, inject: str, notes: Path, *, threads: bool = True) -> None:
        self._pid = pid
        self._notes = notes
        calls = inject.partition(":")[0]
        options = ["-f"] if threads else []
        self._command = ["strace", *options, "-e", f"trace={calls}", "-e", f"inject={inject}"]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        said = self._notes.with_suffix(".err")
        with said.open("wb") as stderr:
            command = [*self._command, "-o", str(self._notes), "-p", str(self._pid)]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=stderr)
        try:
            until(lambda: b" attached" in said.read_bytes() or self.ended, "strace attaches", ATTACH_SEC)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()  # it lets go of what it holds
        try:
            self._process.wait(ATTACH_SEC)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def ended(self) -> bool:
        """Whether what it was attached to has ended."""
        return self._process is not None and self._process.poll() is not None

    @property
    def text(self) -> str:
        """The calls that were made to fail, or the end."""
        lines = self._notes.read_bytes().splitlines() if self._notes.exists() else []
        return b"; ".join(line for line in lines if INJECTED in line or KILLED in line).decode(errors="replace")


def too_few(hit: int, size: int) -> list[Problem]:
    """A campaign whose calls are hardly ever made tries nothing: of the kills and errors of F4 and F5 two in three are
    met, and it is strace that does not do what it is told when not even a quarter is."""
    if size < SURE or 4 * hit >= size:
        return []
    return [Problem(TOO_FEW, "strace", f"{hit} of {size}")]


def check_strace(root: Path) -> None:
    """Raises CannotRunError where there is no strace, or it may not attach."""
    if shutil.which("strace") is None:
        raise CannotRunError("strace is not installed")
    words = [sys.executable, "-I", "-S", "-c", "import signal; signal.pause()"]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL) as child:
        try:
            with Strace(child.pid, "chroot:error=EIO", root / "strace-probe") as probe:
                traced = not probe.ended and "TracerPid:\t0\n" not in _status(child.pid)
        finally:
            os.kill(child.pid, signal.SIGKILL)
    if not traced:
        raise CannotRunError("strace may not attach to a process here")


def _status(pid: int) -> str:
    with open(f"/proc/{pid}/status") as file:
        return file.read()
