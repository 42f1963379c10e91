"""`hold`, `release` and `cancel`: what is recorded, what begins, and what is refused."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.core import spec as specs
from jobd.core.spec import JobSpec
from jobd.rpc import stopping, views
from jobd.rpc.context import Context
from jobd.rpc.handlers import hold, lifecycle
from jobd.runtime.recovery import recover
from jobd.wire import errors
from jobd.wire import messages as m
from tests.rpc.test_lifecycle import Answers, context_of
from tests.runtime.fakes import ROOT, Bed, serving
from tests.runtime.jobs import Jobs

HANDLERS = {m.Hold: hold.hold, m.Release: hold.release, m.CancelQueued: hold.cancel}
Act = m.Hold | m.Release | m.CancelQueued


async def ask(bed: Bed, request: Act) -> list[str]:
    """The codes of the answers."""
    answers = Answers()
    await HANDLERS[type(request)](context_of(bed, answers), request)  # type: ignore[operator]  # the handler is the request's
    return [body.code for body in answers.bodies if isinstance(body, m.Done)]


def act(kind: type[Act], *names: str) -> Act:
    return kind(id=1, names=list(names))


def kinds(bed: Bed) -> list[str]:
    return [event.kind for event in bed.store.events if event.kind in ("held", "released", "canceled")]


async def test_what_is_held_begins_when_it_is_released(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        run = jobs.submit("late", 0, {"held": True}, {})
        await wait_all_tasks_blocked()
        assert (run.row.state, views.job_view(bed.registry, run.job.row).sub) == ("queued", "held")
        assert views.waits(bed.registry, run) == "until it is released"
        assert await ask(bed, act(m.Hold, "late")) == [""]
        assert kinds(bed) == []
        assert await ask(bed, act(m.Release, "late")) == [""]
        await wait_all_tasks_blocked()
        assert run.row.state == "running"
        assert kinds(bed) == ["released"]
        jobs.check()


async def test_what_runs_is_neither_held_nor_canceled(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        jobs.make("runs")
        await wait_all_tasks_blocked()
        for kind in (m.Hold, m.CancelQueued):
            assert await ask(bed, act(kind, "runs")) == [errors.NOT_APPLICABLE]
        assert await ask(bed, act(m.Release, "runs")) == [""]
        assert jobs.sub("runs") == "running"
        await jobs.end("runs")
        for kind in (m.Hold, m.CancelQueued):
            assert await ask(bed, act(kind, "runs", "none")) == [errors.NOT_APPLICABLE, errors.NOT_FOUND]


async def test_those_in_line_behind_a_run_are_canceled_and_it_goes_on(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        jobs.make("one")
        await wait_all_tasks_blocked()
        env = specs.encode_env([])
        waiting = [
            jobs.world.submit(0, "one", jobs.id(), JobSpec(argv=(b"true",), cwd=b"/"), env, ROOT, singleton=True)
            for _ in range(2)
        ]
        assert views.waits(bed.registry, waiting[1]) == "for one#2 to end"
        assert await ask(bed, act(m.CancelQueued, "one")) == [""]
        assert [(run.row.result, run.gone) for run in waiting] == [("canceled", True)] * 2
        assert jobs.sub("one") == "running"
        assert await ask(bed, act(m.CancelQueued, "one")) == [errors.NOT_APPLICABLE]
        jobs.check()


@pytest.mark.parametrize("ends_all", [False, True])
async def test_of_a_long_line_others_have_their_turns(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, ends_all: bool
) -> None:
    monkeypatch.setattr(stopping, "STEP", 2)
    left: list[int] = []
    async with serving(Bed()) as bed:
        spec, env = JobSpec(argv=(b"true",), cwd=b"/"), specs.encode_env([])
        for at in range(1, 7):
            bed.registry.submit(0, "one", at.to_bytes(16, "big"), spec, env, ROOT, singleton=True)
            await wait_all_tasks_blocked()
        context = context_of(bed, Answers())

        async def turn(_: Context) -> None:
            left.append(len(bed.registry.singletons.line(0, "one")))
            await trio.lowlevel.checkpoint()

        monkeypatch.setattr(Context, "turn", turn)
        if ends_all:
            await lifecycle.stop(context, m.Stop(id=1, names=["one"], no_block=True))
        else:
            await hold.cancel(context, m.CancelQueued(id=1, names=["one"]))
        await wait_all_tasks_blocked()
        assert left[:2] == [3, 1]
        assert kinds(bed) == ["canceled"] * 5
        assert (bed.registry.jobs[0, "one"].row.sub == "running") is not ends_all
        numbers = [bed.store.runs[event.run or b""].number for event in bed.store.events if event.kind == "canceled"]
        assert numbers == [5, 6, 3, 4, 2]


async def test_who_runs_already_is_told_of_stop(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        Jobs(bed).make("runs")
        await wait_all_tasks_blocked()
        answers = Answers()
        await hold.cancel(context_of(bed, answers), m.CancelQueued(id=1, names=["runs"]))
        (done,) = answers.bodies
        assert isinstance(done, m.Done)
        assert done.text == "cannot cancel runs: it has begun already; jobctl stop runs ends it"


async def test_a_hold_takes_a_run_out_of_its_line(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        first = jobs.make("first")
        run = jobs.behind("last", (first, "any"))
        await wait_all_tasks_blocked()
        assert await ask(bed, act(m.Hold, "last")) == [""]
        await jobs.end("first")
        assert (run.row.state, run.row.after, run.row.held) == ("queued", "", True)
        assert await ask(bed, act(m.Release, "last")) == [""]
        await wait_all_tasks_blocked()
        assert run.row.state == "running"
        jobs.check()


async def test_what_is_canceled_never_begins(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        run = jobs.submit("late", 0, {"held": True}, {})
        await wait_all_tasks_blocked()
        assert await ask(bed, act(m.CancelQueued, "late")) == [""]
        assert (run.row.state, run.row.result, jobs.sub("late")) == ("finished", "canceled", "dead")
        assert await ask(bed, act(m.CancelQueued, "late")) == [""], "a retry"
        await wait_all_tasks_blocked()
        assert kinds(bed) == ["canceled"]
        assert {event.by_uid for event in bed.store.events if event.kind == "canceled"} == {0}
        assert not bed.registry.runs
        assert "spawn" not in bed.keeper.ops()
        jobs.check()


async def test_it_is_answered_when_it_is_durable(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed, trio.open_nursery() as nursery:
        Jobs(bed).submit("late", 0, {"held": True}, {})
        await wait_all_tasks_blocked()
        bed.journal.held = []
        told: list[str] = []

        async def cancel() -> None:
            told.extend(await ask(bed, act(m.CancelQueued, "late")))

        nursery.start_soon(cancel)
        await wait_all_tasks_blocked()
        assert told == []
        for commit in bed.journal.held:
            commit.settle(None)
        await wait_all_tasks_blocked()
        assert told == [""]


async def test_a_run_that_is_not_accepted_for_good_is_canceled_by_its_own_walk(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed, trio.open_nursery() as nursery:
        bed.journal.held = []
        run = Jobs(bed).submit("late", 0, {"held": True}, {})
        told: list[str] = []

        async def cancel() -> None:
            told.extend(await ask(bed, act(m.CancelQueued, "late")))

        nursery.start_soon(cancel)
        await wait_all_tasks_blocked()
        while bed.journal.held:
            bed.journal.held.pop(0).settle(None)
            await wait_all_tasks_blocked()
        assert told == [""]
        assert run.row.result == "canceled"


@pytest.mark.parametrize("only", [b"x" * 16, None])
async def test_only_the_run_that_is_meant(autojump_clock: MockClock, only: bytes | None) -> None:
    async with serving(Bed()) as bed:
        run = Jobs(bed).submit("late", 0, {"held": True}, {})
        await wait_all_tasks_blocked()
        asked = m.CancelQueued(id=1, names=["late"], runs=[run.id if only is None else only])
        assert await ask(bed, asked) == ["" if only is None else errors.NOT_APPLICABLE]


async def test_a_hold_survives_the_daemon(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        Jobs(bed).submit("late", 0, {"held": True}, {})
        await wait_all_tasks_blocked()
    again = Bed()
    again.store.runs, again.store.jobs, again.store.blobs = bed.store.runs, bed.store.jobs, bed.store.blobs
    async with serving(again):
        await recover(again.registry)
        again.registry.recovered()
        await wait_all_tasks_blocked()
        (run,) = again.registry.runs.values()
        assert run.row.state == "queued"
        assert await ask(again, act(m.Release, "late")) == [""]
        await wait_all_tasks_blocked()
        assert run.row.state == "running"
