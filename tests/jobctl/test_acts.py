"""Actions on jobs: what is asked for, what is said, and the status."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from jobd.wire import errors
from jobd.wire import messages as m
from tests.jobctl.fakes import RUN_ID, FakeDaemon, HangupError, jobctl, missing, table, view

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.jobctl.fakes import Answer, Script

    Make = Callable[[Script], FakeDaemon]

pytestmark = pytest.mark.slow


def done(request: m.Request) -> list[m.Done]:
    """All goes well, but for jobs whose name is an error code."""
    assert isinstance(request, m.Freeze | m.Thaw | m.ResetFailed | m.Remove)
    return [
        m.Done(job=name, code=name, text=f"cannot do it to {name}") if name in errors.CODES else m.Done(job=name)
        for name in request.names
    ]


@pytest.mark.parametrize("verb", ["freeze", "thaw"])
def test_freeze_and_thaw(daemon: Make, verb: str) -> None:
    views = [view("web"), view("wet")]
    fake = daemon(table(get=lambda _: m.Jobs(jobs=views), freeze=done, thaw=done))
    result = jobctl(fake.path, verb, "w*", "other")
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    asked = fake.requests[-1]
    assert isinstance(asked, m.Freeze if verb == "freeze" else m.Thaw)
    assert asked.names == ["web", "wet", "other"]
    for code, status in ((errors.NOT_APPLICABLE, 3), (errors.NOT_FOUND, 5), (errors.DENIED, 4), (errors.FAILED, 1)):
        result = jobctl(fake.path, verb, "web", code)
        assert (result.returncode, result.stderr) == (status, f"jobctl: cannot do it to {code}\n".encode())
    views.clear()
    before = len(fake.of(m.Freeze) + fake.of(m.Thaw))
    assert jobctl(fake.path, verb, "w*").returncode == 0
    assert len(fake.of(m.Freeze) + fake.of(m.Thaw)) == before  # nobody to ask about
    assert jobctl(fake.path, verb).returncode == 2


def test_a_lost_answer_is_asked_for_again(daemon: Make) -> None:
    def script(request: m.Request) -> Answer:
        if len(fake.requests) < 3:
            raise HangupError
        yield from table(freeze=done)(request)

    fake = daemon(script)
    assert jobctl(fake.path, "freeze", "web").returncode == 0
    assert len(fake.requests) == 3


def test_reset_failed_of_all_or_of_some(daemon: Make) -> None:
    views = [view("web")]
    fake = daemon(table(get=lambda _: m.Jobs(jobs=views), reset_failed=done))
    for line in (["reset-failed"], ["reset-failed", "w*", "x"]):
        result = jobctl(fake.path, *line)
        assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    views.clear()
    assert jobctl(fake.path, "reset-failed", "w*").returncode == 0
    asked = fake.of(m.ResetFailed)
    assert [request.names for request in asked if isinstance(request, m.ResetFailed)] == [[], ["web", "x"]]
    assert jobctl(fake.path, "reset-failed", errors.NOT_FOUND).returncode == 5


def test_rm_says_which_runs_it_knows_and_asks_again(daemon: Make) -> None:
    def script(request: m.Request) -> Answer:
        if isinstance(request, m.Remove) and len(fake.of(m.Remove)) < 3:
            raise HangupError
        yield from table(get=lambda _: m.Jobs(jobs=[view("web"), missing("x")]), remove=done)(request)

    fake = daemon(script)
    result = jobctl(fake.path, "rm", "--now", "--purge", "web", "x")
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    asked = [request for request in fake.of(m.Remove) if isinstance(request, m.Remove)]
    assert len(asked) == 3
    assert {(r.stop, r.purge, *r.names, *r.runs) for r in asked} == {(True, True, "web", "x", RUN_ID, bytes(16))}
    plain = jobctl(fake.path, "rm", "web", "x")
    assert plain.returncode == 0
    last = fake.requests[-1]
    assert isinstance(last, m.Remove)
    assert (last.stop, last.purge) == (False, False)
    assert jobctl(fake.path, "rm").returncode == 2


@pytest.mark.parametrize(("code", "status"), [(errors.EXISTS, 1), (errors.NOT_FOUND, 5), (errors.DENIED, 4)])
def test_rm_of_what_cannot_be_removed(daemon: Make, code: str, status: int) -> None:
    fake = daemon(table(get=lambda _: m.Jobs(jobs=[view("web"), view(code)]), remove=done))
    result = jobctl(fake.path, "rm", "web", code)
    assert (result.returncode, result.stderr) == (status, f"jobctl: cannot do it to {code}\n".encode())


def test_a_glob_that_matches_nothing_is_nothing_to_wait_for(daemon: Make) -> None:
    fake = daemon(table(get=lambda _: m.Jobs(jobs=[])))
    result = jobctl(fake.path, "wait", "-o", "json", "w*")
    assert (result.returncode, result.stdout, result.stderr) == (0, b"[]\n", b"")


# --- more than one request takes --------------------------------------------------------------------------------------
def many(count: int) -> Callable[[m.Request], Answer]:
    """A daemon with so many jobs that no frame holds the answer about more than a hundred."""
    names = [f"job-{n:04}" for n in range(count)]

    def script(request: m.Request) -> Answer:
        if isinstance(request, m.Get):
            asked = [n for word in request.names for n in (names if "*" in word else [word.rpartition("/")[2]])]
            if len(asked) > 100:
                yield m.Fault(id=request.id, code=errors.TOO_LARGE, message="cannot send a frame of so many bytes")
            else:
                yield m.Reply(id=request.id, body=m.Jobs(jobs=[view(n) for n in asked]))
        elif isinstance(request, m.List):
            page = [n for n in names if n > request.after][:70]
            more = page[-1] if page and page[-1] != names[-1] else ""
            yield m.Reply(id=request.id, body=m.Jobs(jobs=[view(n) for n in page], more=more))
        else:
            assert isinstance(request, m.Freeze | m.Remove)
            for name in request.names:
                code = errors.NOT_APPLICABLE if name == "job-0001" else ""
                text = f"cannot freeze {name}" if code else ""
                yield m.Item(id=request.id, body=m.Done(job=name, code=code, text=text))
            yield m.End(id=request.id)

    return script


def test_a_glob_that_means_thousands_of_jobs(daemon: Make) -> None:
    fake = daemon(many(2500))
    result = jobctl(fake.path, "freeze", "job-*")
    assert (result.returncode, result.stderr) == (3, b"jobctl: cannot freeze job-0001\n")
    asked = [request.names for request in fake.of(m.Freeze) if isinstance(request, m.Freeze)]
    assert [len(names) for names in asked] == [1000, 1000, 500]
    assert [name for names in asked for name in names] == [f"job-{n:04}" for n in range(2500)]
    assert jobctl(fake.path, "rm", "job-*").returncode == 3
    removes = [request for request in fake.of(m.Remove) if isinstance(request, m.Remove)]
    assert [(len(r.names), len(r.runs)) for r in removes] == [(1000, 1000), (1000, 1000), (500, 500)]


@pytest.mark.parametrize("line", ["show -P Id", "is-active", "status -n 0 -o json"])
def test_looking_at_thousands_of_jobs(daemon: Make, line: str) -> None:
    fake = daemon(many(250))
    result = jobctl(fake.path, *line.split(), "job-*", "another")
    assert (result.returncode, result.stderr) == (0, b"")
    if "json" in line:
        assert [row["job"] for row in json.loads(result.stdout)] == [f"job-{n:04}" for n in range(250)] + ["another"]
    else:
        assert len(result.stdout.split()) == 251


def test_what_cannot_be_enforced_is_said_once_and_is_no_failure(daemon: Make) -> None:
    text = "web: limits.memory: no controller\nweb: limits.cpu: none"
    fake = daemon(
        table(
            start=lambda _: [m.Done(job="web", text=text), m.Done(job="wet")],
            run=lambda r: m.Started(job="web", owner=0, run=getattr(r, "run"), number=1, text=text),  # noqa: B009  # a Run
        )
    )
    lines = "".join(f"jobctl: {line}\n" for line in text.splitlines())
    started = jobctl(fake.path, "start", "web", "wet")
    assert (started.returncode, started.stdout, started.stderr.decode()) == (0, b"", lines)
    ran = jobctl(fake.path, "run", "true")
    assert (ran.returncode, ran.stdout, ran.stderr.decode()) == (0, b"web\n", lines)
