"""Changes are told once, in order, when they are committed; who is late is told what he has missed."""

from __future__ import annotations

import itertools
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import trio

from jobd.host.peer import Peer
from jobd.rpc.access import Access
from jobd.rpc.context import MAX_READERS, Context, Refused
from jobd.rpc.handlers import events
from jobd.rpc.shares import Share
from jobd.runtime import eventsource
from jobd.runtime.followers import Followers
from jobd.runtime.journal import Journal
from jobd.store.db import Policy
from jobd.wire import messages as m
from tests.store.helpers import OWNER, Book, run_id
from tests.store.test_retention import retain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

LIFE = ["accepted", "started", "exited", "closed"]


class Answers:
    """The connection of a reader, which takes as much as a test lets it."""

    def __init__(self) -> None:
        self.share = Share(0)
        self.readers = 0
        self.bodies: list[m.AnyBody] = []
        self.writes = 0
        self.ended = False
        self.open = trio.Event()
        self.open.set()
        self._more = trio.Event()

    async def items(self, _request: int, bodies: Iterable[m.AnyBody]) -> None:
        self.writes += 1
        await self.open.wait()
        self.bodies += bodies
        self._more.set()

    async def item(self, request: int, body: m.AnyBody) -> None:
        await self.items(request, [body])

    async def end(self, _request: int) -> None:
        await trio.lowlevel.checkpoint()
        self.ended = True

    @property
    def changes(self) -> list[m.Change]:
        return [body for body in self.bodies if isinstance(body, m.Change)]

    @property
    def gaps(self) -> list[m.Missed]:
        return [body for body in self.bodies if isinstance(body, m.Missed)]

    async def until(self, count: int, bodies: int = 0) -> None:
        with trio.fail_after(30):
            while len(self.changes) < count or len(self.bodies) < bodies:
                self._more = trio.Event()
                await self._more.wait()


class Desk:
    """A book whose commits wake a journal, and readers of it."""

    def __init__(self, state_dir: Path) -> None:
        self.book = Book(state_dir)
        self.journal = Journal(self.book.store)
        self.journal.store.start(self._wake)
        self._token = trio.lowlevel.current_trio_token()
        self.book.woken = threading.Event()
        self.registry = SimpleNamespace(
            store=self.book.store, journal=self.journal, followers=Followers(self.journal),
            jobs={}, runs={}, run=lambda *_: None,
            keeper=SimpleNamespace(welcome=None), catalog=SimpleNamespace(asked=self.book.store.job),
        )  # fmt: skip

    def _wake(self) -> None:
        self.book.woken.set()
        try:
            self._token.run_sync_soon(self.journal.changed.set)
        except trio.RunFinishedError:
            return

    def context(self, answers: Answers) -> Context:
        world = SimpleNamespace(registry=self.registry)
        return Context(world, answers, Peer(uid=OWNER, gid=0, pid=1), Access(shared=True))  # type: ignore[arg-type]  # doubles

    async def read(self, **asked: object) -> Answers:
        """All that one request gives."""
        answers = Answers()
        request = m.Events(id=1, **asked)  # type: ignore[arg-type]  # a test's own words
        with trio.fail_after(30):
            await events.events(self.context(answers), request)
        assert answers.ended
        assert answers.readers == 0
        return answers


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.book.store.close()


def live(book: Book, count: int, job: str = "web", first: int = 0) -> None:
    """So many runs, durable."""
    for n in range(first, first + count):
        book.accept(run_id(n), job)
        last = book.finish(run_id(n))
    book.durable(last)


async def test_what_there_is_comes_in_order_and_ends(desk: Desk) -> None:
    live(desk.book, 3)
    told = await desk.read()
    assert [change.kind for change in told.changes] == LIFE * 3
    assert [change.number for change in told.changes] == [n for n in (1, 2, 3) for _ in LIFE]
    assert [change.seq for change in told.changes] == sorted({change.seq for change in told.changes})
    assert told.bodies[-1] == m.Reached(seq=told.changes[-1].seq)
    assert told.gaps == []


async def test_a_change_says_what_it_set_and_nothing_else(desk: Desk) -> None:
    live(desk.book, 1)
    accepted, started, exited, closed = (await desk.read()).changes
    assert (accepted.run, accepted.owner, accepted.job) == (run_id(0), OWNER, "web")
    assert (started.state, started.active, started.sub, started.pid) == ("running", "active", "running", 7)
    assert (started.result, started.exit_code) == ("", None)
    assert (exited.result, exited.exit_code, exited.active) == ("success", 0, "inactive")
    assert (closed.state, closed.active, closed.result, closed.pid) == ("", "", "", None)
    assert not {"spec", "env"} & set(m.Change.__struct_fields__)


async def test_a_cursor_goes_on_behind_it_under_another_daemon_too(tmp_path: Path) -> None:
    first = Desk(tmp_path)
    live(first.book, 3)
    told = await first.read()
    first.book.store.close()
    second = Desk(tmp_path)
    try:
        for at, change in enumerate(told.changes):
            rest = await second.read(after=change.seq)
            assert rest.changes == told.changes[at + 1 :]
            assert rest.gaps == []
        second.book.jobs, second.book.runs = first.book.jobs, first.book.runs
        live(second.book, 1, first=3)
        rest = await second.read(after=told.changes[-1].seq)
        assert [change.kind for change in rest.changes] == LIFE
        assert rest.gaps == []
    finally:
        second.book.store.close()


async def test_the_last_so_many(desk: Desk) -> None:
    live(desk.book, 3)
    every = (await desk.read()).changes
    assert (await desk.read(lines=5)).changes == every[-5:]
    assert (await desk.read(lines=0)).changes == []
    assert (await desk.read(lines=100)).changes == every
    assert (await desk.read(lines=5, after=every[-3].seq)).changes == every[-2:]


async def test_jobs_globs_and_times_choose(desk: Desk) -> None:
    live(desk.book, 1, "web")
    live(desk.book, 1, "make-1", 1)
    live(desk.book, 1, "make-2", 2)
    every = (await desk.read()).changes
    assert {c.job for c in (await desk.read(jobs=["make-*"])).changes} == {"make-1", "make-2"}
    assert {c.job for c in (await desk.read(jobs=["web", "make-2"])).changes} == {"web", "make-2"}
    assert (await desk.read(jobs=[f"{OWNER}/web"])).changes == every[:4]
    assert (await desk.read(jobs=["none*"])).changes == []
    assert (await desk.read(since=every[5].at)).changes == every[5:]
    assert (await desk.read(since=every[2].at, until=every[5].at)).changes == every[2:6]


async def test_a_name_that_means_nothing_is_refused_with_what_was_meant(desk: Desk) -> None:
    live(desk.book, 1, "web")
    with pytest.raises(Refused, match="cannot find job 'wbe'; did you mean 'web'"):
        await desk.read(jobs=["wbe"])
    with pytest.raises(Refused, match="cannot find job 'web#1', which would be a run; did you mean 'web'"):
        await desk.read(jobs=["web#1"])
    with pytest.raises(Refused, match=r"cannot find job 'no#1', which would be a run$"):
        await desk.read(jobs=["no#1"])
    with pytest.raises(Refused, match=r"cannot find job 'web\.service'; did you mean 'web'"):
        await desk.read(jobs=["web.service"])
    with pytest.raises(Refused, match=r"cannot find job 'web\.toml'; did you mean 'web'"):
        await desk.read(jobs=["web.toml"])
    with pytest.raises(Refused, match="cannot find job 'no-such-user/web'"):
        await desk.read(jobs=["no-such-user/web"])
    with pytest.raises(Refused, match="at most 256"):
        await desk.read(jobs=[f"{n}*" for n in range(events.MAX_WORDS + 1)])


async def test_a_glob_of_an_owner_that_nobody_is_means_nothing(desk: Desk) -> None:
    live(desk.book, 1, "web")
    read = await desk.read(jobs=["no-such-user/*"], after=1)
    assert (read.changes, read.gaps, read.ended) == ([], [], True)


async def test_a_job_that_has_gone_since_is_no_mistake(desk: Desk) -> None:
    live(desk.book, 1, "web")
    last = (await desk.read(jobs=["web"])).changes[-1].seq
    retain(desk.book, Policy(keep_runs=0))
    assert (await desk.read(jobs=["web"], after=last)).changes == []


async def test_following_tells_what_is_committed_as_it_comes(desk: Desk) -> None:
    live(desk.book, 1)
    answers = Answers()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(events.events, desk.context(answers), m.Events(id=1, follow=True, lines=1))
        await answers.until(1, bodies=2)
        assert [type(body) for body in answers.bodies] == [m.Change, m.Reached]
        for n in range(1, 4):
            desk.book.accept(run_id(n), "web")
            desk.book.finish(run_id(n))
            await answers.until(1 + 4 * n)
        assert [change.kind for change in answers.changes[1:]] == LIFE * 3
        nursery.cancel_scope.cancel()


async def test_a_follower_without_lines_begins_at_the_first(desk: Desk) -> None:
    answers = Answers()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(events.events, desk.context(answers), m.Events(id=1, follow=True, after=0))
        desk.book.accept(run_id(0), "web")
        desk.book.finish(run_id(0))
        await answers.until(4)
        nursery.cancel_scope.cancel()


async def test_who_follows_one_job_hears_now_and_then_how_far_he_is(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "REACHED_EVERY", 20)
    live(desk.book, 1, "web")
    answers = Answers()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(events.events, desk.context(answers), m.Events(id=1, follow=True, jobs=["web"]))
        await answers.until(4)
        for n in range(1, 30):
            desk.book.accept(run_id(n), "other")
            await trio.to_thread.run_sync(desk.book.durable, desk.book.finish(run_id(n)))
        desk.book.accept(run_id(30), "web")
        await answers.until(5)
        nursery.cancel_scope.cancel()
    reached = [body.seq for body in answers.bodies if isinstance(body, m.Reached)]
    assert len(reached) > 2
    assert all(later - earlier > 20 for earlier, later in itertools.pairwise(reached))


async def test_a_slow_reader_costs_one_page_and_holds_up_nobody(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventsource, "PAGE", 8)
    live(desk.book, 50)
    slow, quick = Answers(), Answers()
    slow.open = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(events.events, desk.context(slow), m.Events(id=1, follow=True))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(events.events, desk.context(quick), m.Events(id=1, follow=True))
        await quick.until(200)
        live(desk.book, 50, first=50)
        await quick.until(400)
        assert (slow.writes, slow.bodies) == (1, [])
        slow.open.set()
        await slow.until(400)
        assert slow.changes == quick.changes
        nursery.cancel_scope.cancel()


async def test_who_is_overtaken_by_retention_is_told_and_goes_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventsource, "PAGE", 8)
    live(desk.book, 50)
    every = (await desk.read()).changes
    answers = Answers()
    answers.open = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(events.events, desk.context(answers), m.Events(id=1, follow=True))
        await trio.testing.wait_all_tasks_blocked()
        retain(desk.book, Policy(keep_runs=10))
        answers.open.set()
        await answers.until(8 + 40)
        nursery.cancel_scope.cancel()
    assert answers.changes == every[:8] + every[-40:]
    assert answers.gaps == [m.Missed(after=every[7].seq, before=every[-41].seq + 1)]
    assert answers.bodies.index(answers.gaps[0]) == 8  # where the gap is


async def test_a_cursor_before_what_is_gone_is_told_once(desk: Desk) -> None:
    live(desk.book, 20)
    every = (await desk.read()).changes
    retain(desk.book, Policy(keep_runs=10))
    last_gone = every[-41].seq
    told = await desk.read(after=every[5].seq)
    assert told.bodies[0] == m.Missed(after=every[5].seq, before=last_gone + 1)
    assert told.gaps == told.bodies[:1]
    assert told.changes == every[-40:]
    assert (await desk.read(after=last_gone)).gaps == []
    assert (await desk.read()).gaps == []  # nobody has missed what he did not ask for
    assert (await desk.read(after=every[5].seq, lines=3)).bodies[:-1] == every[-3:]


async def test_bookkeeping_is_not_shown(desk: Desk) -> None:
    desk.book.accept(run_id(0), "web", transient=False)
    desk.book.durable(desk.book.finish(run_id(0)))
    retain(desk.book, Policy(keep_runs=0))
    assert [event.kind for event in desk.book.store.events_page()] == ["retired"]
    assert (await desk.read()).changes == []


async def test_a_cursor_of_another_database_gets_all_there_is(desk: Desk) -> None:
    live(desk.book, 1)
    told = await desk.read(after=10**9)
    assert told.bodies[0] == m.Missed(after=10**9, before=0)
    assert [change.kind for change in told.changes] == LIFE


async def test_readers_are_limited_on_one_connection(desk: Desk) -> None:
    answers = Answers()
    answers.readers = MAX_READERS
    with pytest.raises(Refused, match="at once"):
        await events.events(desk.context(answers), m.Events(id=1))


async def test_the_loop_is_free_between_pages(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventsource, "PAGE", 4)
    live(desk.book, 50)
    turns = 0

    async def others(scope: trio.CancelScope) -> None:
        nonlocal turns
        with scope:
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

    scope = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(others, scope)
        await desk.read()
        scope.cancel()
    assert turns > 50
