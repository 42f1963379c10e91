"""What people see on a terminal: progress while they wait, colours, lines cut to its width."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from jobctl import terminal
from jobd.core import paths
from jobd.wire import endpoint
from jobd.wire import messages as m
from tests.jobctl.fakes import FakeDaemon, jobctl, run_view, table, view
from tests.jobctl.terminals import on_terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.jobctl.fakes import Script

    Make = Callable[[Script], FakeDaemon]

pytestmark = pytest.mark.slow


def test_progress_is_one_line_that_goes_away(daemon: Make) -> None:
    text = "stopping web: 2 processes left: 311 (sh), 312 (\x1b[2Jsleep) and many more of them"
    steps: list[m.AnyBody] = [m.Progress(job="web", text=text), m.Progress(job="web", text="next"), m.Done(job="web")]
    shown = on_terminal(daemon(table(stop=lambda _: steps)).path, "stop", "web", columns=40)
    cut = "stopping web: 2 processes left: 311 (s…".encode()
    assert shown == b"\r\x1b[K" + cut + b"\r\x1b[Knext\r\x1b[K"


def test_an_error_takes_the_place_of_progress(daemon: Make) -> None:
    steps: list[m.AnyBody] = [
        m.Progress(job="web", text="waiting"),
        m.Done(job="web", code="failed", text="cannot start web"),
    ]
    shown = on_terminal(daemon(table(start=lambda _: steps)).path, "start", "web")
    assert shown == b"\r\x1b[Kwaiting\r\x1b[Kjobctl: cannot start web\r\n"


def test_who_has_begun_and_failed_is_led_on(daemon: Make) -> None:
    steps = [
        m.Done(job=job, code="failed", text=f"cannot start {job}: why not", run=run)
        for job, run in (("web", b"w" * 16), ("db", b"d" * 16), ("gone", None))
    ]
    fake = daemon(table(start=lambda _: steps))
    shown = on_terminal(fake.path, "start", "web", "db", "gone")
    assert shown.endswith(b"Hint: jobctl why web db and jobctl logs web db say more.\r\n")
    assert b"Hint" not in jobctl(fake.path, "start", "web", "db", "gone").stderr


def test_colours_and_no_colours(daemon: Make) -> None:
    fake = daemon(table(get=lambda _: m.Jobs(jobs=[view()]), list=lambda _: m.Jobs(jobs=[view(active="failed")])))
    status = ("status", "-n0", "web")
    assert on_terminal(fake.path, *status).startswith("\x1b[0;1;32m●\x1b[0m web".encode())
    assert on_terminal(fake.path, *status, NO_COLOR="1").startswith("● web".encode())
    assert on_terminal(fake.path, *status, TERM="dumb").startswith("● web".encode())
    assert b"\x1b[0;1;31m\xc3\x97" in on_terminal(fake.path, "list")


@pytest.mark.parametrize(("said", "coloured"), [("1", True), ("256", True), ("no", False), ("auto", True), ("x", True)])
def test_jobctl_colors_overrides_what_the_terminal_says(daemon: Make, said: str, coloured: bool) -> None:
    fake = daemon(table(get=lambda _: m.Jobs(jobs=[view()])))
    shown = on_terminal(fake.path, "status", "-n0", "web", JOBCTL_COLORS=said)
    assert shown.startswith(b"\x1b") == coloured
    shown = on_terminal(fake.path, "status", "-n0", "web", JOBCTL_COLORS=said, NO_COLOR="1", TERM="dumb")
    assert shown.startswith(b"\x1b") == (said in ("1", "256"))
    piped = jobctl(fake.path, "status", "-n0", "web", env={**os.environ, "JOBCTL_COLORS": said}).stdout
    assert piped.startswith(b"\x1b") == (said in ("1", "256"))


def test_lines_are_cut_unless_full(daemon: Make) -> None:
    fake = daemon(table(list=lambda _: m.Jobs(jobs=[view(description="long " * 40)])))
    cut = on_terminal(fake.path, "list", "--no-legend", columns=50).decode()
    assert cut.endswith("…\r\n")
    assert len(cut) == 50 + 2
    assert ("long " * 40).rstrip() in on_terminal(fake.path, "list", "-l", columns=50).decode()


def test_coloured_lines_are_cut_by_what_is_seen(daemon: Make) -> None:
    fake = daemon(table(get=lambda _: m.Jobs(jobs=[view(description="long " * 40)])))
    first = on_terminal(fake.path, "status", "-n0", "web", columns=50).decode().split("\r\n")[0]
    assert first.startswith("\x1b[0;1;32m●\x1b[0m web - long ")
    assert len(first.replace("\x1b[0;1;32m", "").replace("\x1b[0m", "")) == 50
    assert first.endswith("…\x1b[0m")


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


def test_a_complaint_of_several_lines_keeps_them_apart_and_safe(capfd: pytest.CaptureFixture[str]) -> None:
    terminal.complain("it has errors:\na.toml:1:1: unknown\x1b[31m key\n\njobctl: not ours")
    assert capfd.readouterr().err == (
        "jobctl: it has errors:\n  a.toml:1:1: unknown\\x1b[31m key\n  \n  jobctl: not ours\n"
    )
