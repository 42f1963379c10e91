"""Runs as they are named on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobctl import names
from jobd.wire import errors
from jobd.wire import messages as m
from tests.jobctl.fakes import FakeDaemon, jobctl, missing, run_view, table
from tests.jobctl.terminals import on_terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.jobctl.fakes import Answer, Script

    Make = Callable[[Script], FakeDaemon]

ID = bytes.fromhex("0197f00000007000800000000000abcd")


@pytest.mark.parametrize(
    ("word", "job", "run"),
    [
        ("web", "web", ""),
        ("web#3", "web", "3"),
        ("alice/web#-1", "alice/web", "-1"),
        ("0197f000-0000-7000-8000-00000000abcd", "", "0197f000000070008000" + "00000000abcd"),
        ("deadbeef", "deadbeef", ""),
        ("web#0197f000-0000-7000-8000-00000000abcd", "web", "0197f000000070008000" + "00000000abcd"),
    ],
)
def test_words_for_runs(word: str, job: str, run: str) -> None:
    assert names.split_run(word) == (job, run)


def test_ids_are_shown_by_their_end() -> None:
    assert names.short_id(ID) == "0000abcd"
    assert names.full_id(ID) == "0197f000-0000-7000-8000-00000000abcd"


@pytest.mark.slow
@pytest.mark.parametrize("line", ["result -o json 0000abcd", "wait 0000abcd", "logs 0000abcd"])
def test_the_end_of_an_id_is_as_good_as_a_job(daemon: Make, line: str) -> None:
    def script(request: m.Request) -> Answer:
        if isinstance(request, m.Wait):
            yield m.Item(id=request.id, body=m.Ended(run=run_view(run=request.runs[0])))
        elif isinstance(request, m.Get):
            yield m.Reply(id=request.id, body=m.Jobs(jobs=[missing(name) for name in request.names]))
            return
        elif isinstance(request, m.Resolve) and not request.job:
            assert request.run == "0000abcd"
            yield m.Reply(id=request.id, body=m.Runs(runs=[run_view(run=ID)]))
            return
        elif isinstance(request, m.Resolve) or (isinstance(request, m.Logs) and request.jobs):
            yield m.Fault(id=request.id, code=errors.NOT_FOUND, message="no such job")
            return
        elif isinstance(request, m.Logs):
            assert request.run in ("0000abcd", ID.hex())
        yield m.End(id=request.id)

    assert jobctl(daemon(script).path, *line.split()).returncode == 0


@pytest.mark.slow
def test_a_word_that_is_neither_is_not_found(daemon: Make) -> None:
    def script(request: m.Request) -> Answer:
        yield m.Fault(id=request.id, code=errors.NOT_FOUND, message=f"no {request!r}"[:20])

    assert jobctl(daemon(script).path, "logs", "0000abcd").returncode == 4
    assert jobctl(daemon(script).path, "result", "0000abcd").returncode == 4
    assert jobctl(daemon(script).path, "wait", "0000abcd").returncode == 125


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["stop", "rm", "freeze"])
def test_a_pattern_that_matches_nothing_is_told_to_a_person_and_no_error(daemon: Make, verb: str) -> None:
    path = daemon(table(get=lambda _: m.Jobs(jobs=[]))).path
    assert on_terminal(path, verb, "batch-*") == b"no job matches 'batch-*'\r\n"
    done = jobctl(path, verb, "batch-*")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
