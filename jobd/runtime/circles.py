"""Runs that would wait for themselves, found before they are accepted.

A run waits for runs that were there before it, and so for none that waits for it. But it also is the run of a job, and
others may come after that job (`-p after=NAME`), whether it was there yet or not: a run that waits for one of those
would never begin, and nor would that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobd.core import after, records
from jobd.core import graph as graphs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jobd.core.after import Need
    from jobd.core.spec import JobSpec
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run

MAX_LOOKED_AT: Final = (
    2000  # runs: some milliseconds. Who goes round a longer way finds in `status` what waits for what
)


def closes(world: Registry, owner: int, name: str, spec: JobSpec, needs: Iterable[Need]) -> str:
    """The job by which a run of this job, which is to wait for these, would wait for itself; "" if there is none."""
    graph = world.catalog.graphs.of(owner)
    behind = {*spec.before, *graph.named_by(name, graphs.AFTER)}
    if not behind:
        return ""  # as of most
    seen: set[Run] = set()
    todo = [run for need in needs for run in _runs(world, need)]
    while todo and len(seen) < MAX_LOOKED_AT:
        run = todo.pop()
        if run in seen or run.row.state != records.QUEUED:
            continue
        seen.add(run)
        if run.row.owner == owner and run.row.job in behind:
            return run.row.job
        todo += _awaited(world, run)
    return ""


def _awaited(world: Registry, run: Run) -> Iterator[Run]:
    """Whom a run waits for."""
    for need in after.decode(run.row.after, run.row.owner):
        yield from _runs(world, need)
    for other in world.catalog.graphs.of(run.row.owner).earlier(run.row.job):
        job = world.jobs.get((run.row.owner, other))
        if job is not None and job.run is not None:
            yield job.run
    if run.row.in_line and run.job.run is not None:
        yield run.job.run


def _runs(world: Registry, need: Need) -> Iterator[Run]:
    """The live run that is meant; of an array, those of its elements."""
    run = world.run(need.owner, need.run)
    if run is not None:
        yield run
    elif (whole := world.arrays.whole(need.owner, need.run)) is not None:
        for name in world.arrays.live_elements(whole.owner, whole.job):
            job = world.jobs.get((whole.owner, name))
            if job is not None and job.run is not None:
                yield job.run
