"""rerun: which run is meant, and what is asked for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from jobd.wire import errors
from jobd.wire import messages as m
from tests.jobctl.fakes import RUN_ID, FakeDaemon, HangupError, jobctl, run_view, table, view

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.jobctl.fakes import Answer, Script

    Make = Callable[[Script], FakeDaemon]

pytestmark = pytest.mark.slow
NOBODY = 65534


def accept(request: m.Request) -> m.Started:
    assert isinstance(request, m.Rerun)
    return m.Started(job="web", owner=os.geteuid(), run=request.new, number=2, pid=5)


def resolve(request: m.Request) -> m.Runs | m.Fault:
    assert isinstance(request, m.Resolve)
    if request.job not in ("web", "nobody/web", ""):
        return m.Fault(code=errors.NOT_FOUND, message="cannot find it", details={})
    owner = NOBODY if "/" in request.job else os.geteuid()
    return m.Runs(runs=[run_view("web", owner=owner)])


def ends(request: m.Request) -> list[m.Ended]:
    assert isinstance(request, m.Wait)
    return [m.Ended(run=run_view("web", run=run, exit_code=7, result="exit-code")) for run in request.runs]


@pytest.mark.parametrize(
    ("word", "job", "selector"),
    [("web", "web", "0"), ("web#3", "web", "3"), (RUN_ID.hex(), "", RUN_ID.hex()), ("08090a0b", "", "08090a0b")],
)
def test_the_run_is_found_first_and_then_named_by_its_id(daemon: Make, word: str, job: str, selector: str) -> None:
    fake = daemon(table(resolve=resolve, rerun=accept))
    result = jobctl(fake.path, "rerun", word)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"web\n", b"")
    found = fake.of(m.Resolve)[-1]
    assert isinstance(found, m.Resolve)
    assert (found.job, found.run) == (job, selector)
    (asked,) = fake.of(m.Rerun)
    assert isinstance(asked, m.Rerun)
    assert (asked.job, asked.run, asked.exec_wait, asked.stdin) == ("", RUN_ID.hex(), True, None)


def test_of_anothers_job_the_owner_is_said(daemon: Make) -> None:
    fake = daemon(table(resolve=resolve, rerun=accept))
    assert jobctl(fake.path, "rerun", "nobody/web").returncode == 0
    (asked,) = fake.of(m.Rerun)
    assert isinstance(asked, m.Rerun)
    assert (asked.job, asked.run) == ("nobody/web", RUN_ID.hex())


def test_a_lost_reply_is_asked_for_under_the_same_id(daemon: Make) -> None:
    def script(request: m.Request) -> Answer:
        if isinstance(request, m.Rerun) and len(fake.of(m.Rerun)) < 3:
            raise HangupError
        yield from table(resolve=resolve, rerun=accept, wait=ends)(request)

    fake = daemon(script)
    result = jobctl(fake.path, "rerun", "--wait", "web")
    assert (result.returncode, result.stdout, result.stderr) == (7, b"web\n", b"")
    asked = [request.new for request in fake.of(m.Rerun) if isinstance(request, m.Rerun)]
    assert (len(asked), len(set(asked))) == (3, 1)
    (waited,) = fake.of(m.Wait)
    assert isinstance(waited, m.Wait)
    assert waited.runs == asked[:1]


def test_a_glob_means_the_one_job_that_it_matches(daemon: Make) -> None:
    found = [view("web")]
    fake = daemon(table(get=lambda _: m.Jobs(jobs=found), resolve=resolve, rerun=accept))
    assert jobctl(fake.path, "rerun", "w*").stdout == b"web\n"
    found[:] = []
    assert jobctl(fake.path, "rerun", "w*").returncode == 0
    found[:] = [view("web"), view("wet")]
    result = jobctl(fake.path, "rerun", "w*")
    assert (result.returncode, len(fake.of(m.Rerun))) == (2, 1)
    assert result.stderr == b"jobctl: cannot rerun more than one job at a time: web, wet\n"


@pytest.mark.parametrize(("how", "status"), [([], 5), (["--wait"], 125), (["-f"], 125)])
def test_no_such_job(daemon: Make, how: list[str], status: int) -> None:
    fake = daemon(table(resolve=resolve))
    assert jobctl(fake.path, "rerun", *how, "wev").returncode == status
    assert jobctl(fake.path, "rerun", "wev", *how).returncode == status


@pytest.mark.parametrize(("how", "status"), [([], 2), (["--wait"], 125), (["-f"], 125)])
def test_usage(daemon: Make, how: list[str], status: int) -> None:
    fake = daemon(table())
    for line in (["web", *how, "--bogus"], [*how, "--bogus", "web"], [*how], ["-o", "yaml", *how, "web"]):
        assert jobctl(fake.path, "rerun", *line).returncode == status, line
