"""What follows for other jobs when one changes its state; all of it is committed in the transaction of the change.

A run that has ended is followed by the one that was asked for meanwhile (`next_run`). What is bound to a job that has
ended is stopped, and starts again with it if that starts again by itself. A job that has come to rest has its hooks
started, as systemd's OnFailure and OnSuccess: not between two runs, and not for a run that never began. When an
essential job is at rest, jobd ends.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from jobd.core import exits, graph, records, restarts, service, states
from jobd.core.ids import new_run_id
from jobd.runtime import together
from jobd.runtime.job import Caller
from jobd.runtime.slots import LimitReached
from jobd.runtime.waiting import end_of_array

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobd.core.records import RunRow
    from jobd.core.spec import JobSpec
    from jobd.runtime.job import Job
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run

log = logging.getLogger("jobd.runtime")

# systemd.exec(5), $SERVICE_RESULT: what our other results are called there.
SERVICE_RESULTS: Final = {"stopped": "success", "start-failed": "exit-code", "lost": "resources"}
EXEC_FAILED: Final = 203  # systemd.exec(5): EXIT_EXEC
SIGNALED: Final = 128  # what a shell adds to the number of a signal
MAX_HOOKED: Final = 4096  # hooks whose starts are counted: `alert@%n` is one for each name that a job ever had


class Aftermath:
    """One a registry."""

    def __init__(self, world: Registry) -> None:
        self._world = world
        self._hooked: dict[tuple[int, str], str] = {}  # when hooks were started, as JobRow.starts
        self._later: list[tuple[Job, str]] | None = None

    def follow(self, job: Job, old: str) -> None:
        """A job has changed its state from `old`."""
        self._world.ordering.moved(job)
        if job.row.array_of:
            self._world.arrays.moved(job)
        if job.row.sub in states.NO_RUN and old not in states.AT_REST:
            if self._later is None:
                self._ended(job, old)
            else:
                self._later.append((job, old))

    @contextmanager
    def later(self) -> Iterator[None]:
        """Within, ends are only gathered: what follows from them is done when the block is left."""
        self._later = []
        yield
        ended, self._later = self._later, None
        for job, old in ended:
            if job.row.sub in states.NO_RUN:  # and has not begun anew, as another's hook
                self._ended(job, old)

    def _ended(self, job: Job, old: str) -> None:
        run = job.run
        if self._world.stopping:
            return
        next_run = None if run is None else run.row.next_run
        self._tell_waiting(job, run, next_run)
        ends = next_run is None and job.row.sub in states.AT_REST
        self._stop_bound(job, again=not ends)
        if run is not None and next_run is not None:
            by, cause = run.following or self._asked(run.row)
            together.begin_next(self._world, job.row, next_run, by, cause)
            self._world.waiting.ended(run.row.owner, run.id, run.row.result or "")  # if nothing has come of that
        elif ends:
            self._at_rest(job, old)
            self._world.singletons.take_over(job)

    def _tell_waiting(self, job: Job, run: Run | None, next_run: bytes | None) -> None:
        """Those that wait for the end of this run; not if another follows it."""
        replaced = run is not None and next_run is not None and run.row.result == restarts.STOPPED
        if job.row.sub == states.AUTO_RESTART or job.row.latest is None or replaced:
            return
        row = self._latest(job)
        result = end_of_array(job.row) if job.row.array else "" if row is None else row.result or ""
        self._world.waiting.ended(job.row.owner, job.row.latest, result)

    def _asked(self, row: RunRow) -> tuple[Caller | None, str]:
        """Who has asked an earlier daemon for the run that follows, and why."""
        for event in self._world.store.last_events_of_run(row.owner, row.job, row.run):
            if event.data.get("next_run") == row.next_run:
                gid = event.data.get(records.BY_GID)
                by = None if event.by_uid is None else Caller(event.by_uid, int(str(gid or 0)), event.by_pid or 0)
                return by, str(event.data.get(records.CAUSE, ""))
        return None, ""

    # --- what is bound to it --------------------------------------------------------------------------------------
    def _stop_bound(self, job: Job, again: bool) -> None:
        owner, name = job.row.owner, job.row.job
        for by in self._world.catalog.graphs.of(owner).named_by(name, graph.BINDS_TO):
            bound = self._world.jobs.get((owner, by))
            if bound is None or bound is job or bound.row.sub in (*states.AT_REST, states.QUEUED):
                continue
            if bound.row.sub == states.AUTO_RESTART and again:
                continue
            if bound.run is not None and bound.run.row.stop_asked:
                continue
            reason = f"it is bound to {name}, which has ended"
            next_run = new_run_id() if again else None
            cause = f"{together.RESTARTED_WITH} {name}"
            together.stop_one(self._world, bound, None, reason=reason, in_turn=False, next_run=next_run, cause=cause)

    # --- hooks ----------------------------------------------------------------------------------------------------
    def _at_rest(self, job: Job, old: str) -> None:
        row = job.row
        try:
            spec = self._world.spec(row.spec)
        except KeyError:
            return
        failed = row.sub == states.FAILED
        hooks = spec.on_failure if failed else spec.on_success
        latest = self._latest(job)
        began = old not in (states.QUEUED, states.AUTO_RESTART) and latest is not None and latest.result != "canceled"
        if hooks and (failed or began):
            self._start_hooks(job, service.HOOKS[0 if failed else 1], hooks)
        if spec.essential and (failed or began):
            self._end_essential(job)

    def _start_hooks(self, job: Job, kind: str, hooks: Sequence[str]) -> None:
        owner, world = job.row.owner, self._world
        env = tuple(word.encode() for word in monitor_environment(job, self._latest(job)))
        for hook in hooks:
            if not self._may_start(owner, hook):
                log.warning("%s of %s is not started: it was, too often", hook, job.row.job)
                continue
            act = together.Act(None, world.bounded(owner), f"{kind.replace('_', ' ')} of {job.row.job}", env)
            try:
                refused = together.start(world, owner, {hook: new_run_id()}, act)
            except (LimitReached, KeyError) as error:
                log.warning("cannot start %s, %s: %s", hook, act.cause, error)
                continue
            if refused:
                log.warning("cannot start %s, %s: %s", hook, act.cause, refused[hook])

    def _may_start(self, owner: int, hook: str) -> bool:
        """Whether the hook's start limit allows it: two jobs may be each other's hooks."""
        row = self._world.catalog.row(owner, hook)
        spec: JobSpec | None = None
        if row is not None:
            try:
                spec = self._world.spec(row.spec)
            except KeyError:
                spec = None
        if spec is None:
            return True  # whoever starts it says what is wrong with it
        key, now = (owner, hook), time.time_ns()
        if not restarts.may_start(spec, self._hooked.get(key, ""), now):
            return False
        if len(self._hooked) >= MAX_HOOKED:
            self._hooked.clear()  # who goes round and round is found out all the same
        self._hooked[key] = restarts.with_start(spec, self._hooked.get(key, ""), now)
        return True

    def _latest(self, job: Job) -> RunRow | None:
        if job.run is not None:
            return job.run.row
        return None if job.row.latest is None else self._world.store.run(job.row.owner, job.row.latest)

    # --- essential jobs -------------------------------------------------------------------------------------------
    def look_for_ends(self) -> None:
        """An earlier daemon of this keeper may have died between the end of an essential job and that of jobd."""
        welcome = self._world.keeper.welcome
        assert welcome is not None
        owner = 0 if self._world.keeper.shared else os.geteuid()
        for row in self._world.catalog.defined(owner).values():
            if row.latest is None or row.sub not in states.AT_REST:
                continue
            run = self._world.store.run(owner, row.latest)
            if run is None or run.keeper != welcome.keeper or run.result == "canceled":
                continue
            try:
                essential = self._world.spec(run.spec).essential  # it may have become that since
            except KeyError:
                continue
            if essential:
                self._world.on_essential(row.job, status_of(run, row.result))

    def _end_essential(self, job: Job) -> None:
        if self._world.keeper.shared and job.row.owner != 0:
            return  # a user's job is nothing that others' depend on
        self._world.on_essential(job.row.job, status_of(self._latest(job), job.row.result))


def status_of(run: RunRow | None, result: str) -> int:
    """What jobd exits with for the end of an essential job: its code, or 128 and its signal."""
    if run is None or run.result == "stopped":
        return 0
    if run.signal is not None:
        return SIGNALED + run.signal
    if run.exit_code is not None:
        return run.exit_code
    return 0 if result == "success" else 1


def monitor_environment(job: Job, run: RunRow | None) -> list[str]:
    """What a hook is told of the job that has ended, as by systemd: MONITOR_UNIT and the others."""
    result = job.row.result
    words = [f"MONITOR_SERVICE_RESULT={SERVICE_RESULTS.get(result, result)}"]
    if run is not None:
        if run.signal is not None:
            kind, status = "dumped" if run.core else "killed", exits.signal_name(run.signal).removeprefix("SIG")
        else:
            kind = "exited"
            status = str(EXEC_FAILED if run.step else run.exit_code if run.exit_code is not None else "")
        if status:
            words += [f"MONITOR_EXIT_CODE={kind}", f"MONITOR_EXIT_STATUS={status}"]
        words.append(f"MONITOR_INVOCATION_ID={run.run.hex()}")
    return [*words, f"MONITOR_UNIT={job.row.job}"]
