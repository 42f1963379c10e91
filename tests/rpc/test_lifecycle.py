"""What the verbs that act wait for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.host.peer import Peer
from jobd.rpc import runs, starting, stopping
from jobd.rpc.access import Access
from jobd.rpc.context import Context
from jobd.rpc.handlers import lifecycle
from jobd.rpc.shares import Share
from jobd.runtime.slots import LimitReached
from jobd.wire import errors
from jobd.wire import messages as m
from tests.runtime.fakes import ROOT, Bed, serving
from tests.runtime.jobs import Jobs


class Answers:
    """The connection of a request: notes what it is told."""

    def __init__(self) -> None:
        self.share = Share(0)
        self.bodies: list[m.AnyBody] = []

    async def item(self, _request: int, body: m.AnyBody) -> None:
        await trio.lowlevel.checkpoint()
        self.bodies.append(body)

    async def reply(self, _request: int, body: m.AnyBody) -> None:
        await trio.lowlevel.checkpoint()
        self.bodies.append(body)

    async def end(self, _request: int) -> None:
        await trio.lowlevel.checkpoint()


def context_of(bed: Bed, answers: Answers) -> Context:
    world = SimpleNamespace(registry=bed.registry, store=bed.store, keeper=bed.keeper, pump=bed.pump)
    return Context(world, answers, Peer(uid=0, gid=0, pid=1), Access())  # type: ignore[arg-type]  # a double


async def test_a_restart_is_answered_when_the_wish_for_it_is_durable(autojump_clock: MockClock) -> None:
    bed, answers = Bed(), Answers()
    async with trio.open_nursery() as nursery:
        await nursery.start(bed.registry.serve)
        bed.submit()
        await wait_all_tasks_blocked()
        bed.journal.held = []
        request = m.Restart(id=1, names=["job-1"], runs=[b"n" * 16], no_block=True)
        nursery.start_soon(lifecycle.restart, context_of(bed, answers), request)
        await wait_all_tasks_blocked()
        assert not answers.bodies
        for commit in bed.journal.held:
            commit.settle(None)
        await wait_all_tasks_blocked()
        (done,) = answers.bodies
        assert isinstance(done, m.Done)
        assert (done.code, done.run) == ("", b"n" * 16)
        nursery.cancel_scope.cancel()


async def test_those_that_a_limit_allows_begin_and_are_told_so(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed, answers = Bed(), Answers()
    async with trio.open_nursery() as nursery:
        await nursery.start(bed.registry.serve)
        for _ in range(2):
            run = bed.submit()
            await wait_all_tasks_blocked()
            bed.keeper.exited(run.id, 0)
            bed.pump.end(run.id)
            await wait_all_tasks_blocked()
        allowed = [True]

        def may_begin(_: object, **__: object) -> bool:
            if not allowed:
                raise LimitReached("cannot queue another run")
            return allowed.pop()

        monkeypatch.setattr(bed.registry.slots, "may_begin", may_begin)
        request = m.Start(id=1, names=["job-1", "job-2"], runs=[b"n" * 16, b"o" * 16])
        await lifecycle.start(context_of(bed, answers), request)
        codes = {body.job: body.code for body in answers.bodies if isinstance(body, m.Done)}
        assert codes == {"job-1": "", "job-2": errors.LIMIT}
        nursery.cancel_scope.cancel()


async def test_a_start_of_what_was_on_its_way_and_has_failed_by_now_has_failed(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        run = bed.submit(type="oneshot")
        await wait_all_tasks_blocked()
        bed.keeper.exited(run.id, 256)
        bed.pump.end(run.id)
        await wait_all_tasks_blocked()
        context = context_of(bed, Answers())
        for action, code in (("start", errors.FAILED), ("try-restart", "")):
            done = await runs.until_up(context, 1, "job-1", b"n" * 16, action, False)
            assert (done.code, done.run) == (code, run.id)


async def test_stop_waits_for_the_run_that_it_stopped_and_not_for_the_next(autojump_clock: MockClock) -> None:
    bed, answers = Bed(), Answers()
    async with trio.open_nursery() as nursery:
        await nursery.start(bed.registry.serve)
        run = bed.submit()
        await wait_all_tasks_blocked()
        bed.journal.held = []
        nursery.start_soon(lifecycle.stop, context_of(bed, answers), m.Stop(id=1, names=["job-1"]))
        await wait_all_tasks_blocked()
        assert run.row.stop_asked
        asked, bed.journal.held = bed.journal.held, None
        for commit in asked:
            commit.settle(None)
        bed.keeper.exited(run.id, 15)  # it ends, and somebody starts the next, before the answer
        bed.pump.end(run.id)
        while not run.gone:
            await trio.lowlevel.checkpoint()
        bed.registry.submit(0, "job-1", b"y" * 16, run.spec, b"\x90", ROOT)
        await wait_all_tasks_blocked()
        assert [body.run for body in answers.bodies if isinstance(body, m.Done)] == [run.id]
        nursery.cancel_scope.cancel()


async def test_many_are_stopped_in_turns_and_those_that_need_each_other_at_once(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "STEP", 2)
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        jobs.make("base")
        for name in ("a", "b", "c"):
            jobs.make(name)
        jobs.make("top", requires=("base",), after=("base",))
        await wait_all_tasks_blocked()
        context = context_of(bed, Answers())
        asked: list[list[str]] = []

        def wished() -> list[str]:
            return [run.row.job for run in bed.registry.runs.values() if run.row.stop_asked]

        async def turn(_: Context) -> None:
            asked.append(wished())
            await trio.lowlevel.checkpoint()

        monkeypatch.setattr(Context, "turn", turn)
        words: dict[str, bytes | None] = {"a": None, "top": None, "b": bytes(16), "base": None, "c": None}
        assert len(await stopping.stop_all(context, "stop", 0, words)) == 3
        assert asked == [["base", "top"], ["base", "a", "top"]]
        assert wished() == ["base", "a", "c", "top"], "the run of b is not the one that was meant"


async def test_many_are_started_in_turns_and_asked_for_again_those_that_are_left(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "STEP", 2)
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        names = ["a", "b", "c", "d", "e"]
        for name in names:
            jobs.make(name)
            await wait_all_tasks_blocked()
            await jobs.end(name)
        seen: list[int] = []

        async def turn(_: Context) -> None:
            seen.append(len(bed.registry.runs))
            if len(seen) == 2:
                raise ConnectionError  # the daemon is killed, say
            await trio.lowlevel.checkpoint()

        monkeypatch.setattr(Context, "turn", turn)
        request = m.Start(id=1, names=names, runs=[bytes([at]) * 16 for at in range(1, 6)], no_block=True)
        with pytest.raises(ConnectionError):
            await lifecycle.start(context_of(bed, Answers()), request)
        assert seen == [2, 4]
        answers = Answers()
        await lifecycle.start(context_of(bed, answers), request)
        assert [body.code for body in answers.bodies if isinstance(body, m.Done)] == [""] * 5
        assert [run.row.job for run in bed.registry.runs.values()] == names


async def test_kill_without_a_keeper_is_refused_and_does_not_wait(autojump_clock: MockClock) -> None:
    bed, answers = Bed(), Answers()
    async with trio.open_nursery() as nursery:
        await nursery.start(bed.registry.serve)
        bed.submit()
        await wait_all_tasks_blocked()
        bed.keeper.script["signal"] = []  # it dies over the signal
        request = m.Kill(id=1, names=["job-1"], signal=1, whom="main")
        nursery.start_soon(lifecycle.kill, context_of(bed, answers), request)
        await wait_all_tasks_blocked()
        assert answers.bodies == []
        bed.keeper.alive = False
        bed.registry.lose_keeper()
        await wait_all_tasks_blocked()
        await lifecycle.kill(context_of(bed, answers), request)
        assert [body.code for body in answers.bodies if isinstance(body, m.Done)] == [errors.UNAVAILABLE] * 2
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("ended", [False, True])
async def test_start_does_not_take_the_id_of_another_jobs_run(autojump_clock: MockClock, ended: bool) -> None:
    async with serving(Bed()) as bed:
        taken, other = bed.submit(), bed.submit()
        await wait_all_tasks_blocked()
        for run in (taken, other) if ended else (other,):
            bed.keeper.exited(run.id, 0)
            await wait_all_tasks_blocked()
            bed.pump.end(run.id)
            await wait_all_tasks_blocked()
        answers = Answers()
        await lifecycle.start(context_of(bed, answers), m.Start(id=1, names=["job-2"], runs=[taken.id]))
        (done,) = answers.bodies
        assert isinstance(done, m.Done)
        assert (done.code, done.run) == (errors.MALFORMED, None)
        assert (bed.row(taken).job, bed.store.jobs[0, "job-2"].runs) == ("job-1", 1)


async def test_kill_of_what_is_seen_to_be_over_is_refused_also_before_that_is_durable(
    autojump_clock: MockClock,
) -> None:
    async with serving(Bed()) as bed:
        run, answers = bed.submit(), Answers()
        await wait_all_tasks_blocked()
        bed.journal.held = []
        bed.keeper.exited(run.id, 0)
        await wait_all_tasks_blocked()
        assert (run.job.row.sub, run.gone) == ("dead", False)
        await lifecycle.kill(context_of(bed, answers), m.Kill(id=1, names=["job-1"], signal=9))
        (done,) = answers.bodies
        assert isinstance(done, m.Done)
        assert done.code == errors.NOT_APPLICABLE
        for commit in bed.journal.held:
            commit.settle(None)
        bed.journal.held = None
        bed.pump.end(run.id)
