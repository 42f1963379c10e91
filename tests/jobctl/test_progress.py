"""What a person sees while jobctl waits; and that nobody else sees anything of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

import pytest

from jobctl import progress, progress_runs
from jobctl.client import Client
from jobctl.connect import Target
from jobctl.progress_runs import Awaited, Waiting, about, median, one
from jobd.wire import messages as m
from tests.jobctl.fakes import FakeDaemon, HangupError, frame, jobctl, jobctl_command, run_view, view
from tests.jobctl.terminals import Terminal, on_terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.shapes import Body, RunView
    from tests.jobctl.fakes import Answer, Script

    Make = Callable[[Script], FakeDaemon]

slow = pytest.mark.slow
SEC = 1_000_000
NS = 1000
MIN = 60 * SEC
RUN = bytes(range(16))


def awaited(elapsed: int, usual: int | None, state: str = "running") -> tuple[Awaited, int]:
    each = Awaited()
    field = "queued_at" if state == "queued" else "started_at"
    each.view = cast("RunView", {"job": "make-3", "owner": 0, "state": state, field: 10**18})
    each.name = "make-3"
    each.usual = usual
    return each, 10**18 + elapsed * NS


@pytest.mark.parametrize(
    ("elapsed", "usual", "state", "text"),
    [
        (2 * MIN + 3 * SEC, 5 * MIN, "running", "make-3: 2min 3s of about 5min (41 %)"),
        (6 * MIN, 5 * MIN, "running", "make-3: 6min, usually 5min"),
        (SEC // 2, None, "running", "make-3: 0s"),
        (75 * SEC, None, "stopping", "make-3: 1min 15s"),
        (75 * SEC, None, "queued", "make-3: queued for 1min 15s"),
        (75 * SEC, 3 * SEC, "queued", "make-3: queued for 1min 15s, usually takes 3s"),
        (-5 * SEC, 5 * MIN, "running", "make-3: 0s of about 5min (0 %)"),
    ],
)
def test_one_run(elapsed: int, usual: int | None, state: str, text: str) -> None:
    assert one(*awaited(elapsed, usual, state)) == text


def test_one_that_waits_for_a_person_is_said_to_be_held() -> None:
    each, now = awaited(75 * SEC, 3 * SEC, "queued")
    assert each.view is not None
    each.view["held"] = True
    assert one(each, now) == "make-3: queued for 1min 15s, held, usually takes 3s"


@pytest.mark.parametrize(
    ("usec", "text"),
    [
        (1, "1s"),
        (1_400_000, "1s"),
        (1_500_000, "2s"),
        (5 * MIN + 3 * SEC, "5min 3s"),
        (12 * MIN + 29 * SEC, "12min"),
        (61 * MIN, "1h 1min"),
    ],
)
def test_an_estimate_is_not_more_exact_than_it_is(usec: int, text: str) -> None:
    assert about(usec) == text


@pytest.mark.parametrize(("values", "middle"), [([], None), ([3], 3), ([9, 1, 5], 5), ([1, 2, 9, 4], 3)])
def test_median(values: list[int], middle: int | None) -> None:
    assert median(values) == middle


# --- the line for several runs, with a client that is none --------------------------------------------------------
class Asked(Client):
    """Keeps what is asked aside, to be answered by the test."""

    def __init__(self) -> None:
        super().__init__(Target())
        self.requests: list[tuple[dict[str, object], Callable[[Body], None]]] = []
        self.uid = 0

    def ask_aside(self, request: dict[str, object], take: Callable[[Body], None]) -> None:
        self.requests.append((request, take))

    def answer(self, kind: str, *runs: dict[str, object]) -> dict[str, object]:
        """Answer the oldest question of this kind."""
        at = next(i for i, (request, _) in enumerate(self.requests) if request["type"] == kind)
        request, take = self.requests.pop(at)
        take(cast("Body", {"queues" if kind == "queue-list" else "runs": list(runs)}))
        return request


def row(job: str, **fields: object) -> dict[str, object]:
    now = time.time_ns()
    return {"job": job, "owner": 0, "state": "running", "started_at": now, "argv": [b"x"], **fields}


def past(seconds: float, argv: bytes = b"x") -> dict[str, object]:
    return {"started_at": 10**18, "exited_at": 10**18 + int(seconds * SEC) * NS, "argv": [argv]}


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(progress.Line, "show", lambda _, text, suffix="": lines.append(text + suffix))
    return lines


def end(run: bytes, result: str = "success", code: int = 0, at: int | None = None) -> RunView:
    """The end of a run that is waited for; by default one from before."""
    fields = {"run": run, "number": 1, "result": result, "exit_code": code, "finished_at": at or 1}
    return cast("RunView", row(f"x-{run[0]}", **fields))


def ids(count: int) -> list[bytes]:
    return [bytes([i]) * 16 for i in range(count)]


def test_nothing_is_asked_before_the_wait_has_lasted(shown: list[str]) -> None:
    client = Asked()
    waiting = Waiting(client, [RUN], any_one=False)
    assert waiting.at - waiting.began == progress.FIRST_SEC
    waiting.end()
    assert (client.requests, shown, client.ticker) == ([], [], None)


def test_a_run_and_its_past(shown: list[str]) -> None:
    client = Asked()
    waiting = Waiting(client, [RUN], any_one=False)
    waiting.tick()
    assert client.answer("resolve", row("web"))["run"] == RUN.hex()
    asked = client.answer("history", past(10), past(500, b"other"), past(20), past(60))
    assert asked == {"type": "history", "jobs": ["web"], "states": ["success"], "limit": 20}
    waiting.tick()
    assert shown[-1] == "waiting for web: 0s of about 20s (0 %)"
    assert client.requests == []  # and nothing more, however long it takes


def test_a_numbered_job_takes_the_past_of_its_command(shown: list[str]) -> None:
    client = Asked()
    Waiting(client, [RUN], any_one=False).tick()
    client.answer("resolve", row("make-3"))
    assert client.answer("history")["jobs"] == ["make-3"]
    assert client.answer("history", past(7, b"other"), past(30))["jobs"] == ["make-*"]
    assert shown[-1] == "waiting for make-3: 0s of about 30s (0 %)"


def test_a_queued_run_is_asked_about_again_and_a_running_one_is_not(shown: list[str]) -> None:
    client = Asked()
    waiting = Waiting(client, [RUN], any_one=False)
    waiting.tick()
    client.answer("resolve", row("web", state="queued", queued_at=time.time_ns(), started_at=None))
    client.answer("history")
    assert shown[-1] == "waiting for web: queued for 0s"
    for _ in range(progress_runs.QUEUED_TICKS):
        waiting.tick()
    client.answer("resolve", row("web"))
    assert shown[-1] == "waiting for web: 0s"
    for _ in range(3 * progress_runs.QUEUED_TICKS):
        waiting.tick()
    assert client.requests == []


def test_several_runs(shown: list[str]) -> None:
    client = Asked()
    runs = ids(5)
    waiting = Waiting(client, runs, any_one=False)
    waiting.tick()
    for job in "abc":
        client.answer("resolve", row(job))
    assert shown[-1] == "waiting for a, b, c …: 0s"
    waiting.ended(end(runs[0]))
    waiting.ended(end(runs[1]))
    for job in "de":
        client.answer("resolve", row(job))
    assert shown[-1] == "2 of 5 ended; waiting for c, d, e: 0s"
    for seconds in (0, 0, 10, 40, 90):
        client.answer("history", *([past(seconds)] if seconds else []))
    assert shown[-1] == "2 of 5 ended; waiting for c, d, e: 0s, about 1min 30s left"


def test_the_first_of_several(shown: list[str]) -> None:
    client = Asked()
    Waiting(client, ids(2), any_one=True).tick()
    for job in "ab":
        client.answer("resolve", row(job))
    for seconds in (90, 40):
        client.answer("history", past(seconds))
    assert shown[-1] == "waiting for the first of a, b: 0s, about 40s left"


# --- on a terminal ------------------------------------------------------------------------------------------------
class Slow:
    """Runs that end when the test says so; answers what is asked meanwhile."""

    def __init__(self) -> None:
        self.wait: m.Request | None = None
        self.lost = 0

    def __call__(self, request: m.Request) -> Answer:
        running = run_view(state="running", result=None, exit_code=None, started_at=time.time_ns())
        if isinstance(request, m.Wait):
            self.wait = request
        elif isinstance(request, m.Get):
            yield m.Reply(id=request.id, body=m.Jobs(jobs=[view()]))
        elif isinstance(request, m.Resolve):
            yield m.Reply(id=request.id, body=m.Runs(runs=[running]))
        elif isinstance(request, m.History):
            if self.lost:
                self.lost -= 1
                raise HangupError
            yield m.Reply(id=request.id, body=m.Runs(runs=[run_view()] * 3))
        elif isinstance(request, m.Start):
            self.wait = request

    def end(self) -> bytes:
        assert self.wait is not None
        body = m.Done(job="web") if isinstance(self.wait, m.Start) else m.Ended(run=run_view())
        return frame(m.Item(id=self.wait.id, body=body)) + frame(m.End(id=self.wait.id))


@slow
@pytest.mark.parametrize("lost", [0, 1])
def test_wait_shows_one_line_that_goes_away(daemon: Make, lost: int) -> None:
    slow_run = Slow()
    slow_run.lost = lost
    fake = daemon(slow_run)
    terminal = Terminal(jobctl_command(fake.path, "wait", "web"))
    try:
        terminal.read(b"s of about 2s (")
        fake.send(slow_run.end())
        assert terminal.end().endswith(b"\r\x1b[K")
        assert terminal.status == 0
        assert b"Traceback" not in terminal.shown
    finally:
        terminal.close()


@slow
def test_start_says_what_it_does_and_for_how_long(daemon: Make) -> None:
    slow_start = Slow()
    fake = daemon(slow_start)
    terminal = Terminal(jobctl_command(fake.path, "start", "web"), columns=24)
    try:
        terminal.read(b"\r\x1b[Kstarting web")
        terminal.read(b"\r\x1b[Kstarting web (1s)")
        fake.send(slow_start.end())
        assert terminal.end().endswith(b"\r\x1b[K")
    finally:
        terminal.close()
    assert len(fake.requests) == 1


@slow
def test_quick_things_and_pipes_show_nothing(daemon: Make) -> None:
    def quick(request: m.Request) -> Answer:
        if isinstance(request, m.Get):
            yield m.Reply(id=request.id, body=m.Jobs(jobs=[view()]))
            return
        yield m.Item(id=request.id, body=m.Ended(run=run_view()))
        yield m.End(id=request.id)

    fake = daemon(quick)
    assert on_terminal(fake.path, "wait", "web") == b""
    result = jobctl(fake.path, "wait", "web")
    assert (result.stdout, result.stderr) == (b"", b"")
    assert fake.of(m.History) == []
