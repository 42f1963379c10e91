"""What starts by the clock: jobs with a schedule, and runs that wait for their time. One owner of all these timers.

Theory. When a job is due next is in its row, committed with the run that it has got for the time before, or with the
event that says why it got none: so a daemon may die at any moment, and nothing is started twice or forgotten. A job is
*armed* while it is enabled and could be started; each change of its row goes through `adjusted`, which sees to that. A
run that waits for its time has the time in its row, and loses it when it has come.

One task looks at what is due, and sleeps until the next, or until somebody sets the clock. A delay goes by the clock
that counts on while the machine sleeps and that nobody sets; on another boot, by the wall's.
"""

from __future__ import annotations

import heapq
import logging
import random
from typing import TYPE_CHECKING, Final

import trio
from msgspec.structs import replace

from jobd.core import records, schedules, states
from jobd.core import spec as specs
from jobd.core.ids import new_run_id
from jobd.core.names import is_template
from jobd.core.whystarts import SKIPPED
from jobd.runtime import together
from jobd.runtime.clocks import Clocks
from jobd.runtime.slots import LimitReached

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobd.core.records import JobRow
    from jobd.core.spec import JobSpec
    from jobd.runtime.job import Job, Value
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run
    from jobd.runtime.submission import Terms

log = logging.getLogger("jobd.runtime")

Key = tuple[int, str]
# Kinds of events.
ELAPSED, ARMED, DUE = "schedule-elapsed", "timer-armed", "due"
STEP: Final = 16  # what is seen to before others have the loop: a few milliseconds
USEC_NSEC: Final = 1000
SET_NSEC: Final = 10**9  # by which a clock is set back at least; time daemons correct what is less bit by bit
LAST: Final = 2**63 - 1  # the last moment that a row can name, in the year 2262
LATE: Final = "its time had passed when jobd came to it"


class Schedule:
    """One a registry."""

    def __init__(self, world: Registry) -> None:
        self._world = world
        self.clocks = Clocks()
        self._due: dict[Key, int] = {}  # of armed jobs
        self._runs: dict[bytes, Run] = {}  # that wait for their time
        # By the wall's clock and by that of the boot: when, and what. What is no longer so is passed over.
        self._wall: list[tuple[int, int, Key | bytes]] = []
        self._boot: list[tuple[int, int, Key | bytes]] = []
        self._pushed = 0

    # --- jobs -----------------------------------------------------------------------------------------------------
    def adjusted(self, row: JobRow, old: JobRow | None, blobs: Iterable[tuple[bytes, bytes]]) -> JobRow:
        """A job's row that is about to be written: armed if it is to be. `blobs` are what is written with it."""
        spec = self._armed(row, blobs)
        if spec is None:
            return row if row.elapse_next is None else replace(row, elapse_next=None)
        if old is not None and old.elapse_next is not None:
            before = spec if old.spec == row.spec else self._spec(old, ())
            if before is not None and schedules.same(before, spec):
                return row
        return replace(row, elapse_next=schedules.after(spec, self.clocks.wall(), self.clocks.here(), random.random()))

    def know(self, row: JobRow) -> None:
        """A job's row is this from now on."""
        key = row.owner, row.job
        if row.elapse_next is None:
            self._due.pop(key, None)
        elif self._due.get(key) != row.elapse_next:
            self._due[key] = row.elapse_next
            self._push(self._wall, row.elapse_next, key)

    def forget(self, owner: int, name: str) -> None:
        """The job's row is gone."""
        self._due.pop((owner, name), None)

    def armed(self) -> dict[Key, int]:
        """When jobs are due."""
        return dict(self._due)

    def load(self) -> None:
        """Take up what an earlier daemon had armed, by the clock as it is now."""
        for row in self._world.store.armed():
            self.know(self._world.catalog.row(row.owner, row.job) or row)
        self._look_afresh()

    def _armed(self, row: JobRow, blobs: Iterable[tuple[bytes, bytes]]) -> JobSpec | None:
        """The definition of a job that is started by the clock, if this is one."""
        if not row.enabled or row.masked or row.transient or row.load != records.LOADED or is_template(row.job):
            return None
        spec = self._spec(row, blobs)
        return spec if spec is not None and schedules.is_scheduled(spec) else None

    def _spec(self, row: JobRow, blobs: Iterable[tuple[bytes, bytes]]) -> JobSpec | None:
        for digest, blob in blobs:
            if digest == row.spec:
                return specs.decode_spec(blob)
        try:
            return self._world.spec(row.spec)
        except KeyError:
            return None

    def _look_afresh(self) -> None:
        """The clock may have been set back: what is due later than it would be now, is due then."""
        now, here = self.clocks.wall(), self.clocks.here()
        for key, due in list(self._due.items()):
            row = self._world.catalog.row(*key)
            spec = None if row is None else self._spec(row, ())
            if row is None or spec is None or row.elapse_next != due:
                continue
            sooner = schedules.afresh(spec, row.elapse_last, now, here)
            if sooner is not None and sooner + spec.schedule_jitter_usec * USEC_NSEC < due:
                log.info("%s is due earlier than was thought, by the clock as it is set", row.job)
                sooner = schedules.afresh(spec, row.elapse_last, now, here, random.random())
                self._world.catalog.write(replace(row, elapse_next=sooner), ARMED, None)

    # --- runs -----------------------------------------------------------------------------------------------------
    def terms(self, not_before: int | None, delay_usec: int | None) -> Terms:
        """Fields of the row of a run that is to wait until then; none, if then has passed."""
        now = self.clocks.wall()
        if delay_usec is not None:
            welcome = self._world.keeper.welcome
            delay = delay_usec * USEC_NSEC
            if not delay or welcome is None:
                return {}
            return {
                "not_before": min(now + delay, LAST),
                "due_boot": self.clocks.boot() + delay,
                "boot_id": welcome.boot_id,
            }
        return {"not_before": not_before} if not_before is not None and not_before > now else {}

    def take_on(self, run: Run) -> None:
        """A run was accepted, or is taken up: it waits for its time, if it has one."""
        row, welcome = run.row, self._world.keeper.welcome
        if row.state != records.QUEUED or row.not_before is None:
            return
        self._runs[run.id] = run
        if row.due_boot is not None and welcome is not None and row.boot_id == welcome.boot_id:
            self._push(self._boot, row.due_boot, run.id)
        else:
            self._push(self._wall, row.not_before, run.id)

    def forget_run(self, run: Run) -> None:
        """It waits no more."""
        self._runs.pop(run.id, None)

    def waiting(self) -> Iterable[Run]:
        """The runs that wait for their time."""
        return self._runs.values()

    def time_of(self, run: Run) -> int | None:
        """When a run that waits for its time begins; None: it waits for none."""
        return run.row.not_before if run.id in self._runs else None

    def _begin(self, run_id: bytes) -> None:
        run = self._runs.pop(run_id, None)
        if run is None or run.row.state != records.QUEUED:
            return
        run.job.note(run, DUE, not_before=None, due_boot=None)
        self._world.slots.let_in(run)

    # --- the task -------------------------------------------------------------------------------------------------
    async def run(self) -> None:
        """See to all that is due, for ever. An error of ours ends the daemon; the next one goes on."""
        try:
            with self.clocks.ringing():
                skew = self._skew()
                while True:
                    await self._world.may_submit()
                    if self._skew() < skew - SET_NSEC:
                        self._look_afresh()
                    skew = self._skew()
                    await self._see_to_all()
                    self._set()
                    await self.clocks.rings()
        except Exception:
            log.exception("the timers: an internal error")
            self._world.on_crash()

    def _skew(self) -> int:
        """What the wall's clock is before that of the boot: it changes when the one is set."""
        return self.clocks.wall() - self.clocks.boot()

    async def _see_to_all(self) -> None:
        for heap, clock in ((self._wall, self.clocks.wall), (self._boot, self.clocks.boot)):
            count = 0
            while heap and heap[0][0] <= clock():
                due, _, what = heapq.heappop(heap)
                if isinstance(what, bytes):
                    self._begin(what)
                elif self._due.get(what) == due:
                    del self._due[what]
                    self._elapse_guarded(what, due)
                count += 1
                if count % STEP == 0:
                    await trio.lowlevel.checkpoint()
                    await self._world.may_submit()  # by now it may not

    def _push(self, heap: list[tuple[int, int, Key | bytes]], at: int, what: Key | bytes) -> None:
        self._pushed += 1  # what is due at the same time comes in the order in which it was told
        heapq.heappush(heap, (at, self._pushed, what))
        if len(heap) > 2 * (len(self._due) + len(self._runs)) + STEP:
            heap[:] = [entry for entry in heap if self._is_meant(entry[0], entry[2])]
            heapq.heapify(heap)
        if heap and heap[0][1] == self._pushed:
            self._set()

    def _is_meant(self, at: int, what: Key | bytes) -> bool:
        return what in self._runs if isinstance(what, bytes) else self._due.get(what) == at

    def _set(self) -> None:
        self.clocks.set(self._wall[0][0] if self._wall else None, self._boot[0][0] if self._boot else None)

    # --- a time has come ------------------------------------------------------------------------------------------
    def _elapse_guarded(self, key: Key, due: int) -> None:
        """The crash boundary of a job's timer: one that fails is left alone, until its job changes or jobd starts."""
        try:
            self._elapse(key, due)
        except Exception:
            log.exception("%s: its schedule failed", key[1])

    def _elapse(self, key: Key, due: int) -> None:
        """Start a job whose time has come, or say why not; and arm it for the next."""
        world, now = self._world, self.clocks.wall()
        row = world.catalog.row(*key)
        spec = None if row is None else self._spec(row, ())
        if row is None or spec is None or row.elapse_next != due or world.stopping:
            return  # the next daemon sees to it, if anybody is to
        following = schedules.following(spec, due, now, self.clocks.here(), random.random())
        with world.journal.together():
            if schedules.is_late(due, now) and not spec.schedule_persistent:
                why = LATE
            elif row.sub in states.AT_REST:
                why = self._start(row)
            else:
                why = self._overlap(world.jobs[key], spec)
            self._note(key, why, due, following)

    def _start(self, row: JobRow) -> str:
        """Begin a run of a job at rest. Returns why not."""
        act = together.Act(None, self._world.bounded(row.owner), schedules.CAUSE)
        try:
            refused = together.start(self._world, row.owner, {row.job: new_run_id()}, act)
        except LimitReached as error:
            return str(error)
        except KeyError:
            return "its definition is gone from the database"
        return str(refused[row.job]) if refused else ""

    def _overlap(self, job: Job, spec: JobSpec) -> str:
        """Do what is to be done while it runs. Returns why there is no run more."""
        run = job.run
        if run is None or job.row.sub == states.AUTO_RESTART:
            return self._start(job.row) if spec.schedule_overlap == specs.REPLACE else "it is about to be started again"
        if spec.schedule_overlap == specs.SKIP or job.row.sub == states.QUEUED:
            return "it waits to begin" if job.row.sub == states.QUEUED else "it still runs"
        if run.row.next_run is not None:
            return "another run is to follow already"
        if spec.schedule_overlap == specs.QUEUE:
            run.follow_with(new_run_id(), None, schedules.CAUSE)
        else:
            why = "its schedule starts it anew"
            together.stop_one(
                self._world, job, None, reason=why, in_turn=False, next_run=new_run_id(), cause=schedules.CAUSE
            )
        return ""

    def _note(self, key: Key, why: str, due: int, following: int | None) -> None:
        """Record that a time was seen to, with the run that it is about: it goes when that goes."""
        job = self._world.jobs.get(key)
        kind = SKIPPED if why else ELAPSED
        if why:
            runs = job is not None and job.row.sub not in states.AT_REST  # which may be so each second
            log.log(logging.DEBUG if runs else logging.WARNING, "%s is not started by its schedule: %s", key[1], why)
        if job is not None and (job.run is not None or job.row.sub not in states.AT_REST):
            fields: dict[str, Value] = {"job.elapse_last": due, "job.elapse_next": following}
            if why:
                fields["act.reason"] = why
            job.note(job.run, kind, None, None, **fields)
            self.know(job.row)
            return
        row = self._world.catalog.row(*key)
        if row is not None:
            more: dict[str, Value] = {"act.reason": why} if why else {}
            self._world.catalog.write(replace(row, elapse_last=due, elapse_next=following), kind, None, more=more)
