"""A run at a terminal, for a fake daemon, and jobctl at a real one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobd.wire import messages as m
from tests.jobctl.fakes import jobctl_command
from tests.jobctl.foreground_fakes import FakeRun, RunDaemon
from tests.system.program import until

if TYPE_CHECKING:
    import subprocess

    from tests.jobctl.fakes import Answer
    from tests.terminals import Terminal

DETACH = b"\x1d\x1d\x1d"
SAID = b"cat-1 goes on: jobctl attach cat-1\r\n"


class PtyRun(FakeRun):
    """A run at a terminal; keys come back as they are, and `q` ends it."""

    def __init__(self, **options: object) -> None:
        super().__init__(stdin="pty", **options)  # type: ignore[arg-type]  # those of FakeRun
        self.sizes: list[tuple[int, int]] = []

    def __call__(self, request: m.Request) -> Answer:
        if isinstance(request, m.Resize):
            with self.changed:
                self.sizes.append(request.window)
                self.changed.notify_all()
        yield from super().__call__(request)
        if isinstance(request, m.Input) and b"q" in request.data:
            self.end()


def begin(terminal: Terminal, fake: RunDaemon, *line: str) -> subprocess.Popen[bytes]:
    """Start jobctl, and wait until the terminal is the job's."""
    process = terminal.start(jobctl_command(fake.path, *(line or ("run", "-t", "cat"))))
    until(lambda: terminal.is_raw, "the terminal is raw")
    return process
