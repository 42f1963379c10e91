"""Runs that would wait for themselves: by jobs that come after theirs, on doubles."""

from __future__ import annotations

import pytest
from trio.testing import wait_all_tasks_blocked

from jobd.core.after import OK, Need
from jobd.core.spec import JobSpec
from jobd.runtime import circles
from tests.runtime.fakes import ROOT, Bed, serving
from tests.runtime.jobs import Jobs

SPEC = JobSpec(argv=(b"true",), cwd=b"/")


def need(run: object) -> Need:
    row = run.row  # type: ignore[attr-defined]
    return Need(row.owner, row.run, OK)


async def test_who_comes_after_a_job_is_not_waited_for_by_it() -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        bed.registry.queues.add(0, "q", 0, ROOT)
        web = jobs.make("web", queue="q", after=("db",))
        last = jobs.behind("mid", (web, OK))
        alone = jobs.make("alone", queue="q")
        await wait_all_tasks_blocked()

        def closes(name: str, *runs: object, spec: JobSpec = SPEC) -> str:
            return circles.closes(bed.registry, 0, name, spec, [need(run) for run in runs])

        assert closes("db", web) == "web"
        assert closes("db", alone, last) == "web"
        assert closes("db", alone) == ""
        assert closes("other", web, last) == ""
        assert closes("other", last, spec=JobSpec(argv=(b"true",), cwd=b"/", before=("web",))) == "web"


@pytest.mark.parametrize("status", [0, 256])
async def test_what_runs_or_has_ended_waits_for_nobody(status: int) -> None:
    async with serving(Bed()) as bed:
        jobs = Jobs(bed)
        web = jobs.make("web", after=("db",))
        await wait_all_tasks_blocked()
        assert circles.closes(bed.registry, 0, "db", SPEC, [need(web)]) == ""
        await jobs.end("web", status)
        assert circles.closes(bed.registry, 0, "db", SPEC, [need(web)]) == ""
