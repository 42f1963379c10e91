"""list-timers and verify --calendar: systemd's columns, and what an expression comes to."""

from __future__ import annotations

import json
import os
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from jobctl import calendars, status_text, verb_timers
from jobctl.client import Client
from jobctl.connect import Target
from jobctl.exits import UsageError
from jobctl.verb_verify import verify
from jobd.wire import messages as m
from tests.jobctl.fakes import RUN_ID, FakeDaemon, jobctl

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.jobctl.fakes import Answer, Script

    Make = Callable[[Script], FakeDaemon]

NOW = 1_795_359_600 * 10**9  # Sun 2026-11-22 15:00:00 UTC
HOUR = 3600 * 10**9
ME = os.geteuid()
TIMERS = [
    m.TimerView(job="make-1", owner=ME, run=RUN_ID, next=NOW + HOUR, active="activating"),
    m.TimerView(job="nightly", owner=ME, next=NOW + 12 * HOUR, last=NOW - 12 * HOUR, schedule=["Mon..Fri 03:00"]),
    m.TimerView(job="web", owner=61001, schedule=["daily"], description="Never"),
]


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(time, "time_ns", lambda: NOW)


def pages(request: m.Request) -> Answer:
    """A timer a page."""
    assert isinstance(request, m.ListTimers)
    at = int(request.after or 0)
    more = str(at + 1) if at + 1 < len(TIMERS) else ""
    yield m.Reply(id=request.id, body=m.Timers(timers=TIMERS[at : at + 1], more=more))


def listed(daemon: Make, capfd: pytest.CaptureFixture[str], *patterns: str, **options: object) -> str:
    fake = daemon(pages)
    with closing(Client(Target(socket=str(fake.path)))) as client:
        assert verb_timers.list_timers(client, patterns, **options) == 0  # type: ignore[arg-type]  # a test's own
    asked = [request for request in fake.requests if isinstance(request, m.ListTimers)]
    assert {(tuple(each.patterns), each.all) for each in asked} == {(patterns, options.get("every", False))}
    return capfd.readouterr().out


def test_the_columns_are_systemds(daemon: Make, capfd: pytest.CaptureFixture[str]) -> None:
    lines = listed(daemon, capfd, "n*", every=True).splitlines()
    assert [line.split() for line in lines[:1]] == [["NEXT", "LEFT", "LAST", "PASSED", "UNIT", "ACTIVATES"]]
    assert lines[2].startswith("Mon 2026-11-23 03:00:00 UTC 12h left")
    assert " ".join(lines[2].split()).endswith("Sun 2026-11-22 03:00:00 UTC 12h ago nightly nightly")
    assert " ".join(lines[3].split()) == "- - - - 61001/web 61001/web"
    assert lines[-1] == "3 timers listed."
    assert len(listed(daemon, capfd, no_legend=True).splitlines()) == 3


def test_names_and_json(daemon: Make, capfd: pytest.CaptureFixture[str]) -> None:
    assert listed(daemon, capfd, output="name").splitlines() == ["make-1", "nightly", "61001/web"]
    rows = json.loads(listed(daemon, capfd, output="json"))
    assert [(row["job"], row["next"], row["last"], row["schedule"]) for row in rows[1:]] == [
        ("nightly", "2026-11-23T03:00:00.000000Z", "2026-11-22T03:00:00.000000Z", ["Mon..Fri 03:00"]),
        ("web", None, None, ["daily"]),
    ]
    assert rows[0]["run"] is not None


def test_status_has_when_the_clock_starts_it() -> None:
    screen = status_text.Screen(True)
    client = Client(Target(socket="/nonexistent"))

    def line(**fields: object) -> str:
        view = {"job": "nightly", "owner": ME, **fields}
        text = status_text.text(client, view, NOW, screen)  # type: ignore[arg-type]  # a view's fields
        return next((each.strip() for each in text.splitlines() if "Trigger" in each), "")

    assert line() == ""
    assert line(schedule=["daily"]) == "Trigger: n/a"
    assert line(schedule=["daily"], elapse_next=NOW + 9 * HOUR) == "Trigger: Mon 2026-11-23 00:00:00 UTC; 9h left"
    assert line(not_before=NOW + HOUR) == "Trigger: Sun 2026-11-22 16:00:00 UTC; 1h 0min left"
    assert line(not_before=NOW - HOUR) == "Trigger: Sun 2026-11-22 14:00:00 UTC; now"


# --- verify --calendar ------------------------------------------------------------------------------------------------
def test_an_expression_in_full_and_its_next_five_times(capfd: pytest.CaptureFixture[str]) -> None:
    assert verify(Client(Target()), (), calendar=("Mon..Fri 03:00", "*-*-* 00:00:00")) == 0
    first, second = capfd.readouterr().out.split("\n\n")
    assert first.splitlines()[:5] == [
        "  Original form: Mon..Fri 03:00",
        "Normalized form: Mon..Fri *-*-* 03:00:00",
        "    Next elapse: Mon 2026-11-23 03:00:00 UTC",
        "       From now: 12h left",
        "   Iteration #2: Tue 2026-11-24 03:00:00 UTC",
    ]
    assert first.count("UTC") == 5
    assert second.splitlines()[0] == "Normalized form: *-*-* 00:00:00"


def test_of_crons_either_both_are_shown_and_of_another_zone_the_time_in_utc(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    assert verify(Client(Target()), (), calendar=("0 0 13 * 5",)) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[1:5] == [
        "Normalized form: *-*-13 00:00:00",
        "             or: Fri *-*-* 00:00:00",
        "    Next elapse: Fri 2026-11-27 00:00:00 CET",
        "       (in UTC): Thu 2026-11-26 23:00:00 UTC",
    ]


def test_what_is_none_is_told_with_the_reason(capfd: pytest.CaptureFixture[str]) -> None:
    assert verify(Client(Target()), (), calendar=("*/2:00", "2020-01-01")) == calendars.BROKEN
    out, err = capfd.readouterr()
    assert "cannot read calendar expression '*/2:00': '*/2' is not understood; for every so many write \"0/2\"" in err
    assert "Next elapse: never" in out
    assert verify(Client(Target()), (), calendar=("soon",), output="json") == calendars.BROKEN
    assert json.loads(capfd.readouterr().out) == []
    with pytest.raises(UsageError, match="at a time"):
        verify(Client(Target()), ("web.toml",), calendar=("daily",))


@pytest.mark.slow
def test_the_program(daemon: Make) -> None:
    done = jobctl(daemon(pages).path, "list-timers", "--no-legend", "-o", "name")
    assert (done.returncode, done.stdout.decode()) == (0, "make-1\nnightly\n61001/web\n")
    done = jobctl("/nonexistent", "verify", "--calendar", "daily", "-o", "json")
    assert json.loads(done.stdout)[0]["normalized"] == ["*-*-* 00:00:00"]
