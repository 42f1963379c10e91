"""Acts on jobs that nobody walks: one owner all the same, whatever comes in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from trio.testing import wait_all_tasks_blocked

from jobd.core import states
from jobd.core.spec import JobSpec
from jobd.runtime import madeupnames, resting
from tests.runtime.fakes import ROOT, Bed, serving
from tests.runtime.test_registry import ended

if TYPE_CHECKING:
    import pytest

KEY = (0, "job-1")
SPEC = JobSpec(argv=(b"true",), cwd=b"/")


async def failed(bed: Bed) -> None:
    """A job at rest that has failed."""
    bed.keeper.script["go"] = [("exec-failed", {"step": "chdir", "errno": 2})]
    bed.submit()
    await wait_all_tasks_blocked()
    bed.keeper.script["go"] = [("execd", {})]
    assert bed.store.jobs[KEY].sub == states.FAILED
    assert bed.registry.jobs == {}


async def test_reset_of_a_failed_job() -> None:
    async with serving(Bed()) as bed:
        await failed(bed)
        for _ in range(2):
            await resting.reset_failed(bed.registry, KEY, ROOT)
            row = bed.store.jobs[KEY]
            assert (row.sub, row.active, row.result) == ("dead", "inactive", "success")
        assert [event.kind for event in bed.store.events].count("reset-failed") == 1
        assert bed.store.events[-1].by_uid == ROOT.uid
        assert bed.registry.jobs == {}
        assert bed.replayed().jobs == bed.store.jobs
        await resting.reset_failed(bed.registry, (0, "no-such-job"), ROOT)


async def test_reset_leaves_alone_what_has_not_failed() -> None:
    async with serving(Bed()) as bed:
        run = bed.submit()
        await wait_all_tasks_blocked()
        count = len(bed.store.events)
        await resting.reset_failed(bed.registry, KEY, ROOT)  # it runs
        assert len(bed.store.events) == count
        await ended(bed, run)
        count = len(bed.store.events)
        await resting.reset_failed(bed.registry, KEY, ROOT)  # it has succeeded
        assert len(bed.store.events) == count


async def test_reset_of_a_failed_job_whose_output_is_not_at_its_end() -> None:
    async with serving(Bed()) as bed:
        run = bed.submit()
        await wait_all_tasks_blocked()
        bed.keeper.exited(run.id, 1 << 8)
        await wait_all_tasks_blocked()
        assert run.job.row.sub == states.FAILED
        await resting.reset_failed(bed.registry, KEY, ROOT)
        assert bed.store.jobs[KEY].sub == states.DEAD
        bed.pump.end(run.id)
        await wait_all_tasks_blocked()
        assert bed.registry.jobs == {}
        assert (bed.store.jobs[KEY].sub, bed.row(run).result) == (states.DEAD, "exit-code")
        assert bed.replayed().jobs == bed.store.jobs


async def test_a_start_in_the_middle_of_a_reset_builds_on_it() -> None:
    async with serving(Bed()) as bed, trio.open_nursery() as nursery:
        await failed(bed)
        bed.journal.held = []
        nursery.start_soon(resting.reset_failed, bed.registry, KEY, ROOT)
        await wait_all_tasks_blocked()
        assert bed.registry.jobs[KEY].row.sub == states.DEAD  # whoever looks sees it
        run = bed.registry.submit(*KEY, b"n" * 16, SPEC, b"\x90", ROOT)
        held, bed.journal.held = bed.journal.held, None
        for commit in held:
            commit.settle(None)
        await wait_all_tasks_blocked()
        assert bed.registry.jobs[KEY].run is run
        assert (run.row.number, run.job.row.sub) == (2, states.RUNNING)
        await ended(bed, run)
        assert bed.registry.jobs == {}
        assert bed.replayed().jobs == bed.store.jobs


async def test_retention_in_the_middle_of_a_reset_wins() -> None:
    async with serving(Bed()) as bed:
        await failed(bed)
        row = bed.store.jobs.pop(KEY)
        store_job = bed.store.job
        bed.store.job = lambda *_: row  # type: ignore[method-assign]  # it was there when we looked
        count = len(bed.store.events)
        await resting.reset_failed(bed.registry, KEY, ROOT)
        bed.store.job = store_job  # type: ignore[method-assign]
        assert KEY not in bed.store.jobs
        assert len(bed.store.events) == count
        assert bed.registry.jobs == {}


async def test_removal_and_the_numbers_of_runs() -> None:
    async with serving(Bed()) as bed:
        await ended(bed, bed.submit())
        await ended(bed, bed.registry.submit(*KEY, b"2" * 16, SPEC, b"\x90", ROOT))
        await resting.remove(bed.registry, KEY, False, ROOT)
        assert KEY not in bed.store.jobs
        assert (bed.store.events[-1].kind, bed.store.events[-1].by_uid) == ("removed", ROOT.uid)
        assert bed.replayed().jobs == {}
        run = await ended(bed, bed.registry.submit(*KEY, b"3" * 16, SPEC, b"\x90", ROOT))
        assert run.row.number == 3
        assert bed.store.jobs[KEY].runs == 3
        assert bed.replayed().jobs == bed.store.jobs


async def test_a_made_up_name_is_not_that_of_a_job_that_was_removed() -> None:
    async with serving(Bed()) as bed:
        name = bed.registry.names.free(0, SPEC)
        assert name == "true-1"
        await ended(bed, bed.registry.submit(0, name, b"1" * 16, SPEC, b"\x90", ROOT))
        await resting.remove(bed.registry, (0, name), False, ROOT)
        bed.registry.names._counters.clear()  # as in the next daemon
        assert bed.registry.names.free(0, SPEC) == "true-2"


async def test_made_up_names_are_counted_without_growing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(madeupnames, "MAX_COUNTERS", 3)
    async with serving(Bed()) as bed:
        for n in range(9):
            spec = JobSpec(argv=(b"cmd%d" % (n % 5),), cwd=b"/")
            name = bed.registry.names.free(0, spec)
            assert name == f"cmd{n % 5}-{n // 5 + 1}"
            await ended(bed, bed.registry.submit(0, name, bytes([n]) * 16, spec, b"\x90", ROOT))
            assert len(bed.registry.names._counters) <= 3


async def test_a_purge_is_over_when_the_runs_are_gone() -> None:
    async with serving(Bed()) as bed, trio.open_nursery() as nursery:
        await ended(bed, bed.submit())
        over = trio.Event()

        async def remove() -> None:
            await resting.remove(bed.registry, KEY, True, ROOT)
            over.set()

        nursery.start_soon(remove)
        await wait_all_tasks_blocked()
        assert KEY not in bed.store.jobs
        later = bed.registry.submit(*KEY, b"n" * 16, SPEC, b"\x90", ROOT)  # none of those that go
        await ended(bed, later)
        bed.journal.changed.set()
        await wait_all_tasks_blocked()
        assert not over.is_set()
        bed.store.purged()
        bed.journal.changed.set()
        await wait_all_tasks_blocked()
        assert over.is_set()
        assert list(bed.store.runs) == [later.id]
