"""`rm` and `reset-failed`: what is waited for, what is refused, and what is the same when asked again."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.rpc.context import Refused
from jobd.rpc.handlers import remove
from jobd.wire import errors
from jobd.wire import messages as m
from tests.rpc.test_lifecycle import Answers, context_of
from tests.runtime.fakes import ROOT, Bed, serving
from tests.runtime.test_registry import ended

KEY = (0, "job-1")


def rm(*, stop: bool = False, purge: bool = False) -> m.Remove:
    return m.Remove(id=1, names=["job-1"], stop=stop, purge=purge)


def codes(answers: Answers) -> list[str]:
    return [body.code for body in answers.bodies if isinstance(body, m.Done)]


async def ask(bed: Bed, request: m.Remove) -> list[str]:
    answers = Answers()
    await remove.remove(context_of(bed, answers), request)
    return codes(answers)


async def test_what_runs_is_not_removed_unless_it_is_to_be_stopped(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed, trio.open_nursery() as nursery:
        run = bed.submit()
        await wait_all_tasks_blocked()
        assert await ask(bed, rm()) == [errors.EXISTS]
        assert await ask(bed, rm(purge=True)) == [errors.EXISTS]
        answers = Answers()
        nursery.start_soon(remove.remove, context_of(bed, answers), rm(stop=True))
        await wait_all_tasks_blocked()
        assert run.row.stop_asked == "stopped"
        bed.keeper.exited(run.id, 15)
        await wait_all_tasks_blocked()
        assert (codes(answers), KEY in bed.store.jobs) == ([], True)  # its output is not at its end
        bed.pump.end(run.id)
        await wait_all_tasks_blocked()
        assert (codes(answers), KEY in bed.store.jobs) == ([""], False)
        assert bed.row(run).result == "stopped"
        assert await ask(bed, rm()) == [errors.NOT_FOUND]


async def test_what_is_to_start_again_counts_as_running(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        run = bed.submit(restart="always", restart_delay_usec=3600 * 10**6)
        await wait_all_tasks_blocked()
        bed.keeper.exited(run.id, 0)
        await wait_all_tasks_blocked()
        assert await ask(bed, rm()) == [errors.EXISTS]  # while its output is read …
        bed.pump.end(run.id)
        await wait_all_tasks_blocked()
        assert await ask(bed, rm()) == [errors.EXISTS]  # … and afterwards
        assert await ask(bed, rm(stop=True)) == [""]
        assert (bed.store.jobs, bed.registry.jobs) == ({}, {})


async def test_what_is_queued_counts_as_running(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        bed.keeper.alive = False
        run = bed.submit()
        await wait_all_tasks_blocked()
        answers = Answers()
        await remove.remove(context_of(bed, answers), rm())
        (body,) = answers.bodies
        assert isinstance(body, m.Done)
        assert (body.code, "it is queued" in body.text, "--now" in body.text) == (errors.EXISTS, True, True)
        assert await ask(bed, rm(stop=True)) == [""]
        assert (bed.row(run).result, KEY in bed.store.jobs) == ("canceled", False)


async def test_while_it_waits_for_output_it_says_so(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed, trio.open_nursery() as nursery:
        run = bed.submit()
        await wait_all_tasks_blocked()
        bed.keeper.exited(run.id, 0)
        await wait_all_tasks_blocked()
        answers = Answers()
        nursery.start_soon(remove.remove, context_of(bed, answers), rm())
        await trio.sleep(2)
        (said,) = answers.bodies
        assert isinstance(said, m.Progress)
        assert "waiting for the end of its output" in said.text
        bed.pump.end(run.id)
        await wait_all_tasks_blocked()
        assert codes(answers) == [""]


async def test_a_run_that_is_started_meanwhile_is_seen_to_as_well(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed, trio.open_nursery() as nursery:
        first = bed.submit()
        await wait_all_tasks_blocked()
        answers = Answers()
        nursery.start_soon(remove.remove, context_of(bed, answers), rm(stop=True, purge=True))
        await wait_all_tasks_blocked()
        bed.keeper.exited(first.id, 15)
        await wait_all_tasks_blocked()
        second = bed.registry.rerun(first.job.row, b"2" * 16, ROOT)  # before the first one's output has ended
        bed.pump.end(first.id)
        await wait_all_tasks_blocked()
        assert second.row.stop_asked == "stopped"
        bed.keeper.exited(second.id, 15)
        bed.pump.end(second.id)
        await wait_all_tasks_blocked()
        assert codes(answers) == []
        assert bed.store.purging[KEY] > second.row.seq
        bed.store.purged()
        bed.journal.changed.set()
        await wait_all_tasks_blocked()
        assert (codes(answers), bed.store.runs) == ([""], {})


async def test_asked_again_it_leaves_alone_who_has_the_name_now(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        first = await ended(bed, bed.submit())
        request = m.Remove(id=1, names=["job-1"], stop=True, runs=[first.id])
        for _ in range(2):
            assert await ask(bed, request) == [""]
        second = bed.registry.submit(*KEY, b"2" * 16, first.spec, b"\x90", ROOT)
        await wait_all_tasks_blocked()
        assert await ask(bed, request) == [""]
        assert not second.row.stop_asked
        await ended(bed, second)
        assert await ask(bed, request) == [""]
        assert KEY in bed.store.jobs
        assert await ask(bed, m.Remove(id=1, names=["job-1"], runs=[bytes(16)])) == [""]  # it knew of none
        assert KEY not in bed.store.jobs
        assert await ask(bed, m.Remove(id=1, names=["job-1"], runs=[bytes(16)])) == [errors.NOT_FOUND]


async def test_a_job_that_was_merely_started_again_is_removed(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        first = await ended(bed, bed.submit())
        await ended(bed, bed.registry.rerun(first.row, b"2" * 16, ROOT))
        assert await ask(bed, m.Remove(id=1, names=["job-1"], runs=[first.id])) == [""]
        assert KEY not in bed.store.jobs


async def test_names_and_runs_that_do_not_fit(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        with pytest.raises(Refused) as refused:
            await ask(bed, m.Remove(id=1, names=["a", "b"], runs=[bytes(16)]))
        assert refused.value.code == errors.INVALID


async def test_asked_again_of_the_next_daemon_while_the_purge_goes_on(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed, trio.open_nursery() as nursery:
        bed.store.purging[KEY] = 7
        answers = Answers()
        request = m.Remove(id=1, names=["job-1"], purge=True, runs=[b"g" * 16])
        nursery.start_soon(remove.remove, context_of(bed, answers), request)
        await wait_all_tasks_blocked()
        assert codes(answers) == []
        bed.store.purged()
        bed.journal.changed.set()
        await wait_all_tasks_blocked()
        assert codes(answers) == [""]


@pytest.mark.parametrize("names", [[], ["job-*"], ["job-1", "job-2", "job-3"]])
async def test_reset_failed_of_all_or_of_some(autojump_clock: MockClock, names: list[str]) -> None:
    async with serving(Bed()) as bed:
        for status in (1 << 8, 0):
            run = bed.submit()
            await wait_all_tasks_blocked()
            bed.keeper.exited(run.id, status)
            await wait_all_tasks_blocked()
            bed.pump.end(run.id)
            await wait_all_tasks_blocked()
        live = bed.submit()  # still closing, and failed
        await wait_all_tasks_blocked()
        bed.keeper.exited(live.id, 9)
        await wait_all_tasks_blocked()
        answers = Answers()
        await remove.reset_failed(context_of(bed, answers), m.ResetFailed(id=1, names=names))
        assert set(codes(answers)) == {""}
        assert {row.active for row in bed.store.jobs.values()} == {"inactive"}
        assert [event.kind for event in bed.store.events].count("reset-failed") == 2
        answers = Answers()
        await remove.reset_failed(context_of(bed, answers), m.ResetFailed(id=1, names=["job-9"]))
        assert codes(answers) == [errors.NOT_FOUND]


async def test_a_finished_job_is_simply_removed(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        await ended(bed, bed.submit())
        assert await ask(bed, rm(stop=True)) == [""]
        assert bed.store.jobs == {}
