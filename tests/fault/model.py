"""What must hold of jobd, as a model: jobs, their runs and queues, and what each act makes of them. Pure.

The model is sequential: between two acts everything has come to rest, and so there is one right answer to each
question. Jobs of a model end only when they are told to, so that when a run ends is the model's to say, and not a
clock's. Rules are those of jobctl(1) and jobd.job(5), written down a second time and in the simplest way there is.
"""

from __future__ import annotations

from jobd.wire import errors
from tests.fault.model_rows import (
    ACTIVE,
    BROKEN,
    CANCELED,
    CLEAN_SIGNALS,
    ENDED,
    GREETING,
    MISSED,
    MISSING,
    QUICK,
    RUNS,
    STOPPED,
    SUCCESS,
    WAITS,
    Ending,
    Job,
    Plan,
    Queue,
    Run,
    RunSeen,
    Seen,
    run_seen,
    turn,
)


class Model:
    """All jobs and queues of one example.

    Acts return an error code, "" if they are done. What has begun is told by `begun`, so that whoever drives this can
    wait until it has.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.queues: dict[str, Queue] = {}
        self.past: dict[str, list[Run]] = {}  # of removed jobs: if the name is used again, its runs go on with these
        self.purged: set[str] = set()  # names of which something has been forgotten, events too
        self._places = 0

    # --- submitting ---------------------------------------------------------------------------------------------
    def run(self, name: str, plan: Plan, run: str, *, hold: bool = False) -> str:
        job = self.jobs.get(name)
        if job is not None and (code := self._why_not_submitted(job)):
            return code
        if code := self._why_not_queued(plan):
            return code
        if job is None:
            job = self.jobs[name] = Job(name, plan, self.past.pop(name, []))
        job.plan = plan
        self._accept(job, run, hold=hold)
        return self._code_of_start(job)

    def _why_not_queued(self, plan: Plan, *, again: bool = False) -> str:
        """Why its queue does not take it; `again`: it follows a run, and is not turned away for its weight."""
        if not plan.queue:
            return ""
        queue = self.queues.get(plan.queue)
        if queue is None:
            return errors.NOT_FOUND
        return errors.INVALID if queue.slots and plan.weight > queue.slots and not again else ""

    def _why_not_submitted(self, job: Job) -> str:
        if job.masked:
            return errors.MASKED
        return errors.EXISTS if job.live or job.sub == "auto-restart" else ""

    def obstacle(self, job: Job) -> str:
        """Why this job cannot be started, whoever wants it to."""
        return errors.MASKED if job.masked else ""

    def _accept(self, job: Job, run: str, *, hold: bool = False) -> None:
        self._places += 1
        number = job.runs[-1].number + 1 if job.runs else 1
        job.runs.append(Run(run, job.name, number, job.plan, self._places, held=hold))
        job.sub, job.result, job.fresh = "queued", "success", False
        self.settle()

    def _code_of_start(self, job: Job) -> str:
        newest = job.newest
        missing = newest is not None and newest.end == MISSED
        return errors.FAILED if missing else ""

    # --- what happens by itself ---------------------------------------------------------------------------------
    def settle(self) -> None:
        """Begin what may begin, until nothing more does."""
        while (run := self._next()) is not None:
            self._begin(run)

    def _next(self) -> Run | None:
        waiting = [job.live for job in self.jobs.values() if job.live and job.live.state == WAITS and not job.live.held]
        for queue in dict.fromkeys(run.plan.queue for run in waiting):
            line = [run for run in waiting if run.plan.queue == queue]
            first = min(line, key=turn)
            if self._fits(first):
                return first
        return None

    def _fits(self, run: Run) -> bool:
        if not run.plan.queue:
            return True
        queue = self.queues[run.plan.queue]
        if queue.paused or queue.slots is None:
            return not queue.paused
        used = self.used(run.plan.queue)
        return used + run.plan.weight <= queue.slots or (not used and queue.slots > 0)

    def used(self, queue: str) -> int:
        live = [job.live for job in self.jobs.values() if job.live and job.live.state == RUNS]
        return sum(run.plan.weight for run in live if run.plan.queue == queue)

    def _begin(self, run: Run) -> None:
        job = self.jobs[run.job]
        run.state, job.sub = RUNS, "running"
        if run.plan.kind == MISSING:
            self.end(job, MISSED)
            return
        run.out = f"{GREETING} {run.id}\n".encode()
        if run.plan.kind in QUICK:
            code = int(run.plan.kind)
            self.end(job, Ending("exit-code", code) if code else SUCCESS)

    def end(self, job: Job, ending: Ending) -> None:
        """The live run of this job ends."""
        run = job.live
        assert run is not None
        run.state, run.end, run.held, run.frozen = ENDED, ending, False, False
        if ending.result in (SUCCESS.result, STOPPED.result, CANCELED.result):
            job.sub, job.result = "dead", "success"
        elif run.plan.restart and not job.masked and ending.signal not in CLEAN_SIGNALS:
            job.sub, job.result = "auto-restart", ending.result
        else:
            job.sub, job.result = "failed", ending.result

    # --- acts on one job ----------------------------------------------------------------------------------------
    def start(self, name: str, run: str, *, no_block: bool = False) -> str:  # noqa: ARG002  # as the client has it
        job = self.jobs.get(name)
        if job is None:
            return errors.NOT_FOUND
        if job.live is not None:
            return ""
        return self._start(job, run)

    def _start(self, job: Job, run: str) -> str:
        """Decided at once, and only then is stopped what runs."""
        if code := self.obstacle(job):
            return code
        if self._why_not_queued(job.plan, again=job.sub not in ("dead", "failed")):
            return errors.FAILED
        self._stop(job)
        self._accept(job, run)
        return self._code_of_start(job)

    def restart(self, name: str, run: str, *, no_block: bool = False) -> str:  # noqa: ARG002  # as the client has it
        job = self.jobs.get(name)
        return errors.NOT_FOUND if job is None else self._start(job, run)

    def try_restart(self, name: str, run: str, *, no_block: bool = False) -> str:
        job = self.jobs.get(name)
        if job is None:
            return errors.NOT_FOUND
        return "" if job.sub in ("dead", "failed") else self.restart(name, run, no_block=no_block)

    def rerun(self, name: str, run: str) -> str:
        job = self.jobs.get(name)
        if job is None or job.bare or job.fresh or not job.runs:
            return errors.NOT_FOUND  # runs of a job that was removed are of another one
        plan = job.runs[-1].plan  # as that run was, whatever has been set since
        code = self._why_not_submitted(job) or self._why_not_queued(plan)
        if code:
            return code
        run_plan, job.plan = job.plan, plan
        self._accept(job, run)
        if job.filed:  # what it is, its file says
            job.plan = run_plan
        return self._code_of_start(job)

    def set_priority(self, name: str, priority: int) -> str:
        """What waits is moved at once; for what runs or is at rest it counts from the next start on."""
        job = self.jobs.get(name)
        if job is None:
            return errors.NOT_FOUND
        if job.bare:  # what would change nothing is done
            return "" if priority == job.plan.priority else errors.NOT_APPLICABLE
        job.plan = job.plan._replace(priority=priority)
        if job.live is not None and job.live.state == WAITS:
            job.live.plan = job.live.plan._replace(priority=priority)
            self.settle()
        return ""

    def waits_long(self, name: str) -> bool:
        """Whether a start may wait for more than its program: who asks must not wait with it."""
        job = self.jobs.get(name)
        return job is not None and (bool(job.plan.queue) or job.sub == "queued")

    def stop(self, name: str) -> str:
        job = self.jobs.get(name)
        if job is None:
            return errors.NOT_FOUND
        self._stop(job)
        self.settle()
        return ""

    def _stop(self, job: Job) -> None:
        if job.live is not None:
            self.end(job, CANCELED if job.live.state == WAITS else STOPPED)
        elif job.sub == "auto-restart":
            job.sub, job.result = "dead", "success"

    def kill(self, name: str, signal: int) -> str:
        job = self.jobs.get(name)
        if job is None:
            return errors.NOT_FOUND
        if job.live is None or job.live.state != RUNS:
            return errors.NOT_APPLICABLE
        self.end(job, Ending("signal", signal=signal))
        self.settle()
        return ""

    def cancel(self, name: str) -> str:
        job = self.jobs.get(name)
        if job is None:
            return errors.NOT_FOUND
        if job.live is None or job.live.state != WAITS:
            newest = job.newest
            return "" if newest is not None and newest.end == CANCELED else errors.NOT_APPLICABLE
        return self.stop(name)

    def hold(self, name: str) -> str:
        job = self.jobs.get(name)
        if job is None:
            return errors.NOT_FOUND
        if job.live is None or job.live.state != WAITS:
            return errors.NOT_APPLICABLE
        job.live.held = True
        self.settle()
        return ""

    def release(self, name: str) -> str:
        job = self.jobs.get(name)
        if job is None:
            return errors.NOT_FOUND
        if job.live is not None and job.live.state == WAITS:
            job.live.held = False
            self.settle()
        return ""

    def reset_failed(self, name: str) -> str:
        job = self.jobs.get(name)
        if job is None:
            return errors.NOT_FOUND
        if job.sub == "failed":
            job.sub, job.result = "dead", "success"
        return ""

    def remove(self, name: str, *, stop: bool, purge: bool) -> str:
        job = self.jobs.get(name)
        if job is None:
            return errors.NOT_FOUND
        if job.live is not None or job.sub == "auto-restart":
            if not stop:
                return errors.EXISTS
            self._stop(job)
        if purge:
            job.runs = []
        self._forget(job)
        self.settle()
        return ""

    def mask(self, name: str) -> str:
        job = self.jobs.get(name)
        if job is None:
            job = self.jobs[name] = Job(name, Plan(), self.past.pop(name, []), bare=True)
        job.masked = True
        return ""

    def unmask(self, name: str) -> str:
        job = self.jobs.get(name)
        if job is not None:
            job.masked = False
            if job.bare:
                self._forget(job)
        return ""

    def _forget(self, job: Job) -> None:
        """The job goes, and its runs stay: a name that is used again goes on with them."""
        del self.jobs[job.name]
        if job.runs:
            self.past[job.name] = job.runs
        else:
            self.purged.add(job.name)

    # --- queues -------------------------------------------------------------------------------------------------
    def queue_add(self, name: str, slots: int | None) -> str:
        if name in self.queues:
            return "" if self.queues[name].slots == slots else errors.EXISTS
        self.queues[name] = Queue(slots)
        return ""

    def queue_set(self, name: str, *, slots: int | None = -1, paused: bool | None = None) -> str:
        queue = self.queues.get(name)
        if queue is None:
            return errors.NOT_FOUND
        if slots != -1:
            queue.slots = slots
        if paused is not None:
            queue.paused = paused
        self.settle()
        return ""

    def queue_remove(self, name: str) -> str:
        if name not in self.queues:
            return errors.NOT_FOUND
        if any(job.live and job.live.plan.queue == name for job in self.jobs.values()):
            return errors.EXISTS
        del self.queues[name]
        return ""

    # --- what clients must see ----------------------------------------------------------------------------------
    def seen(self, name: str) -> Seen:
        job = self.jobs.get(name)
        if job is None:
            return Seen()
        run = None if job.bare or job.fresh else job.newest
        end = run.end if run is not None else None
        return Seen(
            load="masked" if job.masked else job.load,
            active=ACTIVE[job.sub],
            sub="held" if run and run.held else job.sub,
            result=job.result,
            number=run.number if run else 0,
            code=end.code if end else None,
            signal=end.signal if end else None,
            queue=run.plan.queue if run else job.plan.queue if job.filed else "",
            held=bool(run and run.held),
            frozen=bool(run and run.frozen),
            enabled=job.file_state,
        )

    def history(self, name: str) -> list[RunSeen] | None:
        """The runs of a job, newest first; None: there is no such job."""
        job = self.jobs.get(name)
        if job is None:
            return None
        return [run_seen(run) for run in reversed(job.runs)]

    def every_run(self) -> list[Run]:
        """All that are still there, also those of jobs that are not."""
        found = [run for job in self.jobs.values() for run in job.runs]
        return found + [run for runs in self.past.values() for run in runs]

    def listed(self) -> set[str]:
        """Jobs that `list` shows without being asked for all."""
        return {name for name, job in self.jobs.items() if job.sub != "dead" or job.enabled or job.load == BROKEN}
