"""Runs that wait for the live run of their own job (`--singleton`): the first takes over when the job comes to rest.

Theory. A job has one live run, and its row is about that one. A run in line is a run of the same job, durable and with
a number of its own, that the job's row says nothing of yet; nobody walks it. In the transaction in which the job comes
to rest, and after its hooks, the first in line becomes its newest: what the job is, and how, is from then on what this
run was submitted with. So a daemon that is killed finds either the one or the other, and in line whoever still is.

To stop the job means all of it: those in line are canceled first. Whatever else ends it lets the next one begin.
"""

from __future__ import annotations

import logging
import time
from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from jobd.core import states
from jobd.core.ids import new_run_id
from jobd.core.queueline import key_of
from jobd.core.records import job_data
from jobd.runtime import together
from jobd.runtime.ending import CANCELED, end_unbegun
from jobd.runtime.slots import LimitReached
from jobd.runtime.submission import Keys, counted, job_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobd.core.queue import QueueKey
    from jobd.core.records import RunRow
    from jobd.runtime.job import Caller, Job
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run

log = logging.getLogger("jobd.runtime")
Key = tuple[int, str]  # owner and name of a job
TURN: Final = "turn"  # the kind of the event


class Undecided(Exception):  # noqa: N818  # an answer, not an error of ours
    """Whether the job has a live run is known when that is durable."""

    def __init__(self, run: Run) -> None:
        super().__init__(run.row.job)
        self.run = run


class Singletons:
    """One a registry."""

    def __init__(self, world: Registry) -> None:
        self._world = world
        self._lines: dict[Key, list[Run]] = {}  # by number, which is the order in which they came

    def must_wait(self, owner: int, name: str) -> Job | None:
        """The job behind whose run a new one of its would wait; None: it may begin, or (of an array) never may.

        Raises:
            Undecided: the live run could still not be accepted.
        """
        job = self._world.jobs.get((owner, name))
        if job is None or job.row.sub in states.AT_REST or job.row.array:
            return None
        run = job.run
        if run is not None and run.accepted is not None and not run.accepted.done:
            raise Undecided(run)
        return job

    def line(self, owner: int, name: str) -> Sequence[Run]:
        """Who waits for a job's run, in order. Not to be kept over an await, nor over a change."""
        return self._lines.get((owner, name), ())

    def counts(self) -> Counter[tuple[int, QueueKey | None]]:
        """How many are in line, by owner and queue."""
        runs = (run.row for line in self._lines.values() for run in line)
        return Counter((row.owner, key_of(row.owner, row.queue)) for row in runs)

    def before(self, run: Run) -> RunRow | None:
        """Behind which run one in line is."""
        line, at = self._place(run)
        if at is None:
            return None
        if at:
            return line[at - 1].row
        latest = run.job.row.latest
        return None if latest is None else self._world.waiting.row((run.row.owner, latest))

    def _place(self, run: Run) -> tuple[Sequence[Run], int | None]:
        """Its line, and where in it it is."""
        line = self.line(run.row.owner, run.row.job)
        at = bisect_left(line, run.row.number, key=lambda other: other.row.number)
        return line, at if at < len(line) and line[at] is run else None

    def words(self, run: Run) -> str:
        """What one in line waits for, for people: `for make#3 to end`."""
        before = self.before(run)
        return "" if before is None else f"for {before.job}#{before.number} to end"

    # --- the line -------------------------------------------------------------------------------------------------
    def join(self, run: Run) -> None:
        """It waits from now on, behind all others."""
        self._lines.setdefault((run.row.owner, run.row.job), []).append(run)

    def forget(self, run: Run) -> None:
        """It waits no more."""
        _, at = self._place(run)
        if at is not None:
            key = run.row.owner, run.row.job
            del self._lines[key][at]
            if not self._lines[key]:
                del self._lines[key]

    def undo(self, run: Run) -> None:
        """One in line could not be accepted."""
        row = run.job.row
        if row.runs == run.row.number:
            run.job.row = replace(row, runs=row.runs - 1)

    def rebind(self, owner: int, name: str) -> None:
        """The job is another object from now on."""
        job = self._world.jobs.get((owner, name))
        for run in self.line(owner, name):
            if job is not None:
                run.job = job

    def cancel(self, owner: int, name: str, by: Caller | None, reason: str = "", count: int | None = None) -> None:
        """None of them begins, or none of the last `count`. Within the transaction of the act."""
        for run in self.line(owner, name)[0 if count is None else -count :]:
            self.forget(run)
            end_unbegun(run, self._world, CANCELED, reason, by)

    # --- turns ----------------------------------------------------------------------------------------------------
    def take_over(self, job: Job) -> None:
        """A job is at rest: the first in line is its newest run. Within the transaction of its end."""
        owner, name = job.row.owner, job.row.job
        line = self.line(owner, name)
        if not line or job.row.sub not in states.AT_REST or self._world.stopping:
            return
        if job.row.masked:
            self.cancel(owner, name, None, "the job is masked")
            return
        run = line[0]
        self.forget(run)
        row, now = run.row, time.time_ns()
        keys = Keys(row.spec, b"", row.env, b"")
        sub = states.after(job.row.sub, states.ENQUEUE)
        new = counted(job_row(owner, name, row.run, job.row.runs, keys, job.row, sub, now), run.spec, "", now)
        run.job = job
        job.hand_over(run, TURN, {"in_line": False, **job_data(new, job.row)})
        self._world.catalog.graphs.know(job.row)
        self._world.ordering.moved(job)
        self._start_needs(job)
        if self._world.ordering.before(owner, name):
            self._world.start_task(run)
        else:
            self._world.park(run)
            self._world.slots.join(run)

    def take_over_all(self) -> None:
        """After a start of jobd: what had come to rest as the last one left."""
        for key in list(self._lines):
            job = self._world.jobs.get(key)
            if job is not None:
                self.take_over(job)

    def _start_needs(self, job: Job) -> None:
        """What the run requires is started with it, as at a submission."""
        owner, name = job.row.owner, job.row.job
        graph = self._world.catalog.graphs.of(owner)
        if graph.is_alone(name):
            return
        needed = {other: new_run_id() for _, other in graph.demands(name)}
        act = together.Act(None, self._world.bounded(owner), f"required by {name}")
        try:
            refused = together.start(self._world, owner, needed, act) if needed else {}
        except (LimitReached, KeyError) as error:
            log.warning("cannot start what %s requires: %s", name, error)
            return
        for other, refusal in refused.items():
            log.warning("cannot start %s, which %s requires: %s", other, name, refusal)
