"""list: systemctl's columns, fitted to the terminal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from jobctl.table import Table
from jobctl.width import columns_of
from jobd.wire import messages as m
from tests.jobctl.fakes import FakeDaemon, jobctl, table, view
from tests.jobctl.terminals import on_terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.jobctl.fakes import Script

    Make = Callable[[Script], FakeDaemon]

pytestmark = pytest.mark.slow
WEB = view("web", description="Web front end")
FAILED = view("nightly-import", active="failed", sub="failed", description="Import")
QUEUED = view("make-3", active="activating", sub="queued", argv=[b"make", b"-j 4"])
LEGEND = """\

LOAD   = Reflects whether the job's definition was properly loaded.
ACTIVE = The high-level activation state, i.e. generalization of SUB.
SUB    = The low-level activation state.

"""
HINT = " Pass --all to see inactive jobs, too.\n"


def lists(*views: m.JobView) -> Script:
    return table(list=lambda _: m.Jobs(jobs=list(views)))


def test_layout(daemon: Make) -> None:
    fake = daemon(lists(QUEUED, FAILED, WEB))
    assert jobctl(fake.path, "list").stdout.decode() == (
        "  JOB            LOAD   ACTIVE     SUB     DESCRIPTION\n"
        "● make-3         loaded activating queued  make '-j 4'\n"
        "× nightly-import loaded failed     failed  Import\n"  # noqa: RUF001  # systemctl's glyph
        "  web            loaded active     running Web front end\n" + LEGEND + "3 jobs listed." + HINT
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("list --plain", "JOB LOAD   ACTIVE SUB     DESCRIPTION\nweb loaded active running Web front end\n"),
        ("list --no-legend", "  web loaded active running Web front end\n"),
        ("list --legend=no", "  web loaded active running Web front end\n"),
        ("list --legend False", "  web loaded active running Web front end\n"),
        ("list -q", "  web loaded active running Web front end\n"),
        ("list -t service --legend=0 --plain", "web loaded active running Web front end\n"),
        ("list --no-pager -l -q", "  web loaded active running Web front end\n"),
        ("list --type=help", "Available job types:\nservice\n"),
    ],
)
def test_options(daemon: Make, line: str, expected: str) -> None:
    shown = jobctl(daemon(lists(WEB)).path, *line.split()).stdout.decode()
    assert shown.partition("\n\n")[0].rstrip("\n") == expected.rstrip("\n")


@pytest.mark.parametrize(
    ("line", "last"),
    [
        ("list", "0 jobs listed. Pass --all to see inactive jobs, too."),
        ("list -a", "0 jobs listed."),
        ("list --failed", "0 jobs listed."),
        ("list --state=running", "0 jobs listed."),
    ],
)
def test_none(daemon: Make, line: str, last: str) -> None:
    shown = jobctl(daemon(lists()).path, *line.split()).stdout.decode()
    assert shown == f"  JOB LOAD ACTIVE SUB DESCRIPTION\n{last}\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("list -t timer", "cannot list timer units: jobctl knows jobs, which are what systemctl calls services"),
        ("list -t nonsense", "unknown type 'nonsense': every job is a service"),
        ("list --legend=maybe", "cannot read --legend=maybe: it is yes or no"),
    ],
)
def test_mistakes(daemon: Make, line: str, said: str) -> None:
    result = jobctl(daemon(lists(WEB)).path, *line.split())
    assert (result.returncode, result.stdout, result.stderr.decode()) == (2, b"", f"jobctl: {said}\n")


def test_colours(daemon: Make) -> None:
    shown = on_terminal(daemon(lists(FAILED, WEB)).path, "list", columns=70).decode().split("\r\n")
    red, off = "\x1b[0;1;31m", "\x1b[0m"
    assert shown[0] == "\x1b[0;4m  JOB            LOAD   ACTIVE SUB     DESCRIPTION\x1b[0m"
    assert shown[1] == (
        f"{red}×{off} {red}nightly-import{off} loaded {red}failed{off} {red}failed{off}  Import"  # noqa: RUF001
    )
    assert shown[2] == "  web            loaded active running Web front end"
    assert shown[-2] == f"\x1b[0;1;39m2 jobs listed.{off}" + HINT.rstrip()
    none = on_terminal(daemon(lists()).path, "list", "-a").decode().split("\r\n")
    assert none[-2] == f"{red}0 jobs listed.{off}"


def test_the_description_gives_way_first_then_the_middle_of_names(daemon: Make) -> None:
    long = view("a-job-with-a-rather-long-name-12", description="Something to be told at length")
    fake = daemon(lists(long, WEB))

    def shown(columns: int) -> list[str]:
        return on_terminal(fake.path, "list", "--no-legend", columns=columns, NO_COLOR="1").decode().split("\r\n")[:-1]

    assert shown(90)[0] == "  a-job-with-a-rather-long-name-12 loaded active running Something to be told at length"
    assert shown(70)[0] == "  a-job-with-a-rather-long-name-12 loaded active running Something to…"
    assert shown(60) == [
        "  a-job-with-a…ong-name-12 loaded active running Something …",
        "  web                      loaded active running Web front …",
    ]
    assert shown(20)[0] == "  a-jo…-12 loaded a…"


@pytest.mark.parametrize("columns", [1, 2, 3, 10, 37, 80, 500])
def test_every_width(daemon: Make, columns: int) -> None:
    wide = view("web", description="日本語の説明 e\u0301 " * 20)
    shown = on_terminal(daemon(lists(wide, FAILED)).path, "list", columns=columns, NO_COLOR="1").decode()
    table_, _, _ = shown.partition("\r\n\r\n")
    assert all(0 < columns_of(line) <= columns for line in table_.split("\r\n"))


def test_wide_characters_keep_columns_straight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda _: False)
    layout = Table(("JOB", "TEXT", "REST"), 0)
    rows = [("a", "日本", "x"), ("bb", "e\u0301", "y")]
    layout.fit(rows)
    assert [layout.line(row) for row in rows] == ["a   日本 x", "bb  e\u0301    y"]


def test_many_pages_are_one_table(daemon: Make) -> None:
    def page(request: m.Request) -> m.Jobs:
        assert isinstance(request, m.List)
        first = int(request.after or 0)
        jobs = [view(f"job-{n}") for n in range(first, first + 1000)]
        return m.Jobs(jobs=jobs, more=str(first + 1000) if first < 4000 else "")

    fake = daemon(table(list=page))
    shown = jobctl(fake.path, "list").stdout.decode()
    assert shown.count("sleep 60\n") == 5000
    assert "5000 jobs listed." in shown
    assert len(fake.of(m.List)) == 5


def test_states_of_services_have_their_colours(daemon: Make) -> None:
    jobs = [
        view("again", active="activating", sub="auto-restart"),
        view("bad", active="inactive", sub="dead", load="bad-setting", transient=False),
        view("shut", active="active", sub="running", load="masked", transient=False),
        view("reloads", active="reloading", sub="reload"),
    ]
    shown = on_terminal(daemon(table(list=lambda _: m.Jobs(jobs=jobs))).path, "list", columns=120).decode()
    yellow, red, green, plain = "\x1b[0;1;33m", "\x1b[0;1;31m", "\x1b[0;1;32m", "\x1b[0m"
    assert f"{yellow}●{plain} again   loaded      {yellow}activating{plain} {yellow}auto-restart{plain} " in shown
    assert f"{yellow}●{plain} bad     {red}bad-setting{plain} inactive   dead " in shown
    assert f"{yellow}●{plain} shut    {red}masked{plain}      active     running " in shown
    assert f"{green}↻{plain} reloads loaded " in shown


def test_of_thousands_that_wait_a_person_sees_the_next(daemon: Make) -> None:
    def listed(request: m.Request) -> m.Jobs:
        assert isinstance(request, m.List)
        left_out = {"build": 9876, "": 12} if request.waiting and not request.after else {}
        more = "" if request.after else "0/make-3"
        return m.Jobs(jobs=[WEB if request.after else QUEUED], more=more, left_out=left_out)

    fake = daemon(table(list=listed))
    shown = on_terminal(fake.path, "list", "--no-pager", NO_COLOR="1", columns=100).decode()
    lines = shown.replace("\r", "").splitlines()
    at = next(at for at, line in enumerate(lines) if line.startswith("… "))
    assert lines[at : at + 2] == [
        "… 9,876 more wait in queue build: jobctl queue show build", "… 12 more wait: jobctl list --state=queued"
    ]  # fmt: skip
    assert lines[-1].startswith("2 jobs listed.")
    assert shown.count("LOAD   ACTIVE") == 1
    asked = [request.waiting for request in fake.requests if isinstance(request, m.List)]
    assert asked == [100, 100]
    result = jobctl(fake.path, "list")
    assert "more wait" not in result.stdout.decode()
    assert fake.requests[-1].waiting is None  # type: ignore[union-attr]
