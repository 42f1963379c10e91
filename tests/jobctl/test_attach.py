"""attach on a real terminal, against a daemon that is a script: the screen comes back; one may look on or take over."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from jobd.wire import messages as m
from tests.jobctl.fakes import DEADLINE_SEC, jobctl_command, run_view
from tests.jobctl.foreground_fakes import JOB, OUT, FakeRun, RunDaemon
from tests.jobctl.pty_fakes import DETACH, SAID, PtyRun, begin

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.jobctl.fakes import Answer
    from tests.terminals import Terminal

    Serve = Callable[[FakeRun], RunDaemon]

pytestmark = pytest.mark.slow


class Running(PtyRun):
    """One that runs already, and has drawn this."""

    def __init__(self, drawn: bytes, shown_from: int) -> None:
        super().__init__()
        self.run = bytes(range(16))
        self.output[OUT] += drawn
        self.shown_from = shown_from
        self.lines: list[int | None] = []

    def __call__(self, request: m.Request) -> Answer:
        if isinstance(request, m.Resolve):
            view = run_view(JOB, run=self.run, state="running", result=None, exit_code=None)
            yield m.Reply(id=request.id, body=m.Runs(runs=[view]))
        elif isinstance(request, m.Logs) and request.lines is not None:
            self.lines.append(request.lines)
            at = len(self.output[OUT]) if request.lines == 0 else self.shown_from
            yield m.Item(id=request.id, body=m.LogRun(job=JOB, owner=os.geteuid(), run=self.run, number=1, out_from=at))
        else:
            yield from super().__call__(request)


def test_attach_brings_the_screen_back(serve: Serve, terminal: Terminal) -> None:
    """Modes that are on are set, then the last screenful is shown, without what a terminal would answer."""
    early, late = b"\x1b[?1049h\x1b[?25lgone\n\x1b[6n\x1b[1mbold", b"\x1b[5;5Hseen\x1b[c\x1b]11;?\x07\n"
    run = Running(early + late, len(early))
    fake = serve(run)
    process = begin(terminal, fake, "attach", JOB)
    terminal.read(b"seen\n")
    run.write(b"live \x1b[6n")
    terminal.read(b"live \x1b[6n")
    shown = terminal.read_rest()
    assert shown == b"\x1b[?1049h\x1b[?25l\x1b[1m\x1b[5;5Hseen\nlive \x1b[6n"
    assert run.lines == [0, 31]
    terminal.type(DETACH)
    assert process.wait(DEADLINE_SEC) == 125
    assert terminal.read_rest().endswith(b"\x1b[?25h\x1b[?1049l\x1b[0mjobctl: detached; " + SAID)
    looks = [(request.input, request.window) for request in fake.of(m.Attach) if isinstance(request, m.Attach)]
    assert looks == [(False, None), (True, (31, 99))]


def test_attach_can_show_more_and_all(serve: Serve, terminal: Terminal) -> None:
    run = Running(b"one\ntwo\n", 4)
    fake = serve(run)
    process = begin(terminal, fake, "attach", "-n", "1", JOB)
    terminal.read(b"two\n")
    assert b"one" not in terminal.read_rest()
    terminal.type(DETACH)
    assert process.wait(DEADLINE_SEC) == 125
    begin(terminal, fake, "attach", "-n", "all", JOB)
    terminal.read(b"one\ntwo\n")


def test_who_only_looks_on_has_his_terminal(serve: Serve, terminal: Terminal) -> None:
    run = Running(b"", 0)
    fake = serve(run)
    process = terminal.start(jobctl_command(fake.path, "attach", "--input", "none", JOB))
    run.write(b"seen")
    terminal.read(b"seen")
    assert not terminal.is_raw
    assert all(not request.input for request in fake.of(m.Attach) if isinstance(request, m.Attach))
    terminal.type(b"\x03")
    assert process.wait(DEADLINE_SEC) == 130
    terminal.read(b"jobctl: interrupted; cat-1 goes on: jobctl attach cat-1")
    assert not fake.of(m.Kill)


def test_who_is_taken_over_from_sees_on_and_can_leave(serve: Serve, terminal: Terminal) -> None:
    class Taken(PtyRun):
        def _input(self, request: m.Input) -> Answer:
            yield m.Item(id=request.request, body=m.Fed(received=0, limit=10, open=False, taken=True))

    run = Taken()
    process = begin(terminal, serve(run))
    terminal.type(b"x")
    said = b"another jobctl feeds cat-1 now; keys are lost here, ^] three times leaves it"
    terminal.read(said)
    run.write(b"theirs")
    at = terminal.read(b"theirs")
    terminal.type(b"lost")
    at = terminal.read(said, at)  # once more, as the job may have drawn over it
    terminal.type(b"lost")
    terminal.read(b"\a", at)
    terminal.type(b"lost" + DETACH)
    assert process.wait(DEADLINE_SEC) == 125
    assert not terminal.is_raw
