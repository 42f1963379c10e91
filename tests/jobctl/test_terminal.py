"""What people see on a terminal: progress while they wait, colours, lines cut to its width."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
from typing import TYPE_CHECKING

import pytest

from jobctl import terminal
from jobd.core import paths
from jobd.wire import endpoint
from jobd.wire import messages as m
from tests.jobctl.fakes import DEADLINE_SEC, FakeDaemon, jobctl_command, run_view, table, view

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.jobctl.fakes import Script

    Make = Callable[[Script], FakeDaemon]

pytestmark = pytest.mark.slow


def on_terminal(path: str, *args: str, columns: int = 80, **env: str) -> bytes:
    """What jobctl writes to a terminal that is its stdout and stderr."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    given = {**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, "TERM": "xterm", "TZ": "UTC", **env}
    child = subprocess.Popen(jobctl_command(path, *args), stdout=theirs, stderr=theirs, env=given)
    os.close(theirs)
    found = b""
    while True:
        try:
            found += os.read(ours, 1 << 16)
        except OSError:  # EIO: the terminal's other end is closed
            break
    os.close(ours)
    child.wait(DEADLINE_SEC)
    return found


def test_progress_is_one_line_that_goes_away(daemon: Make) -> None:
    text = "stopping web: 2 processes left: 311 (sh), 312 (\x1b[2Jsleep) and many more of them"
    steps: list[m.AnyBody] = [m.Progress(job="web", text=text), m.Progress(job="web", text="next"), m.Done(job="web")]
    shown = on_terminal(daemon(table(stop=lambda _: steps)).path, "stop", "web", columns=40)
    cut = b"stopping web: 2 processes left: 311 (sh)"[:39]
    assert shown == b"\r\x1b[K" + cut + b"\r\x1b[Knext\r\x1b[K"


def test_an_error_takes_the_place_of_progress(daemon: Make) -> None:
    steps: list[m.AnyBody] = [
        m.Progress(job="web", text="waiting"),
        m.Done(job="web", code="failed", text="cannot start web"),
    ]
    shown = on_terminal(daemon(table(start=lambda _: steps)).path, "start", "web")
    assert shown == b"\r\x1b[Kwaiting\r\x1b[Kjobctl: cannot start web\r\n"


def test_colours_and_no_colours(daemon: Make) -> None:
    fake = daemon(table(get=lambda _: m.Jobs(jobs=[view()]), list=lambda _: m.Jobs(jobs=[view(active="failed")])))
    status = ("status", "-n0", "web")
    assert on_terminal(fake.path, *status).startswith("\x1b[32m●\x1b[0m web".encode())
    assert on_terminal(fake.path, *status, NO_COLOR="1").startswith("● web".encode())
    assert on_terminal(fake.path, *status, TERM="dumb").startswith("● web".encode())
    assert b"\x1b[31m\xc3\x97" in on_terminal(fake.path, "list")


def test_lines_are_cut_unless_full(daemon: Make) -> None:
    fake = daemon(table(list=lambda _: m.Jobs(jobs=[view(description="long " * 40)])))
    cut = on_terminal(fake.path, "list", "--no-legend", columns=50).decode()
    assert cut.endswith("…\r\n")
    assert len(cut) == 50 + 2
    assert ("long " * 40).rstrip() in on_terminal(fake.path, "list", "-l", columns=50).decode()


def test_coloured_lines_are_cut_by_what_is_seen(daemon: Make) -> None:
    fake = daemon(table(get=lambda _: m.Jobs(jobs=[view(description="long " * 40)])))
    first = on_terminal(fake.path, "status", "-n0", "web", columns=50).decode().split("\r\n")[0]
    assert first.startswith("\x1b[32m●\x1b[0m web - long ")
    assert len(first.replace("\x1b[32m", "").replace("\x1b[0m", "")) == 50
    assert first.endswith("…\x1b[0m")


@pytest.mark.parametrize(
    ("line", "width", "shown"),
    [
        ("abcdef", 0, "abcdef"),
        ("abcdef", 6, "abcdef"),
        ("abcdef", 5, "abcd…"),
        ("\x1b[1mabcde\x1b[0m", 5, "\x1b[1mabcde\x1b[0m"),
        ("\x1b[1mabcdef\x1b[0m", 5, "\x1b[1mabcd…\x1b[0m"),
    ],
)
def test_cut(line: str, width: int, shown: str) -> None:
    assert terminal.cut(line, width) == shown


def test_history_leaves_room_for_the_command_on_a_narrow_terminal(daemon: Make) -> None:
    fake = daemon(table(history=lambda _: m.Runs(runs=[run_view(argv=[b"make", b"-j4", b"all"])])))
    assert b"  Sep 09 01:46:40  " in on_terminal(fake.path, "history", columns=80)
    assert b"  Sun 2001-09-09 01:46:40 UTC  " in on_terminal(fake.path, "history", columns=200)


def test_descriptions_cannot_act_on_the_terminal(daemon: Make) -> None:
    evil = view(description="\x1b]0;x\x07\u202e", argv=[b"\x1b[2J"])
    fake = daemon(table(list=lambda _: m.Jobs(jobs=[evil]), get=lambda _: m.Jobs(jobs=[evil])))
    for line in (("list",), ("status", "-n0", "web"), ("show", "web")):
        shown = on_terminal(fake.path, *line, NO_COLOR="1")
        assert b"\x1b" not in shown
        assert b"\\x1b]0;x\\x07\\u202e" in shown


def test_list_mentions_ones_own_daemon_when_the_systems_answers(
    daemon: Make, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from jobctl.client import Client
    from jobctl.connect import Target
    from jobctl.verb_list import list_jobs

    system = daemon(table(list=lambda _: m.Jobs(jobs=[])))
    own = daemon(table(list=lambda _: m.Jobs(jobs=[view("a"), view("b"), view("c")])))
    monkeypatch.delenv("JOBD_SOCKET", raising=False)
    monkeypatch.setattr(paths, "SYSTEM_SOCKET", system.path)
    monkeypatch.setattr(paths, "user_paths", lambda: paths.Paths(paths.USER, own.path, "", ""))
    monkeypatch.setattr(endpoint, "unpack", lambda *_: (1, 0, 0))
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1000)
    for quiet, told in ((False, "3 more: jobctl --user\n"), (True, "")):
        client = Client(Target())
        assert list_jobs(client, quiet=quiet) == 0
        client.close()
        assert capfd.readouterr().err == told
