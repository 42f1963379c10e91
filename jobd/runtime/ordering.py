"""Which runs wait for other jobs, and which stops do. Asked by the walks of runs, which it wakes when jobs change.

Theory. Nothing is planned ahead and nothing remembered: what a run waits for is read from the states of the jobs that
it comes after, whenever it asks. All runs of a start are accepted at once, and all wishes of a stop; so what is to be
waited for is under way (or wished to stop) from the first moment, and a daemon that is killed in the middle leaves the
next one all that it needs.

A run that waits is noted with the one job that it waits for, and asks again when that one has changed; if it is
something that it requires that comes to rest, at once. So a change costs what depends on it, however many jobs there
are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobd.core import graph as graphs
from jobd.core import records, states

if TYPE_CHECKING:
    from jobd.core.graph import Graph
    from jobd.runtime.job import Job
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run

Key = tuple[int, str]
# A job that is in one of these, or that is to be stopped, is on its way: what comes after it waits.
UNDER_WAY: Final = states.ACTIVE_STATE.keys() - states.NO_RUN - {states.RUNNING, states.EXITED}
UP: Final = (states.RUNNING, states.EXITED, states.RELOAD)


class Ordering:
    """One a daemon. Whoever it holds up is woken (`run.wake`) to ask again."""

    def __init__(self, world: Registry) -> None:
        self._world = world
        self._waiting: dict[Key, dict[Run, None]] = {}  # for whom
        self._for: dict[Run, Key] = {}  # the same, by who waits
        self._doubtful: set[Run] = set()  # that require something which has come to rest meanwhile

    # --- starts ---------------------------------------------------------------------------------------------------
    def holds(self, run: Run) -> bool:
        """Whether a queued run waits for what comes before it. It does not if something that it requires is lacking."""
        other = self.before(run.row.owner, run.row.job)
        if not other:
            return False
        if run in self._doubtful:
            self._doubtful.discard(run)
            if self.missing(run):
                return False
        self._wait(run, other)
        return True

    def before(self, owner: int, name: str) -> str:
        """The first job that this one has to wait for, if it were to start now; "" if there is none."""
        graph = self._world.catalog.graphs.of(owner)
        if graph.is_alone(name):
            return ""
        demanded = {other for _, other in graph.demands(name)}
        for other in graph.earlier(name):
            if other != name and self._is_under_way(owner, other, other in demanded):
                return other
        for other in graph.named(name, graphs.BINDS_TO):
            if self._sub(owner, other) == states.AUTO_RESTART:
                return other
        for other in graph.opponents(name):
            if other != name and self._sub(owner, other) not in states.AT_REST:
                return other
        return ""

    def _is_under_way(self, owner: int, name: str, demanded: bool) -> bool:
        job = self._world.jobs.get((owner, name))
        if job is None:
            return False
        if job.row.sub == states.AUTO_RESTART:
            return demanded  # what is not needed is not waited for again and again
        to_stop = job.run is not None and bool(job.run.row.stop_asked)
        return job.row.sub in UNDER_WAY or (to_stop and job.row.sub not in states.NO_RUN)

    def _sub(self, owner: int, name: str) -> str:
        """The state of a job; what is not live is at rest."""
        job = self._world.jobs.get((owner, name))
        return states.DEAD if job is None else job.row.sub

    def missing(self, run: Run) -> str:
        """Why a run cannot begin, for want of another job (`it requires db, which has failed (exit-code)`); or ""."""
        graph = self._world.catalog.graphs.of(run.row.owner)
        for kind, other in graph.demands(run.row.job):
            why = self._lack(run.row.owner, other, kind)
            if why:
                return f"it {graphs.WORDS[kind]} {other}, which {why}"
        return ""

    def _lack(self, owner: int, name: str, kind: str) -> str:
        job = self._world.jobs.get((owner, name))
        row = self._world.catalog.row(owner, name) if job is None else job.row
        if row is None:
            return "does not exist"
        if row.sub == states.FAILED:
            return f"has failed ({row.result})"
        return "is not active" if kind == graphs.BINDS_TO and row.sub in states.AT_REST else ""

    # --- stops ----------------------------------------------------------------------------------------------------
    def holds_stop(self, run: Run) -> bool:
        """Whether a run whose stop was asked for waits for what has to be stopped before it."""
        other = self._after(run)
        if other:
            self._wait(run, other)
        return bool(other)

    def _after(self, run: Run) -> str:
        graph = self._world.catalog.graphs.of(run.row.owner)
        for other in graph.later(run.row.job):
            job = self._world.jobs.get((run.row.owner, other))
            if job is not None and job.run not in (None, run) and is_leaving(job):
                return other
        return ""

    # --- waking ---------------------------------------------------------------------------------------------------
    def waits(self, run: Run) -> str:
        """What a run waits for, for people: `for db (start)`; "" when it waits for no other job."""
        other = ""
        if run.row.state == records.QUEUED and not run.row.stop_asked:
            other = self.before(run.row.owner, run.row.job)
        elif run.row.stop_asked and run.job.row.sub in (*UP, states.START):
            other = self._after(run)
        return f"for {other} ({self._sub(run.row.owner, other)})" if other else ""

    def _wait(self, run: Run, other: str) -> None:
        key = run.row.owner, other
        if self._for.get(run) != key:
            self._leave(run)
            self._for[run] = key
            self._waiting.setdefault(key, {})[run] = None

    def _leave(self, run: Run) -> None:
        key = self._for.pop(run, None)
        if key is not None:
            line = self._waiting[key]
            del line[run]
            if not line:
                del self._waiting[key]

    def moved(self, job: Job) -> None:
        """A job has changed its state, or has a new run, or none any more."""
        owner, name = job.row.owner, job.row.job
        for run in self._waiting.pop((owner, name), ()):
            del self._for[run]
            run.wake.set()
        if job.row.sub in states.AT_REST:
            self._tell_dependents(self._world.catalog.graphs.of(owner), owner, name)

    def _tell_dependents(self, graph: Graph, owner: int, name: str) -> None:
        """What requires it need not wait for the rest of what it comes after."""
        for kind in graphs.DEMANDS:
            for by in graph.named_by(name, kind):
                other = self._world.jobs.get((owner, by))
                if other is not None and other.run is not None and other.row.sub == states.QUEUED:
                    self._doubtful.add(other.run)
                    other.run.wake.set()

    def forget(self, run: Run) -> None:
        """Nobody walks it any more."""
        self._doubtful.discard(run)
        self._leave(run)


def is_leaving(job: Job) -> bool:
    """Whether a job is on its way to rest: it is being stopped, or is to be, or its main process has ended."""
    if job.row.sub in states.NO_RUN or job.run is None:
        return False
    return bool(job.run.row.stop_asked) or job.row.active == "deactivating"
