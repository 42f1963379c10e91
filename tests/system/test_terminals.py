"""Jobs at a terminal of their own, in the foreground of ours: sizes, keys, closed windows, and coming back."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.system.program import DEADLINE_SEC, until
from tests.terminals import Terminal

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.system.program import Program

pytestmark = pytest.mark.slow

DETACH = b"\x1d\x1d\x1d"

# Says its size at the start and at each change, and what is typed; on another screen, as an editor.
EDITOR = """
import os, signal, sys
def draw(*_):
    size = os.get_terminal_size(0)
    os.write(1, b"\\x1b[2J\\x1b[H%dx%d\\r\\n" % (size.lines, size.columns))
signal.signal(signal.SIGWINCH, draw)
os.system("stty raw -echo")
os.write(1, b"\\x1b[?1049h\\x1b[?2004h")
draw()
while (key := os.read(0, 1)) != b"q":
    os.write(1, b"<%s>" % key.hex().encode())
os.write(1, b"\\x1b[?2004l\\x1b[?1049l")
sys.exit(5)
"""
EDIT = ("--", sys.executable, "-c", EDITOR)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with Terminal() as made:
        yield made


def begin(program: Program, terminal: Terminal, *args: str) -> subprocess.Popen[bytes]:
    """Start jobctl there, and wait until the terminal is the job's."""
    client = terminal.start(program.jobctl_command(*args), env=program.env)
    until(lambda: terminal.is_raw or client.poll() is not None, "the terminal is raw")
    return client


def test_an_editor_is_run_left_and_found_again(shared: Program, terminal: Terminal, name: str) -> None:
    before = terminal.modes()
    client = begin(shared, terminal, "run", "-t", "-u", name, *EDIT)
    terminal.read(b"24x80\r\n")
    terminal.type(b"a\x03")
    terminal.read(b"<61><03>")
    at = len(terminal.shown)
    terminal.resize(30, 100)
    terminal.read(b"30x100\r\n", at)
    terminal.type(DETACH)
    assert client.wait(DEADLINE_SEC) == 125
    assert terminal.modes() == before
    terminal.read(b"\x1b[?2004l\x1b[?1049l")
    terminal.read(f"jobctl: detached; {name} goes on: jobctl attach {name}\r\n".encode())

    with Terminal(rows=1, columns=500) as other:
        client = begin(shared, other, "attach", name)
        other.read(b"\x1b[?1049h\x1b[?2004h")
        other.read(b"1x500\r\n")
        other.type(b"q")
        assert client.wait(DEADLINE_SEC) == 5
        assert not other.is_raw


def test_one_that_had_the_size_already_draws_all_the_same(shared: Program, terminal: Terminal, name: str) -> None:
    client = begin(shared, terminal, "run", "-t", "-u", name, *EDIT)
    terminal.read(b"24x80\r\n")
    terminal.type(DETACH)
    assert client.wait(DEADLINE_SEC) == 125
    at = len(terminal.read_rest())
    begin(shared, terminal, "attach", "-n", "0", name)
    terminal.read(b"24x80\r\n", at)
    terminal.type(b"q")


@pytest.mark.parametrize("how", ["window", "killed"])
def test_a_lost_terminal_loses_nothing(shared: Program, terminal: Terminal, name: str, how: str) -> None:
    script = 'echo ready; while read -r line; do echo "<$line>"; done; echo over'
    client = begin(shared, terminal, "run", "-t", "-u", name, "--shell", script)
    terminal.read(b"ready\r\n")
    terminal.type(b"one\n")
    terminal.read(b"<one>\r\n")
    if how == "window":
        terminal.hang_up()
        assert client.wait(DEADLINE_SEC) == 129
    else:
        client.kill()
        client.wait()
    with Terminal() as other:
        client = begin(shared, other, "attach", name)
        other.read(b"ready\r\none\r\n<one>\r\n")
        other.type(b"two\n")
        other.read(b"<two>\r\n")
        other.type(b"\x04")
        other.read(b"over\r\n")
        assert client.wait(DEADLINE_SEC) == 0


def test_a_window_that_is_closed_is_no_end_of_a_pipe(shared: Program, terminal: Terminal, name: str) -> None:
    client = terminal.start(shared.jobctl_command("run", "-P", "-u", name, "cat"), env=shared.env)
    terminal.read(f"{name}\r\n".encode())
    terminal.type(b"one\n")
    terminal.read(b"one\r\none\r\n")
    terminal.hang_up()
    assert client.wait(DEADLINE_SEC) == 129
    assert shared.show(name, "ActiveState") == "active"
    with Terminal() as other:
        client = other.start(shared.jobctl_command("attach", name), env=shared.env)
        other.read(b"jobctl: stdin goes on at byte 4\r\n")
        other.type(b"two\n")
        other.read(b"two\r\ntwo\r\n")
        other.type(b"\x04")
        assert client.wait(DEADLINE_SEC) == 0
    assert shared.output(name) == b"one\ntwo\n"


def test_keys_and_output_survive_the_daemon(jobd: Program, terminal: Terminal, name: str) -> None:
    client = begin(jobd, terminal, "run", "-t", "-u", name, *EDIT)
    terminal.read(b"24x80\r\n")
    for key in b"abc":
        old = jobd.kill_daemon()
        terminal.type(bytes([key]))
        terminal.read(b"<%x>" % key)
        until(lambda old=old: jobd.daemon_pid() != old, "the next daemon")  # type: ignore[misc]
    jobd.replace_daemon()
    terminal.resize(7, 8)
    terminal.read(b"7x8\r\n")
    terminal.type(b"q")
    assert client.wait(DEADLINE_SEC) == 5
    assert terminal.read_rest().count(b"<61>") == 1
    assert b"jobctl:" not in terminal.shown


def test_two_look_at_one_and_the_newer_types(shared: Program, terminal: Terminal, name: str) -> None:
    first = begin(shared, terminal, "run", "-t", "-u", name, *EDIT)
    terminal.read(b"24x80\r\n")
    with Terminal() as other:
        second = begin(shared, other, "attach", name)
        terminal.read(f"another jobctl feeds {name} now".encode())
        other.type(b"x")
        other.read(b"<78>")
        terminal.read(b"<78>")
        terminal.type(b"y")
        other.type(b"q")
        assert second.wait(DEADLINE_SEC) == 5
    assert first.wait(DEADLINE_SEC) == 5
    assert b"<79>" not in terminal.read_rest()


def test_the_terminal_is_the_users_and_says_what_it_is(shared: Program, terminal: Terminal, name: str) -> None:
    script = 'test -O "$(tty)" && echo "mine $TERM"; stty size'
    env = {**shared.env, "TERM": "vt220"}
    for options in ((), ("--env", "none")):
        client = terminal.start(shared.jobctl_command("run", "-t", *options, "-u", name, "--shell", script), env=env)
        at = len(terminal.shown)
        terminal.read(b"mine vt220\r\n24 80\r\n", at)
        assert client.wait(DEADLINE_SEC) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_the_jobs_here_too(shared: Program, terminal: Terminal, name: str, number: signal.Signals) -> None:
    client = begin(shared, terminal, "run", "-t", "-u", name, "--shell", "echo ready; exec sleep 600")
    terminal.read(b"ready\r\n")
    client.send_signal(number)
    assert client.wait(DEADLINE_SEC) == 128 + number
    assert not terminal.is_raw


def test_a_pipe_into_a_terminal_ends_it(shared: Program, terminal: Terminal, name: str) -> None:
    read_end, write_end = os.pipe()
    client = terminal.start(shared.jobctl_command("run", "-t", "-u", name, "cat"), env=shared.env, stdin=read_end)
    os.close(read_end)
    os.write(write_end, b"half a line")
    os.close(write_end)
    assert client.wait(DEADLINE_SEC) == 0
    assert terminal.read_rest().count(b"half a line") == 2  # echoed, and written


def test_who_comes_behind_a_pipe_that_has_ended_can_type(shared: Program, terminal: Terminal, name: str) -> None:
    script = "read -r one; echo [$one]; while ! read -r two; do :; done; echo [$two]"
    read_end, write_end = os.pipe()
    os.write(write_end, b"one\n")
    os.close(write_end)
    command = shared.jobctl_command("run", "-t", "-u", name, "--shell", script)
    first = terminal.start(command, env=shared.env, stdin=read_end)
    os.close(read_end)
    terminal.read(b"[one]")
    with Terminal() as other:
        second = begin(shared, other, "attach", name)
        other.type(b"two\n")
        other.read(b"[two]")
        assert (first.wait(DEADLINE_SEC), second.wait(DEADLINE_SEC)) == (0, 0)


def test_rerun_at_a_terminal(shared: Program, terminal: Terminal, name: str) -> None:
    shared.jobctl("run", "--wait", "-u", name, "tty")
    client = terminal.start(shared.jobctl_command("rerun", "-t", name), env=shared.env)
    terminal.read(b"/dev/pts/")
    assert client.wait(DEADLINE_SEC) == 0
