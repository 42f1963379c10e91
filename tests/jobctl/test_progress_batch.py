"""What a person sees while a whole batch of runs is waited for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

import pytest

from jobctl import progress, progress_runs, terminal
from jobctl.progress_runs import Waiting
from jobd.wire import messages as m
from tests.jobctl.fakes import FakeDaemon, HangupError, jobctl, jobctl_command, run_view, view
from tests.jobctl.terminals import Terminal
from tests.jobctl.test_progress import NS, SEC, Asked, end, ids, past, row, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.shapes import Body, RunView
    from tests.jobctl.fakes import Answer, Script

    Make = Callable[[Script], FakeDaemon]

slow = pytest.mark.slow
__all__ = ["shown"]  # a fixture


class Clock:
    """In place of the module `time`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        for module in (progress, progress_runs):
            monkeypatch.setattr(module, "time", self)

    def monotonic(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return 10**18 + int(self.now * SEC) * NS


def batch(client: Asked, count: int, **fields: object) -> Waiting:
    """A batch that has been waited for so long that it shows something."""
    waiting = Waiting(client, ids(count), any_one=False)
    waiting.tick()
    for at in range(progress.SHOWN_NAMES):
        client.answer("resolve", row(f"conv-{at}", argv=[b"conv", b"%d" % at], **fields))
    return waiting


def test_a_batch_is_estimated_from_its_own_pace(shown: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock, client = Clock(monkeypatch), Asked()
    waiting = batch(client, 103)
    waiting.ended(end(ids(103)[102]))  # it had ended before anybody waited, and tells nothing of the pace
    for at in range(2):
        clock.now += 4
        waiting.ended(end(ids(103)[at], at=clock.time_ns()))
    assert shown[-1] == "3 of 103 ended; waiting for conv-2 …: 8s"
    clock.now += 4
    waiting.ended(end(ids(103)[2], at=clock.time_ns()))
    waiting.tick()
    for at in (3, 4, 5):
        client.answer("resolve", row(f"conv-{at}"))
    assert shown[-1] == "4 of 103 ended; waiting for conv-3, conv-4, conv-5 …: 12s, about 6min 36s left"
    clock.now += 3
    waiting.tick()
    assert shown[-1] == "4 of 103 ended; waiting for conv-3, conv-4, conv-5 …: 15s, about 6min 33s left"


def test_until_it_has_one_from_the_past_and_the_queue(shown: list[str]) -> None:
    """The runs of before had other arguments, and only the program is the same."""
    client = Asked()
    waiting = batch(client, 100, queue="q")
    assert client.answer("queue-list", {"name": "q", "running": 4})["patterns"] == ["q"]
    assert client.answer("history")["jobs"] == ["conv-0"]
    asked = [request for request, _ in client.requests if request["type"] == "history"][-1]
    assert asked == {"type": "history", "jobs": ["conv-*"], "states": ["success"], "limit": progress_runs.LOOKED_AT}
    take = client.requests[-1][1]
    take(cast("Body", {"runs": [past(8, b"conv"), past(500, b"other")]}))
    waiting.tick()
    assert shown[-1] == "waiting for conv-0, conv-1, conv-2 …: 0s, about 3min 20s left"


def test_a_batch_that_drains_fast_asks_little(shown: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock, client = Clock(monkeypatch), Asked()
    waiting = batch(client, 200)
    client.requests.clear()
    del shown[:]
    for run in ids(200)[:100]:
        clock.now += 0.001
        waiting.ended(end(run, at=clock.time_ns()))
    assert len([request for request, _ in client.requests if request["type"] == "resolve"]) <= progress.SHOWN_NAMES
    assert len(shown) <= 1
    waiting.tick()
    assert len([request for request, _ in client.requests if request["type"] == "resolve"]) <= 2 * progress.SHOWN_NAMES


def test_failures_are_told_at_once_and_counted(shown: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    monkeypatch.setattr(terminal, "note", notes.append)
    client = Asked()
    waiting = batch(client, 50)
    runs = ids(50)
    waiting.ended(end(runs[0], "exit-code", 3))
    waiting.ended(end(runs[1], "stopped"))
    waiting.ended(cast("RunView", {**end(runs[2], "lost"), "exit_code": None}))  # the end of the wait tells of it
    assert notes == ["x-0#1 has failed: exit-code, code=exited, status=3"]
    waiting.tick()
    for at in (3, 4, 5):
        client.answer("resolve", row(f"conv-{at}"))
    assert shown[-1] == "3 of 50 ended, 2 failed; waiting for conv-3, conv-4, conv-5 …: 0s"
    for run in runs[3:]:
        waiting.ended(end(run, "exit-code", 1))
    assert len(notes) == progress_runs.FAILURES - 1  # of the first, one was lost
    waiting.end()
    assert notes[-1] == "50 ended in 0s, 49 failed"


@pytest.mark.usefixtures("shown")
def test_a_wait_that_was_given_up_has_no_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    monkeypatch.setattr(terminal, "note", notes.append)
    waiting = batch(Asked(), 5)
    waiting.end()
    assert notes == []


@slow
def test_a_batch_on_a_terminal_goes_on_under_the_next_daemon(daemon: Make) -> None:
    """A failure stays on the screen, the line goes; into a pipe there is none of both."""
    runs = ids(5)
    rows = [run_view(f"conv-{at}", run=run, exit_code=3 * (at == 1)) for at, run in enumerate(runs)]
    rows[1] = run_view("conv-1", run=runs[1], exit_code=3, result="exit-code", finished_at=10**18)
    lost = {"terminal": False}

    def script(request: m.Request) -> Answer:
        if isinstance(request, m.Get):
            views = [view(row.job, run=row.run) for row in rows if row.job in request.names]
            yield m.Reply(id=request.id, body=m.Jobs(jobs=views))
        elif isinstance(request, m.Resolve):
            (row,) = (row for row in rows if row.run.hex() == request.run)
            yield m.Reply(id=request.id, body=m.Runs(runs=[row]))
        elif isinstance(request, m.History):
            yield m.Reply(id=request.id, body=m.Runs(runs=[]))
        elif isinstance(request, m.Wait) and len(request.runs) == 5:
            for row in rows[:2]:
                yield m.Item(id=request.id, body=m.Ended(run=row))
            if not lost["terminal"]:
                lost["terminal"] = True
            else:
                raise HangupError
        elif isinstance(request, m.Wait):
            for run in request.runs:
                (row,) = (row for row in rows if row.run == run)
                yield m.Item(id=request.id, body=m.Ended(run=row))
            yield m.End(id=request.id)

    fake = daemon(script)
    words = [row.job for row in rows]
    terminal = Terminal(jobctl_command(fake.path, "wait", *words))
    try:
        shown = terminal.read(b"2 of 5 ended, 1 failed; waiting for conv-2, conv-3, conv-4: ")
        assert b"conv-1#1 has failed: exit-code, code=exited, status=3\r\n" in shown
        fake.hang_up()
        assert re.search(rb"5 ended in \d+s, 1 failed\r\n", terminal.end())
        assert terminal.status == 3
    finally:
        terminal.close()
    result = jobctl(fake.path, "wait", *words)
    assert (result.returncode, result.stdout, result.stderr) == (3, b"", b"")
