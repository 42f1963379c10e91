"""`run -t` on a real terminal, against a daemon that is a script: the terminal is given back on every way out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from jobd.wire import errors
from jobd.wire import messages as m
from tests.jobctl.fakes import DEADLINE_SEC, HangupError, jobctl, jobctl_command
from tests.jobctl.foreground_fakes import JOB, FakeRun, RunDaemon
from tests.jobctl.pty_fakes import DETACH, SAID, PtyRun, begin
from tests.system.program import until
from tests.terminals import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.jobctl.fakes import Answer

    Serve = Callable[[FakeRun], RunDaemon]

pytestmark = pytest.mark.slow


def test_keys_go_to_the_job_and_the_terminal_comes_back(serve: Serve, terminal: Terminal) -> None:
    run = PtyRun()
    before = terminal.modes()
    process = begin(terminal, serve(run))
    keys = b"a\x03\x04\x1a\x1c\r\n\x11\x13\x1b[A\xc3\xa9\x00"
    terminal.type(keys)
    terminal.read(keys)
    terminal.type(b"q")
    assert process.wait(DEADLINE_SEC) == 0
    assert terminal.modes() == before
    assert bytes(run.received) == keys + b"q"
    assert terminal.read_rest() == f"{JOB}\r\n".encode() + keys + b"q"


def test_the_run_gets_the_size_and_every_change_of_it(serve: Serve, terminal: Terminal) -> None:
    run = PtyRun()
    fake = serve(run)
    begin(terminal, fake)
    (request,) = fake.of(m.Run)
    assert isinstance(request, m.Run)
    assert (request.stdin, request.window) == ("pty", (31, 99))
    (attach,) = fake.of(m.Attach)
    assert isinstance(attach, m.Attach)
    assert attach.window == (31, 99)
    terminal.resize(1, 500)
    with run.changed:
        assert run.changed.wait_for(lambda: run.sizes, DEADLINE_SEC)
    assert run.sizes == [(1, 500)]
    terminal.type(b"q")


def test_a_terminal_without_a_size_is_none(serve: Serve) -> None:
    with Terminal(rows=0, columns=0) as terminal:
        fake = serve(PtyRun())
        begin(terminal, fake)
        (request,) = fake.of(m.Run)
        assert isinstance(request, m.Run)
        assert request.window is None


MODES = b"\x1b[?1049h\x1b[?25l\x1b[?1000;1006h\x1b[?2004h\x1b[31mdrawn"
UNDONE = b"\x1b[?25h\x1b[?1000l\x1b[?1006l\x1b[?2004l\x1b[?1049l\x1b[0m"


def leave(terminal: Terminal, process: subprocess.Popen[bytes], run: FakeRun, how: str) -> int:
    """Let jobctl end, in this way; the status it shall have."""
    match how:
        case "key":
            terminal.type(DETACH)
            return 125
        case "encoded key":
            terminal.type(b"\x1b[93;5u" * 3)
            return 125
        case "hangup":
            process.send_signal(signal.SIGHUP)
            return 129
        case "terminated":
            process.send_signal(signal.SIGTERM)
            return 143
        case "interrupted":
            process.send_signal(signal.SIGINT)
            return 130
        case "quit":
            process.send_signal(signal.SIGQUIT)
            return 131
        case "end":
            run.end(exit_code=9)
            return 9
        case _:
            raise AssertionError(how)


WAYS = ["key", "encoded key", "hangup", "terminated", "interrupted", "quit", "end"]


@pytest.mark.parametrize("how", WAYS)
def test_whatever_way_out_the_terminal_is_as_before(serve: Serve, terminal: Terminal, how: str) -> None:
    run = PtyRun()
    before = terminal.modes()
    process = begin(terminal, serve(run))
    run.write(MODES)
    terminal.read(MODES)
    status = leave(terminal, process, run, how)
    assert process.wait(DEADLINE_SEC) == status
    assert terminal.modes() == before
    shown = terminal.read_rest()
    assert UNDONE in shown
    assert shown.endswith(SAID) == (how in ("key", "encoded key", "hangup"))
    if how == "key":
        assert shown.endswith(UNDONE + b"jobctl: detached; " + SAID)


class Dying(PtyRun):
    """The daemon refuses, breaks or ends over the first key."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.path = ""

    def _input(self, request: m.Input) -> Answer:
        if self.how == "fault":
            yield m.Fault(id=request.request, code=errors.INVALID, message="cannot take the input: a test")
        elif self.how == "malformed":
            yield b"\x7f\xff\xff\xff"
        else:
            os.unlink(self.path)
            raise HangupError


@pytest.mark.parametrize("how", ["fault", "malformed", "gone"])
def test_whatever_becomes_of_the_daemon_the_terminal_is_as_before(serve: Serve, terminal: Terminal, how: str) -> None:
    run = Dying(how)
    fake = serve(run)
    run.path = fake.path
    patient = "from jobctl import connect\nconnect.PATIENCE_SEC = 0.2\n"
    code = f"{patient}from jobctl.__main__ import main\nmain()"
    before = terminal.modes()
    process = terminal.start([sys.executable, "-I", "-c", code, "--socket", fake.path, "run", "-t", "cat"])
    until(lambda: terminal.is_raw, "the terminal is raw")
    terminal.type(b"x")
    assert process.wait(DEADLINE_SEC) == 125
    assert terminal.modes() == before
    assert b"\r\njobctl: cannot " in terminal.read_rest()


def test_a_window_that_is_closed_leaves_the_job(serve: Serve, terminal: Terminal) -> None:
    run = PtyRun()
    fake = serve(run)
    process = begin(terminal, fake)
    terminal.type(b"x")
    terminal.read(b"x")
    terminal.hang_up()
    assert process.wait(DEADLINE_SEC) == 129
    assert not run.eof
    assert not fake.of(m.Kill)


def test_keys_typed_while_the_daemon_is_away_are_not_lost(serve: Serve, terminal: Terminal) -> None:
    run = PtyRun()
    run.cut_in = 3
    fake = serve(run)
    process = begin(terminal, fake)
    for key in b"abcdefghijklmn":
        terminal.type(bytes([key]))
        terminal.read(bytes([key]))
    terminal.type(b"q")
    assert process.wait(DEADLINE_SEC) == 0
    assert bytes(run.received) == b"abcdefghijklmnq"
    assert len(fake.of(m.Attach)) > 2


def test_the_detach_key_works_while_the_daemon_is_away(serve: Serve, terminal: Terminal) -> None:
    run = Dying("gone")
    fake = serve(run)
    run.path = fake.path
    process = begin(terminal, fake)
    terminal.type(b"x")
    until(lambda: not os.path.exists(fake.path), "the daemon has gone")
    terminal.type(DETACH)
    assert process.wait(DEADLINE_SEC) == 125
    assert not terminal.is_raw


@pytest.mark.parametrize(("text", "keys"), [(b"", b"\x04"), (b"line\n", b"line\n\x04"), (b"half", b"half\x04\x04")])
def test_the_end_of_a_stdin_that_is_no_terminal_is_a_key(
    serve: Serve, terminal: Terminal, text: bytes, keys: bytes
) -> None:
    run = PtyRun()
    read, write = os.pipe()
    os.write(write, text)
    os.close(write)
    process = terminal.start(jobctl_command(serve(run).path, "run", "-t", "cat"), stdin=read)
    os.close(read)
    with run.changed:
        assert run.changed.wait_for(lambda: run.received == keys, DEADLINE_SEC)
    run.end()
    assert process.wait(DEADLINE_SEC) == 0


def test_output_that_goes_elsewhere_is_exact(serve: Serve, terminal: Terminal, tmp_path: Path) -> None:
    run = PtyRun()
    fake = serve(run)
    with open(tmp_path / "out", "wb") as out:
        process = terminal.start(jobctl_command(fake.path, "run", "-t", "cat"), stdout=out.fileno())
        until(lambda: terminal.is_raw, "the terminal is raw")
    run.write(MODES)
    run.end()
    assert process.wait(DEADLINE_SEC) == 0
    assert (tmp_path / "out").read_bytes() == MODES
    assert not terminal.is_raw


def test_with_both_a_terminal_is_taken_where_there_is_one(serve: Serve, terminal: Terminal) -> None:
    fake = serve(PtyRun())
    begin(terminal, fake, "run", "-Pt", "cat")
    terminal.type(b"q")


def test_without_any_terminal_it_runs_too(serve: Serve) -> None:
    run = PtyRun(cat=False)
    fake = serve(run)
    run.write(b"out")
    run.end(exit_code=4)
    result = jobctl(fake.path, "run", "-t", "cat", stdin=subprocess.DEVNULL)
    assert (result.returncode, result.stdout, result.stderr) == (4, b"out", f"{JOB}\n".encode())


def test_a_line_that_was_begun_is_ended_before_ours(serve: Serve, terminal: Terminal) -> None:
    run = PtyRun()
    process = begin(terminal, serve(run))
    run.write(b"$ ")
    terminal.read(b"$ ")
    terminal.type(DETACH)
    assert process.wait(DEADLINE_SEC) == 125
    assert terminal.read_rest().endswith(b"$ \r\njobctl: detached; " + SAID)


SHELL = """
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
child = os.fork()
if not child:
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.setpgid(0, 0)
    os.execv(sys.argv[1], sys.argv[1:])
os.waitpid(child, os.WUNTRACED)
os.tcsetpgrp(0, child)
os.kill(child, signal.SIGCONT)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_begun_in_the_background_it_waits_for_the_terminal(serve: Serve, terminal: Terminal) -> None:
    fake = serve(PtyRun())
    command = jobctl_command(fake.path, "run", "-t", "cat")
    process = terminal.start([sys.executable, "-c", SHELL, *command])
    until(lambda: terminal.is_raw, "it has the terminal")
    terminal.type(b"q")
    assert process.wait(DEADLINE_SEC) == 0
    assert not terminal.is_raw


def test_stopped_and_continued_it_is_raw_again(serve: Serve, terminal: Terminal) -> None:
    run = PtyRun()
    process = begin(terminal, serve(run))
    before = terminal.modes()
    process.send_signal(signal.SIGSTOP)
    subprocess.run(["stty", "sane"], stdin=terminal.slave, check=True)  # as a shell does
    assert not terminal.is_raw
    process.send_signal(signal.SIGCONT)
    until(lambda: terminal.is_raw, "the terminal is raw again")
    assert terminal.modes() == before
    terminal.type(b"q")
    assert process.wait(DEADLINE_SEC) == 0
