"""What both clients ask and say about what waits, against a fake daemon on a real socket."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

import jobd.client
from jobd._client.blocking_scheduling import BlockingScheduling
from jobd._client.scheduling import Scheduling
from jobd._client.scheduling_requests import microseconds, nanoseconds
from jobd._client.waiting import AT_ONCE
from jobd.client import Conflict, Invalid, NotFound, QueueView, StatsView, TimerView, connect_blocking
from jobd.core.arrays import element_id
from jobd.wire import errors
from jobd.wire import messages as m
from tests.fakes_daemon import FakeDaemon, Peer, started, view

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from jobd.client import BlockingJobs, Jobs

    Acts = list[tuple[Callable[[Jobs], Awaitable[object]], Callable[[BlockingJobs], object], m.Request, object]]

NOON = datetime(2026, 12, 1, 12, 0, 0, 250_001, tzinfo=UTC)
NOON_NS = 1_796_126_400_250_001_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


def run_id(number: int) -> bytes:
    return bytes(12) + number.to_bytes(4, "big")


# --- submitting ---------------------------------------------------------------------------------------------------
@pytest.mark.trio
async def test_when_a_run_may_begin(path: Path) -> None:
    seen: list[m.Run] = []

    def script(peer: Peer) -> None:
        while True:
            request = peer.receive()
            assert isinstance(request, m.Run)
            seen.append(request)
            peer.send(started(request.id, request.run, pid=None, waits="for queue q, which is full", elements=3))

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            run = await jobs.run(
                ["x"], settings={"limits.nice": "1", "priority": "0"}, queue="q", priority=-5, weight=2,
                after=["a", "b:any"], at=NOON, hold=True, singleton=True, array="0-2%1",
            )  # fmt: skip
            assert (run.pid, run.waits, run.elements) == (None, "for queue q, which is full", 3)
            await jobs.run(["x"], after="a", delay=1.5, queue=None)
        with connect_blocking(daemon.path) as blocking:
            blocking_run = blocking.run(["x"], queue="q", delay=timedelta(minutes=1), at=None)
            assert (blocking_run.waits, blocking_run.elements) == (run.waits, 3)
            blocking.run(["x"])
    first, second, third, plain = seen
    assert first.settings == {"limits.nice": "1", "queue": "q", "priority": "-5", "weight": "2"}
    assert (first.after, first.not_before, first.delay_usec) == (["a", "b:any"], NOON_NS, None)
    assert (first.hold, first.singleton, first.array) == (True, True, "0-2%1")
    assert (second.settings, second.after, second.not_before, second.delay_usec) == ({}, ["a"], None, 1_500_000)
    assert (third.settings, third.delay_usec) == ({"queue": "q"}, 60_000_000)
    assert (plain.settings, plain.after, plain.hold, plain.array) == ({}, [], False, "")


def test_times_are_what_python_means_by_them() -> None:
    assert nanoseconds(NOON) == NOON_NS
    assert nanoseconds(NOON.astimezone().replace(tzinfo=None)) == NOON_NS  # of the local zone
    assert nanoseconds(NOON_NS) == NOON_NS
    assert microseconds(0) == 0
    assert microseconds(0.25) == 250_000
    for wrong in (-1, timedelta(seconds=-1), float("nan"), float("inf"), 1e300):
        with pytest.raises(Invalid, match="cannot wait for"):
            microseconds(wrong)


def test_a_keyword_that_is_none_is_an_error_as_of_any_function(path: Path) -> None:
    with FakeDaemon(path, lambda peer: _nothing(peer)) as daemon, connect_blocking(daemon.path) as jobs:
        with pytest.raises(TypeError, match="unexpected keyword argument 'nmae'"):
            jobs.run(["x"], nmae="web")  # type: ignore[call-arg]
        with pytest.raises(Invalid, match="both at a time and after a delay"):
            jobs.run(["x"], at=10**18, delay=1)
        with pytest.raises(Invalid, match="cannot begin at '03:00': that is a datetime, or nanoseconds"):
            jobs.run(["x"], at="03:00")  # type: ignore[arg-type]
        with pytest.raises(Invalid, match="cannot begin at 1795365287: that is in 1970; nanoseconds"):
            jobs.run(["x"], at=1_795_365_287)
        with pytest.raises(Invalid, match="cannot wait for '1h': that is seconds, or a timedelta"):
            jobs.run(["x"], delay="1h")  # type: ignore[arg-type]


def _nothing(peer: Peer) -> None:
    raise AssertionError(peer.receive())


# --- queues, holds, timers, figures -------------------------------------------------------------------------------
QUEUES = [QueueView(name="q", slots=2)]
TIMERS = [TimerView(job="nightly", owner=0, next=NOON_NS)]
STATS = [StatsView(job="make", owner=0, runs=9)]
DONE = [m.Done(job="a"), m.Done(job="b")]
ACTS: Acts = [
    (lambda j: j.queues(), lambda j: j.queues(), m.QueueList(id=0), QUEUES),
    (lambda j: j.queues("a*", all=True), lambda j: j.queues("a*", all=True),
     m.QueueList(id=0, patterns=["a*"], all=True), QUEUES),
    (lambda j: j.queue_add("q"), lambda j: j.queue_add("q"), m.QueueAdd(id=0, name="q"), None),
    (lambda j: j.queue_add("q", 4, shared=True), lambda j: j.queue_add("q", 4, shared=True),
     m.QueueAdd(id=0, name="q", slots=4, shared=True), None),
    (lambda j: j.queue_add("q", None), lambda j: j.queue_add("q", None), m.QueueAdd(id=0, name="q", slots=-1), None),
    (lambda j: j.queue_slots("q", 0), lambda j: j.queue_slots("q", 0), m.QueueSet(id=0, name="q", slots=0), None),
    (lambda j: j.queue_slots("q", None), lambda j: j.queue_slots("q", None),
     m.QueueSet(id=0, name="q", slots=-1), None),
    (lambda j: j.queue_pause("q"), lambda j: j.queue_pause("q"), m.QueueSet(id=0, name="q", state="paused"), None),
    (lambda j: j.queue_drain("q"), lambda j: j.queue_drain("q"), m.QueueSet(id=0, name="q", state="draining"), None),
    (lambda j: j.queue_resume("q"), lambda j: j.queue_resume("q"), m.QueueSet(id=0, name="q", state="open"), None),
    (lambda j: j.queue_remove("q"), lambda j: j.queue_remove("q"), m.QueueRemove(id=0, name="q"), None),
    (lambda j: j.cancel("a", "b"), lambda j: j.cancel("a", "b"), m.CancelQueued(id=0, names=["a", "b"]), DONE),
    (lambda j: j.hold("a", "b"), lambda j: j.hold("a", "b"), m.Hold(id=0, names=["a", "b"]), DONE),
    (lambda j: j.release("a", "b"), lambda j: j.release("a", "b"), m.Release(id=0, names=["a", "b"]), DONE),
    (lambda j: j.timers(), lambda j: j.timers(), m.ListTimers(id=0), TIMERS),
    (lambda j: j.timers("n*", all=True), lambda j: j.timers("n*", all=True),
     m.ListTimers(id=0, patterns=["n*"], all=True), TIMERS),
    (lambda j: j.stats(), lambda j: j.stats(), m.HistoryStats(id=0), STATS),
    (lambda j: j.stats("make", queue="q", since=1, until=2), lambda j: j.stats("make", queue="q", since=1, until=2),
     m.HistoryStats(id=0, jobs=["make"], queue="q", since=1, until=2), STATS),
    (lambda j: j.list(queue="q"), lambda j: j.list(queue="q"), m.List(id=0, queue="q"), []),
    (lambda j: j.history(queue="q", limit=5, before=9), lambda j: j.history(queue="q", limit=5, before=9),
     m.History(id=0, queue="q", limit=5, before=9), []),
]  # fmt: skip


def serve(seen: list[m.Request]) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        while True:
            request = peer.receive()
            seen.append(_without_id(request))
            body: m.AnyBody
            match request:
                case m.CancelQueued(names=names) | m.Hold(names=names) | m.Release(names=names):
                    for name in names:
                        peer.send(m.Item(id=request.id, body=m.Done(job=name)))
                    peer.send(m.End(id=request.id))
                    continue
                case m.QueueList():
                    body = m.Queues(queues=QUEUES)
                case m.ListTimers():
                    body = m.Timers(timers=TIMERS)
                case m.HistoryStats():
                    body = m.Stats(stats=STATS)
                case m.List():
                    body = m.Jobs(jobs=[])
                case m.History():
                    body = m.Runs(runs=[])
                case _:
                    body = m.Ok()
            peer.send(m.Reply(id=request.id, body=body))

    return script


def _without_id(request: m.Request) -> m.Request:
    import msgspec

    return msgspec.structs.replace(request, id=0)


@pytest.mark.trio
async def test_each_act_is_one_request_of_both_clients(path: Path) -> None:
    seen: list[m.Request] = []
    with FakeDaemon(path, serve(seen)) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            assert [await act(jobs) for act, *_ in ACTS] == [answer for *_, answer in ACTS]
        with connect_blocking(daemon.path) as blocking:
            assert [act(blocking) for _, act, *_ in ACTS] == [answer for *_, answer in ACTS]
    assert seen == [request for *_, request, _ in ACTS] * 2


def test_the_two_have_the_same_methods() -> None:
    for name, method in vars(Scheduling).items():
        if inspect.isfunction(method) and not name.startswith("_"):
            assert inspect.signature(method) == inspect.signature(getattr(BlockingScheduling, name)), name
            assert method.__doc__


def test_a_switch_that_is_asked_for_again_has_its_name(path: Path) -> None:
    seen: list[m.QueueSwitch] = []

    def script(peer: Peer) -> None:
        request = peer.receive()
        assert isinstance(request, m.QueueSwitch)
        seen.append(request)
        if len(seen) > 1:
            peer.send(m.Reply(id=request.id, body=m.Ok()))

    with FakeDaemon(path, script) as daemon, connect_blocking(daemon.path) as jobs:
        jobs.queue_switch("a", "b")
    first, again = seen
    assert first == again
    assert (first.first, first.second) == ("a", "b")
    assert first.once


def test_a_queue_that_a_lost_answer_was_about_is_removed(path: Path) -> None:
    def script(peer: Peer) -> None:
        peer.receive()
        if peer.number:
            peer.send(m.Fault(id=1, code=errors.NOT_FOUND, message="cannot find queue 'q'; there are: batch"))
            peer.receive()

    with FakeDaemon(path, script) as daemon, connect_blocking(daemon.path) as jobs:
        jobs.queue_remove("q")


def test_a_queue_that_was_never_there_is_an_error(path: Path) -> None:
    def script(peer: Peer) -> None:
        peer.receive()
        peer.send(m.Fault(id=1, code=errors.NOT_FOUND, message="cannot find queue 'q'; there are: batch"))
        peer.receive()

    with (
        FakeDaemon(path, script) as daemon,
        connect_blocking(daemon.path) as jobs,
        pytest.raises(NotFound, match="there are: batch"),
    ):
        jobs.queue_remove("q")


def test_a_queue_comes_page_after_page(path: Path) -> None:
    pages = [
        m.QueueDetail(
            view=m.QueueView(name="q", waiting=3), runs=[view(run_id(1)), view(run_id(2))], others=7, more="2"
        ),
        m.QueueDetail(view=m.QueueView(name="q", waiting=2), runs=[view(run_id(2)), view(run_id(3))]),
    ]
    asked: list[str] = []

    def script(peer: Peer) -> None:
        for page in pages:
            request = peer.receive()
            assert isinstance(request, m.QueueShow)
            asked.append(request.after)
            peer.send(m.Reply(id=request.id, body=page))
        peer.receive()

    with FakeDaemon(path, script) as daemon, connect_blocking(daemon.path) as jobs:
        found = jobs.queue("q")
    assert asked == ["", "2"]
    assert (found.view.waiting, found.others, found.more) == (3, 7, "")
    assert [run.run for run in found.runs] == [run_id(1), run_id(2), run_id(3)]


def test_timers_and_figures_come_page_after_page(path: Path) -> None:
    bodies: list[m.AnyBody] = [
        m.Timers(timers=TIMERS, more="a"),
        m.Timers(timers=TIMERS),
        m.Stats(stats=STATS, more="b"),
        m.Stats(stats=[]),
    ]
    after: list[str] = []

    def script(peer: Peer) -> None:
        for body in bodies:
            request = peer.receive()
            assert isinstance(request, m.ListTimers | m.HistoryStats)
            after.append(request.after)
            peer.send(m.Reply(id=request.id, body=body))
        peer.receive()

    with FakeDaemon(path, script) as daemon, connect_blocking(daemon.path) as jobs:
        assert (jobs.timers(), jobs.stats()) == (TIMERS * 2, STATS)
    assert after == ["", "a", "", "b"]


def test_a_run_is_canceled_by_its_id(path: Path) -> None:
    def script(peer: Peer) -> None:
        request = peer.receive()
        assert isinstance(request, m.Run)
        peer.send(started(request.id, request.run, pid=None))
        act = peer.receive()
        assert isinstance(act, m.CancelQueued)
        assert (act.names, act.runs) == (["true-1"], [request.run])
        done = m.Done(job="true-1", code=errors.NOT_APPLICABLE, text="true-1 runs: jobctl stop true-1")
        peer.send(m.Item(id=act.id, body=done), m.End(id=act.id))
        peer.receive()

    with FakeDaemon(path, script) as daemon, connect_blocking(daemon.path) as jobs:
        run = jobs.run(["true"])
        with pytest.raises(Conflict, match="jobctl stop"):
            run.cancel()


# --- waiting ------------------------------------------------------------------------------------------------------
def test_waiting_for_a_queue_means_the_runs_that_are_in_it_now(path: Path) -> None:
    """More than a request takes, and over a lost connection."""
    runs = [run_id(at) for at in range(AT_ONCE + 2)]
    asked: list[int] = []

    def script(peer: Peer) -> None:
        while True:
            request = peer.receive()
            if isinstance(request, m.QueueShow):
                at = int(request.after or 0)
                page = [view(run) for run in runs[at : at + 1000]]
                more = str(at + 1000) if at + 1000 < len(runs) else ""
                body = m.QueueDetail(view=m.QueueView(name="q"), runs=page, more=more)
                peer.send(m.Reply(id=request.id, body=body))
                continue
            assert isinstance(request, m.Wait)
            asked.append(len(request.runs))
            told = request.runs[:10] if peer.number == 0 else request.runs
            peer.send(*(m.Item(id=request.id, body=m.Ended(run=view(run))) for run in told))
            if peer.number == 0:
                return
            peer.send(m.End(id=request.id))

    with FakeDaemon(path, script) as daemon, connect_blocking(daemon.path) as jobs:
        assert sorted(result.view.run for result in jobs.wait(queue="q")) == runs
    assert asked[:2] == [AT_ONCE, len(runs) - 10]
    assert len(asked) == 2


def test_an_empty_queue_needs_no_waiting(path: Path) -> None:
    def script(peer: Peer) -> None:
        request = peer.receive()
        peer.send(m.Reply(id=request.id, body=m.QueueDetail(view=m.QueueView(name="q"), runs=[])))
        peer.receive()

    with FakeDaemon(path, script) as daemon, connect_blocking(daemon.path) as jobs:
        assert jobs.wait(queue="q", timeout=5) == []


@pytest.mark.trio
async def test_waiting_for_an_array_means_its_elements(path: Path) -> None:
    """And not an instance of a template that happens to be named like one."""
    base = m.JobView(job="train-1", owner=7, array="0-2")
    elements = [m.JobView(job=f"train-1@{at}", owner=7, run=run_id(at), array_of="train-1") for at in range(3)]
    stranger = m.JobView(job="train-1@x", owner=7, run=run_id(50))
    asked: list[list[bytes]] = []
    large = False

    def script(peer: Peer) -> None:
        while True:
            request = peer.receive()
            match request:
                case m.Run():
                    peer.send(started(request.id, request.run, job="train-1", owner=7, elements=3))
                case m.Get(names=["train-1"]):
                    peer.send(m.Reply(id=request.id, body=m.Jobs(jobs=[base])))
                case m.Get(names=["7/train-1@*"]) if large:
                    peer.send(m.Fault(id=request.id, code=errors.TOO_LARGE, message="too many"))
                case m.Get(names=["7/train-1@*"]):
                    peer.send(m.Reply(id=request.id, body=m.Jobs(jobs=[*elements, stranger])))
                case m.List(patterns=["7/train-1@*"], all=True):
                    first = m.Jobs(jobs=[*elements[:2], stranger], more="x")
                    page = m.Jobs(jobs=elements[2:]) if request.after else first
                    peer.send(m.Reply(id=request.id, body=page))
                case m.Wait(runs=runs):
                    asked.append(runs)
                    ends = runs if len(runs) > 1 else [element_id(runs[0], place) for place in range(3)]
                    peer.send(*(m.Item(id=request.id, body=m.Ended(run=view(run))) for run in ends))
                    peer.send(m.End(id=request.id))

    with FakeDaemon(path, script) as daemon:
        async with jobd.client.connect(daemon.path) as jobs:
            ended = [result.view.run for result in await jobs.wait("train-1")]
            assert ended == [run_id(0), run_id(1), run_id(2)]
            large = True
            assert [result.view.run for result in await jobs.wait("train-1")] == ended
            run = await jobs.run(["train"], array="0-2")
            ours = [element_id(bytes.fromhex(run.id), place) for place in range(3)]
            assert [result.view.run for result in await run.wait_all()] == ours
            assert (await run.wait()).view.run == ours[-1]
            assert repr(run) == f"<Run 7/train-1 {run.id}>"
        with connect_blocking(daemon.path) as blocking:
            blocking_run = blocking.run(["train"], array="0-2")
            assert len(blocking_run.wait_all(timeout=20)) == 3
            assert blocking_run.wait().id == element_id(bytes.fromhex(blocking_run.id), 2).hex()
    assert asked[2] == [bytes.fromhex(run.id)]  # of those that are still to be accepted jobd knows no ids
