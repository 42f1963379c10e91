"""Who gets a name, and what a run that is made again from an earlier one is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from trio.testing import wait_all_tasks_blocked

from jobd.core.spec import JobSpec
from jobd.runtime.submission import NameTaken
from tests.runtime.fakes import ROOT, Bed, serving

if TYPE_CHECKING:
    from jobd.runtime.run import Run


async def ended(bed: Bed, run: Run) -> Run:
    """The run, after its end."""
    await wait_all_tasks_blocked()
    bed.pump.end(run.id)
    bed.keeper.exited(run.id, 0)
    await wait_all_tasks_blocked()
    assert bed.registry.runs == {}
    return run


@pytest.mark.parametrize(
    ("was", "asked", "is_now"),
    [
        ("null", None, "null"),
        ("pipe", None, "null"),  # nobody is there to feed it
        ("pty", None, "pty"),
        ("null", "pipe", "pipe"),
        ("pipe", "pipe", "pipe"),
        ("pty", "null", "null"),
    ],
)
async def test_stdin_of_a_rerun(was: str, asked: str | None, is_now: str) -> None:
    async with serving(Bed()) as bed:
        first = await ended(bed, bed.submit(stdin=was, description="what it does"))
        again = await ended(bed, bed.registry.rerun(first.row, b"n" * 16, ROOT, asked))
        assert again.spec == JobSpec(argv=(b"true",), cwd=b"/", stdin=is_now, description="what it does")
        assert bed.registry.spec(again.row.spec) == again.spec
        assert again.row.env == first.row.env
        assert (again.row.job, again.row.number) == ("job-1", 2)


async def test_a_rerun_of_an_older_run_is_what_the_job_is_now() -> None:
    async with serving(Bed()) as bed:
        first = await ended(bed, bed.submit(description="first"))
        other = JobSpec(argv=(b"true",), cwd=b"/", description="second")
        await ended(bed, bed.registry.submit(0, "job-1", b"2" * 16, other, b"\x90", ROOT))
        await ended(bed, bed.registry.rerun(first.row, b"3" * 16, ROOT))
        assert bed.registry.spec(bed.store.jobs[0, "job-1"].spec).description == "first"
        assert bed.replayed().jobs == bed.store.jobs


async def test_live_runs_of_one_command_share_its_decoded_definition() -> None:
    async with serving(Bed()) as bed:
        specs = [JobSpec(argv=(b"true",), cwd=b"/"), JobSpec(argv=(b"true",), cwd=b"/")]
        first, second = (
            bed.registry.submit(0, f"a-{number}", bytes([number]) * 16, spec, b"\x90", ROOT)
            for number, spec in enumerate(specs)
        )
        assert first.spec is second.spec
        assert bed.registry.spec(first.row.spec) is first.spec


async def test_a_job_with_a_live_run_has_no_second_one() -> None:
    async with serving(Bed()) as bed:
        run = bed.submit()
        await wait_all_tasks_blocked()
        with pytest.raises(NameTaken):
            bed.registry.rerun(run.row, b"n" * 16, ROOT)


async def test_a_rerun_of_a_run_that_is_not_written_yet_is_refused_for_that() -> None:
    async with serving(Bed()) as bed:
        run = bed.submit()
        bed.store.blobs.pop(run.row.env)
        with pytest.raises(NameTaken):
            bed.registry.rerun(run.row, b"n" * 16, ROOT)


async def test_a_rerun_whose_definition_is_gone() -> None:
    async with serving(Bed()) as bed:
        run = await ended(bed, bed.submit())
        del bed.store.blobs[run.row.env]
        with pytest.raises(KeyError):
            bed.registry.rerun(run.row, b"n" * 16, ROOT)
        assert bed.registry.runs == {}
