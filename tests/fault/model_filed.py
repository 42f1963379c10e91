"""The model of what job files add: definitions, which jobs start with jobd, and what is done to those that run. Pure.

Rules are those of jobctl(1) and jobd.job(5), as in model.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobd.wire import errors
from tests.fault.model import Model
from tests.fault.model_rows import (
    BROKEN,
    BY_FAILING,
    CLEAN_SIGNALS,
    GONE,
    LOADED,
    RUNS,
    STOPPED,
    SUCCESS,
    Ending,
    Job,
    Plan,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fault.model_rows import Run

ADDED, CHANGED, REMOVED, IS_BROKEN = "added", "changed", "removed", "broken"  # what daemon-reload tells


class Filed(Model):
    """All jobs, queues and job files of one example."""

    def __init__(self) -> None:
        super().__init__()
        self.disk: dict[str, Plan | None] = {}  # the job files as they are now; None: one with errors

    # --- files --------------------------------------------------------------------------------------------------
    def daemon_reload(self) -> dict[str, str]:
        """Read all files again; what has changed, by job."""
        told = {name: self._read(name) for name in sorted({*self.disk, *self.jobs})}
        self.tidy()
        return {name: change for name, change in told.items() if change}

    def _read(self, name: str) -> str:
        job = self.jobs.get(name)
        if name not in self.disk:
            if job is None or not job.filed or job.load == GONE:
                return ""
            job.load = GONE
            return REMOVED
        if job is not None and not (job.filed or job.bare) and (job.live or job.sub == "auto-restart"):
            return IS_BROKEN  # the name is taken
        if job is None or job.bare:
            masked = job is not None
            runs = self.past.pop(name, []) if job is None else job.runs
            job = self.jobs[name] = Job(name, Plan(), runs, fresh=True, masked=masked)
        return self._take(job, self.disk[name])

    def _take(self, job: Job, plan: Plan | None) -> str:
        """This job has this definition from now on, and what runs goes on as it was started."""
        is_new = not job.filed or job.load == GONE
        is_same = job.load == LOADED and plan == job.plan
        job.filed, job.read = True, plan
        if plan is None:
            job.load = BROKEN
            return IS_BROKEN
        job.load, job.plan = LOADED, plan
        return ADDED if is_new else "" if is_same else CHANGED

    def tidy(self) -> None:
        """A job whose file is gone goes too, once it is at rest and nobody has said anything else of it."""
        for job in list(self.jobs.values()):
            if job.filed and job.load == GONE and job.sub == "dead" and not (job.enabled or job.masked):
                self._forget(job)

    def settle(self) -> None:
        super().settle()
        self.tidy()

    def obstacle(self, job: Job) -> str:
        if code := super().obstacle(job):
            return code
        return {LOADED: "", BROKEN: errors.BAD_SETTING, GONE: errors.NOT_FOUND}[job.load]

    def end(self, job: Job, ending: Ending) -> None:
        if job.filed and ending.signal in CLEAN_SIGNALS and ending.result != STOPPED.result:
            ending = Ending(SUCCESS.result, signal=ending.signal)
        super().end(job, ending)

    def run(self, name: str, plan: Plan, run: str, *, hold: bool = False) -> str:
        job = self.jobs.get(name)
        if job is not None and job.filed and not job.masked:
            return errors.EXISTS
        return super().run(name, plan, run, hold=hold)

    def remove(self, name: str, *, stop: bool, purge: bool) -> str:
        job = self.jobs.get(name)
        if job is not None and job.filed and name in self.disk:
            return errors.EXISTS  # the file is the user's to remove: jobctl does that, and the daemon does not
        return super().remove(name, stop=stop, purge=purge)

    def reset_failed(self, name: str) -> str:
        code = super().reset_failed(name)
        self.tidy()
        return code

    def unmask(self, name: str) -> str:
        code = super().unmask(name)
        self.tidy()
        return code

    # --- starting with jobd -------------------------------------------------------------------------------------
    def enable(self, name: str) -> str:
        job = self.jobs.get(name)
        if job is None:
            return errors.NOT_FOUND
        if not (job.filed or job.bare):
            return errors.NOT_APPLICABLE
        code = self.obstacle(job)
        if code not in ("", errors.BAD_SETTING):  # the file may be mended until then
            return code
        job.enabled = True
        return ""

    def disable(self, name: str) -> str:
        job = self.jobs.get(name)
        if job is None:
            return errors.NOT_FOUND
        if not (job.filed or job.bare):
            return errors.NOT_APPLICABLE
        job.enabled = False
        self.tidy()
        return ""

    def shut_down(self) -> None:
        """A stop of all jobs, but that what waits in queues stays there."""
        for job in self.jobs.values():
            if job.live is None or job.live.state == RUNS:
                self._stop(job)

    def started_with_jobd(self) -> list[str]:
        """Files have been read, and these are to start now."""
        at_rest = [job for job in self.jobs.values() if job.enabled and job.sub in ("dead", "failed")]
        return [job.name for job in at_rest if not self.obstacle(job) and not self._why_not_queued(job.plan)]

    def boot(self, runs: Mapping[str, str]) -> None:
        """Start them, as these runs."""
        for name, run in runs.items():
            self._accept(self.jobs[name], run)
        self.settle()

    # --- what is done to what runs ------------------------------------------------------------------------------
    def _running(self, name: str) -> tuple[str, Run | None]:
        job = self.jobs.get(name)
        if job is None:
            return errors.NOT_FOUND, None
        if job.live is None or job.live.state != RUNS:
            return errors.NOT_APPLICABLE, None
        return "", job.live

    def reload(self, name: str) -> str:
        """In the way that the run was started with."""
        code, run = self._running(name)
        if run is None:
            return code
        if not run.plan.reload:
            return errors.NOT_APPLICABLE
        run.err += f"{run.plan.reload}\n".encode()
        return errors.FAILED if run.plan.reload == BY_FAILING else ""

    def freeze(self, name: str) -> str:
        code, run = self._running(name)
        if run is not None:
            run.frozen = True
        return code

    def thaw(self, name: str) -> str:
        code, run = self._running(name)
        if run is not None:
            run.frozen = False
        return code

    # --- what clients must see ----------------------------------------------------------------------------------
    def cat(self, name: str) -> str:
        """What `cat` shows: what has been read, and not what the file is now."""
        job = self.jobs.get(name)
        return repr(job.read) if job is not None and job.filed else ""
