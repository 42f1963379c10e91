"""enable, disable, mask, unmask, is-enabled: what they ask for, what they say, and their statuses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from jobd.wire import errors
from jobd.wire import messages as m
from tests.jobctl.fakes import FakeDaemon, jobctl, missing, table, view

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.jobctl.fakes import Script

    Make = Callable[[Script], FakeDaemon]

pytestmark = pytest.mark.slow
STATES = {
    "web": view("web", transient=False, enabled="enabled"), "off": view("off", transient=False, enabled="disabled"),
    "run": view("run"), "shut": m.JobView(job="shut", owner=0, load="not-found", enabled="masked"),
    "old": view("old", active="inactive", sub="dead", transient=False),
}  # fmt: skip


def found(request: m.Request) -> m.Jobs:
    assert isinstance(request, m.Get)
    if request.names == ["w*"]:
        return m.Jobs(jobs=[STATES["web"]])
    return m.Jobs(jobs=[STATES.get(name, missing(name)) for name in request.names])


def done(request: m.Request) -> list[m.Done]:
    return [m.Done(job=name) for name in getattr(request, "names")]  # noqa: B009  # all that come here have them


ANSWERS = table(get=found, enable=done, mask=done, start=done, stop=done)


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("enable web", [m.Enable(id=1, names=["web"])]),
        ("enable w* off", [m.Enable(id=2, names=["web", "off"])]),
        ("disable web", [m.Enable(id=1, names=["web"], enabled=False)]),
        ("mask web", [m.Mask(id=1, names=["web"])]),
        ("unmask web", [m.Mask(id=1, names=["web"], masked=False)]),
        ("disable --now web old no", [m.Enable(id=1, names=["web", "old", "no"], enabled=False),
                                      m.Stop(id=5, names=["web"])]),
        ("mask --now --no-block web", [m.Mask(id=1, names=["web"]), m.Stop(id=3, names=["web"], no_block=True)]),
        ("mask --now no", [m.Mask(id=1, names=["no"])]),
    ],
)  # fmt: skip
def test_what_is_asked_for(daemon: Make, line: str, asked: list[m.Request]) -> None:
    fake = daemon(ANSWERS)
    result = jobctl(fake.path, *line.split())
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    assert [request for request in fake.requests if not isinstance(request, m.Get)] == asked


def test_enable_now_starts_what_it_enabled_and_nothing_when_it_could_not(daemon: Make) -> None:
    fake = daemon(ANSWERS)
    assert jobctl(fake.path, "enable", "--now", "web").returncode == 0
    enable, start = fake.requests
    assert isinstance(enable, m.Enable)
    assert isinstance(start, m.Start)
    assert (start.names, len(start.runs)) == (["web"], 1)
    refused = daemon(table(enable=lambda _: [m.Done(job="web", code=errors.BAD_SETTING, text="cannot: bad")]))
    result = jobctl(refused.path, "enable", "--now", "web")
    assert (result.returncode, result.stderr) == (6, b"jobctl: cannot: bad\n")
    assert len(refused.requests) == 1


def test_a_template_is_not_enabled_but_an_instance_of_it(daemon: Make) -> None:
    fake = daemon(ANSWERS)
    for verb in ("enable", "disable"):
        result = jobctl(fake.path, verb, "web@")
        said = f"jobctl: cannot {verb} web@: it is a template; name an instance of it, such as web@1\n"
        assert (result.returncode, result.stderr.decode()) == (2, said)
    assert not fake.requests
    assert jobctl(fake.path, "mask", "web@").returncode == 0


@pytest.mark.parametrize(
    ("line", "status", "out"),
    [
        ("web", 0, "enabled\n"),
        ("off", 1, "disabled\n"),
        ("run", 0, "transient\n"),
        ("shut", 1, "masked\n"),
        ("no", 4, "not-found\n"),
        ("no off web", 0, "not-found\ndisabled\nenabled\n"),
        ("no shut", 1, "not-found\nmasked\n"),
        ("-q web", 0, ""),
        ("-q no", 4, ""),
    ],
)
def test_is_enabled(daemon: Make, line: str, status: int, out: str) -> None:
    result = jobctl(daemon(ANSWERS).path, "is-enabled", *line.split())
    assert (result.returncode, result.stdout.decode()) == (status, out)


def test_is_enabled_in_json(daemon: Make) -> None:
    result = jobctl(daemon(ANSWERS).path, "is-enabled", "off", "-o", "json")
    (row,) = json.loads(result.stdout)
    assert (result.returncode, row["job"], row["enabled"]) == (1, "off", "disabled")
