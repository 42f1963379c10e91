"""`freeze` and `thaw`: what is recorded ahead of the act, and what is not done."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.rpc.handlers import freeze
from jobd.wire import errors
from jobd.wire import messages as m
from tests.rpc.test_lifecycle import Answers, context_of
from tests.runtime.fakes import ROOT, Bed, serving

FREEZE, THAW = m.Freeze(id=1, names=["job-1"]), m.Thaw(id=1, names=["job-1"])


async def ask(bed: Bed, request: m.Freeze | m.Thaw) -> list[str]:
    """The codes of the answers."""
    answers = Answers()
    handler = freeze.freeze if isinstance(request, m.Freeze) else freeze.thaw
    await handler(context_of(bed, answers), request)  # type: ignore[arg-type]  # the handler is the request's
    return [body.code for body in answers.bodies if isinstance(body, m.Done)]


def kinds(bed: Bed) -> list[str]:
    return [event.kind for event in bed.store.events if event.kind in ("frozen", "thawed")]


async def test_each_change_is_recorded_once(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        run = bed.submit()
        await wait_all_tasks_blocked()
        for request in (FREEZE, FREEZE, THAW, THAW, FREEZE):
            assert await ask(bed, request) == [""]
            assert run.frozen is isinstance(request, m.Freeze)
        assert kinds(bed) == ["frozen", "thawed", "frozen"]
        assert {event.by_uid for event in bed.store.events if event.kind == "frozen"} == {0}
        assert bed.replayed().runs[0, run.id] == run.row


async def test_it_is_durable_before_anything_is_done(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed, trio.open_nursery() as nursery:
        bed.submit()
        await wait_all_tasks_blocked()
        bed.journal.held = []
        nursery.start_soon(ask, bed, FREEZE)
        await wait_all_tasks_blocked()
        assert kinds(bed) == ["frozen"]
        assert bed.keeper.ops("freeze") == []
        bed.journal.held.pop().settle(None)
        await wait_all_tasks_blocked()
        assert bed.keeper.ops("freeze") == ["freeze"]


async def test_asked_again_by_the_same_caller_after_a_daemon_died_over_it(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        run = bed.submit()
        await wait_all_tasks_blocked()
        run.job.note(run, "frozen", ROOT)  # committed, and then the daemon died
        assert await ask(bed, FREEZE) == [""]
        assert run.frozen
        assert kinds(bed) == ["frozen"]
        bed.keeper.say(run.id, "frozen", frozen=False)  # somebody has sent SIGCONT
        run.job.note(run, "thawed", None)
        assert await ask(bed, FREEZE) == [""]
        assert kinds(bed) == ["frozen", "thawed", "frozen"]


async def test_a_stop_that_comes_first_is_not_held(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed, trio.open_nursery() as nursery:
        run = bed.submit()
        await wait_all_tasks_blocked()
        bed.journal.held = []
        answers = Answers()
        nursery.start_soon(freeze.freeze, context_of(bed, answers), FREEZE)
        await wait_all_tasks_blocked()
        run.ask_stop(ROOT)
        for commit in bed.journal.held:
            commit.settle(None)
        await wait_all_tasks_blocked()
        assert [body.code for body in answers.bodies if isinstance(body, m.Done)] == [errors.NOT_APPLICABLE]
        assert bed.keeper.ops("freeze") == []
        assert await ask(bed, THAW) == [errors.NOT_APPLICABLE]


@pytest.mark.parametrize(("says", "code"), [("not held", errors.FAILED), (None, errors.UNAVAILABLE)])
async def test_what_the_keeper_cannot_do(autojump_clock: MockClock, says: str | None, code: str) -> None:
    async with serving(Bed()) as bed:
        run = bed.submit()
        await wait_all_tasks_blocked()
        bed.keeper.freeze_says = says
        assert await ask(bed, FREEZE) == [code]
        assert not run.frozen
        assert kinds(bed) == (["frozen", "thawed"] if says else ["frozen"])


async def test_a_job_at_rest_or_queued_is_not_running(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        bed.keeper.alive = False
        bed.submit()
        await wait_all_tasks_blocked()
        assert await ask(bed, FREEZE) == [errors.NOT_APPLICABLE]
        assert kinds(bed) == []
