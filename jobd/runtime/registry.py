"""Who is responsible for which job: the live jobs and runs, and the tasks that walk them.

Owns (owner, name) → Job for every job that is not at rest, and run id → Run for every run that somebody walks; what is
at rest is in the store alone. Holds the jobs nursery. Submitting is synchronous up to the commit it returns, so two
callers can never take one name.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final

import trio
from msgspec.structs import replace

from jobd.core import after, records, states
from jobd.core import spec as specs
from jobd.core.policy import Policy, UserLimits
from jobd.core.records import JobRow
from jobd.runtime import launching, lifecycle, restarting, together
from jobd.runtime.acceptance import accept, line_up
from jobd.runtime.aftermath import Aftermath
from jobd.runtime.arrays import Arrays
from jobd.runtime.asking import Asking
from jobd.runtime.catalog import Catalog, check_undefined
from jobd.runtime.figures import Statistician
from jobd.runtime.followers import Followers
from jobd.runtime.madeupnames import MadeUpNames
from jobd.runtime.ordering import Ordering
from jobd.runtime.places import Places
from jobd.runtime.queues import Queues
from jobd.runtime.room import Room
from jobd.runtime.schedule import Schedule
from jobd.runtime.singletons import Singletons
from jobd.runtime.slots import Slots
from jobd.runtime.streams import Streams
from jobd.runtime.submission import NO_TERMS, Keys, Terms, check_free
from jobd.runtime.waiting import Waiting
from jobd.store.db import FILE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from jobd.core.records import RunRow
    from jobd.core.spec import JobSpec
    from jobd.runtime.feeder import Feeder
    from jobd.runtime.job import Caller, Job
    from jobd.runtime.journal import Journal
    from jobd.runtime.keeperlink import KeeperLink
    from jobd.runtime.pump import Pump
    from jobd.runtime.run import Run
    from jobd.store.db import Store

log = logging.getLogger("jobd.runtime")
MAX_CACHED_SPECS: Final = 4096  # decoded specs of recent jobs; a spec is about 1 KiB


class Stopping(Exception):  # noqa: N818  # as above
    """The daemon is shutting down and starts nothing."""


class Registry:
    """The live jobs. One a daemon."""

    def __init__(self, state_dir: Path, journal: Journal, pump: Pump, feeder: Feeder, keeper: KeeperLink) -> None:
        self.state_dir = state_dir
        self.journal = journal
        self.store: Store = journal.store
        self.keeper = keeper
        self.jobs: dict[tuple[int, str], Job] = {}
        self.runs: dict[bytes, Run] = {}
        self.catalog = Catalog(self)
        self.streams = Streams(state_dir, pump, feeder, keeper, self.runs)
        self.limits: Callable[[], UserLimits] = UserLimits
        self.policy = Policy()  # replaced with every configuration that is put in force
        self.queues = Queues(journal)
        self.slots = Slots(lambda: self.limits(), lambda: self.policy.total_running, self.queues)
        self.launching = Places()
        self.slots.on_taken_back = lambda run: launching.stand_back(run, self)
        self.asking = Asking()
        self.ordering = Ordering(self)
        self.slots.is_behind = lambda run: bool(self.ordering.before(run.row.owner, run.row.job))
        self.waiting = Waiting(self)
        self.arrays = Arrays(self)
        self.slots.array_of = self.arrays.limit_of
        self.slots.to_come, self.slots.coming = self.arrays.to_come, self.arrays.coming
        self.singletons = Singletons(self)
        self.aftermath = Aftermath(self)
        self.schedule = Schedule(self)
        journal.follow = self.aftermath.follow
        # What brings a definition down to what its owner may have by now.
        self.bounded: Callable[[int], Callable[[JobSpec], JobSpec] | None] = lambda _: None
        self.on_essential: Callable[[str, int], None] = lambda _job, _status: None
        self.statistician = Statistician(journal.store)
        self.followers = Followers(journal)
        self.room = Room(state_dir / FILE, journal, pump, lambda: self.limits())
        self.streams.on_blocked = self.room.note_blocked
        self.stopping = False
        self.handing_over: trio.Event | None = None  # set when a handover to a new keeper has failed
        self.rss_floor_bytes = 0
        self.retired = 0  # runs that ended under this daemon
        self.left_at = trio.current_time()  # when the last run did
        self._nursery: trio.Nursery | None = None
        self._specs: dict[bytes, JobSpec] = {}
        self._all_owners: set[int] | None = None
        self.names = MadeUpNames(self)
        self._idle = trio.Event()
        self.on_crash: Callable[[], None] = lambda: None
        self._crashed: set[bytes] = set()  # runs whose task has failed: nobody walks them before the next daemon

    async def serve(self, task_status: trio.TaskStatus[None]) -> None:
        """Hold the nursery of the runs' tasks. Cancelling leaves all runs as they are."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    def run(self, owner: int, run_id: bytes) -> Run | None:
        """The live run with this id, if it is this owner's: another's may have the id of one that has ended."""
        run = self.runs.get(run_id)
        return run if run is not None and run.row.owner == owner else None

    # --- specs ----------------------------------------------------------------------------------------------------
    def spec(self, key: bytes) -> JobSpec:
        """The spec with this hash.

        Raises:
            KeyError: the store does not have it.
        """
        found = self._specs.get(key)
        if found is None:
            blob = self.catalog.blob(key)
            if blob is None:
                raise KeyError(f"no spec {key.hex()} in the database")
            found = self.remember_spec(key, specs.decode_spec(blob))
        return found

    def remember_spec(self, key: bytes, spec: JobSpec) -> JobSpec:
        """Keep a decoded spec; the oldest half goes when there are too many."""
        if len(self._specs) >= MAX_CACHED_SPECS:
            for old in list(self._specs)[: MAX_CACHED_SPECS // 2]:
                del self._specs[old]
        return self._specs.setdefault(key, spec)

    def environment(self, run: Run) -> list[bytes]:
        """The environment a run was submitted with."""
        blob = run.env if run.env is not None else self.store.blob(run.row.env)
        run.env = None
        return specs.decode_env(blob) if blob is not None else []

    # --- submitting -----------------------------------------------------------------------------------------------
    async def may_submit(self) -> None:
        """Return when new runs may be accepted.

        During a handover they may not: the next daemon would not know them. Whoever waits here loses his connection
        when this daemon leaves, and asks the next one.
        """
        while self.handing_over is not None:
            await self.handing_over.wait()

    def submit(
        self, owner: int, name: str, run_id: bytes, spec: JobSpec, env_blob: bytes, by: Caller, terms: Terms = NO_TERMS,
        is_new: bool = False, *, singleton: bool = False,
    ) -> Run:  # fmt: skip
        """Accept a run of a transient job, with what it needs. `run.accepted` tells when it is durable.

        `terms` are fields of its row: what it waits for. With `singleton` it waits for the job's live run as well.
        `is_new`: the name is one that `names` has just made up.

        Raises:
            Refusal: it requires what cannot be started.
            NameTaken: the job has a live run.
            Undecided: it may have one.
            Defined: the job is not transient, or it is masked.
            Stopping: the daemon is shutting down.
        """
        if self.stopping:
            raise Stopping
        old = None if is_new else self.catalog.row(owner, name)
        check_undefined(old)
        live = self.singletons.must_wait(owner, name) if singleton else None
        if live is None:
            check_free(old, states.AT_REST)
        spec_blob = specs.encode_spec(spec)
        keys = Keys(specs.digest(spec_blob), spec_blob, specs.digest(env_blob), env_blob)
        spec = self.remember_spec(keys.spec, spec)
        if live is not None:
            return line_up(self, live, run_id, spec, keys, by, terms)
        return together.accept_with_needs(
            self, owner, name, spec, together.Act(by, self.bounded(owner)),
            lambda held: accept(self, owner, name, run_id, spec, keys, old, by, held=held, terms=terms, is_new=is_new),
        )  # fmt: skip

    def rerun(
        self,
        row: JobRow | RunRow,
        run_id: bytes,
        by: Caller | None,
        stdin: str | None = None,
        bounded: Callable[[JobSpec], JobSpec] | None = None,
        cause: str = "",
        held: bool = False,
        env: tuple[bytes, ...] = (),
        terms: Terms = NO_TERMS,
    ) -> Run:
        """Make what `row` has submitted, a job without a live run or a run of one, the job's next run.

        `by` is None when nobody asked for it, and `cause` then says why it is started. `held`: it waits in any case,
        until `ordering` lets it begin. `env` is what this run alone has in its environment besides.

        `bounded` brings it down to what its owner may have by now. Without `stdin` a pipe becomes /dev/null, since
        nobody is there to feed it. Raises NameTaken and Stopping as `submit` does, and KeyError: the definition is gone
        from the store.
        """
        if self.stopping:
            raise Stopping
        # First: the definition of a run that is being accepted is not written yet. To repeat a certain run is to change
        # what the job is, which is not done between two runs.
        old = self.catalog.row(row.owner, row.job)
        check_free(old, states.NO_RUN if isinstance(row, JobRow) else states.AT_REST)
        spec = self.spec(row.spec)
        if bounded is not None:
            spec = bounded(spec)
        # The blobs go along: retention may take them with the job's last run before this one is written.
        env_blob = self.catalog.blob(row.env)
        if env_blob is None:
            raise KeyError(f"no environment {row.env.hex()} in the database")
        stdin = stdin or (specs.NULL if spec.stdin == specs.PIPE else spec.stdin)
        if stdin != spec.stdin:
            spec = replace(spec, stdin=stdin)
        spec_blob = specs.encode_spec(spec)
        env_key = row.env
        if env:
            names = {entry.partition(b"=")[0] for entry in env}  # the first of two of a name is what programs see
            kept = [entry for entry in specs.decode_env(env_blob) if entry.partition(b"=")[0] not in names]
            env_blob = specs.encode_env([*kept, *env])
            env_key = specs.digest(env_blob)
        keys = Keys(specs.digest(spec_blob), spec_blob, env_key, env_blob)
        return accept(self, row.owner, row.job, run_id, spec, keys, old, by, cause, held, terms)

    def check_open(self) -> None:
        """Raises Stopping, if nothing starts any more."""
        if self.stopping:
            raise Stopping

    def let_go(self, job: Job) -> None:
        """A job's state is durable: one that is at rest is the store's again."""
        key = job.row.owner, job.row.job
        at_rest = job.run is None and job.row.sub in states.AT_REST and not self.catalog.is_pending(job)
        if at_rest and self.jobs.get(key) is job:
            del self.jobs[key]
            self.catalog.graphs.rest(job.row)
            self.catalog.tidy(job.row)
            self._check_idle()

    def keeper_fields(self) -> dict[str, str]:
        """What makes *never ran* decidable later: which boot, which keeper."""
        welcome = self.keeper.welcome
        assert welcome is not None
        return {"boot_id": welcome.boot_id, "keeper": welcome.keeper}

    def start_again(self, row: JobRow) -> None:
        """Begin the next run of a job that starts again by itself; see `together.start_again`."""
        together.start_again(self, row)

    # --- tasks ----------------------------------------------------------------------------------------------------
    def start_task(self, run: Run) -> None:
        """Walk the run in a task of its own."""
        assert self._nursery is not None
        self._nursery.start_soon(self._walk, run)

    def park(self, run: Run) -> None:
        """Have a run wait without a task: whoever wakes it begins its walk. Ten thousand may wait so."""
        run.wake.park(partial(launching.awake, run, self))
        if run.accepted is not None:
            run.accepted.then(partial(self._settled, run))

    def _settled(self, run: Run) -> None:
        """A run that waits without a task was accepted, or could not be."""
        if not run.wake.parked:
            return  # its walk sees to it
        if run.accepted is not None and run.accepted.error is not None:
            self.drop(run)
        run.env = None  # it is in the database, and this may take long

    def start_work(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do something besides the walks of runs. A bug in it has the daemon replaced, as one in a walk does."""
        assert self._nursery is not None
        self._nursery.start_soon(self._work, work)

    async def _work(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception:
            log.exception("work besides the runs has failed")
            self.on_crash()

    def back_off(self, job: Job, sec: float, *, again: bool = False) -> None:
        """Start a job again in so many seconds; `again`: an earlier daemon has tried."""
        assert self._nursery is not None
        self._nursery.start_soon(restarting.guarded, job, self, sec, again)

    def recovered(self) -> None:
        """All live runs are taken up: let those begin who may, and count what their owners have."""
        assert self._nursery is not None
        self.room.start(self._nursery, self.owners())
        self.schedule.load()
        self.slots.give()

    def all_owners(self) -> set[int]:
        """Who has jobs, or had some since the daemon's start. Asked once: many requests of root need it."""
        if self._all_owners is None:
            self._all_owners = {*self.store.owners(), *self.owners()}
        return self._all_owners

    def note_owner(self, owner: int) -> None:
        """Somebody has a job now."""
        if self._all_owners is not None:
            self._all_owners.add(owner)

    def owners(self) -> set[int]:
        """Who has live runs."""
        return {run.row.owner for run in self.runs.values()}

    async def _walk(self, run: Run) -> None:
        """The crash boundary of a run: a bug in its walk is logged, ends no other run, and has the daemon replaced."""
        try:
            await lifecycle.live(run, self)
        except Exception as error:
            log.exception("run %s of %s: its task failed", run.id.hex(), run.job.row.job)
            run.log_error = f"internal error: {error}"
            run.changed.set()
            self._crashed.add(run.id)
            self._check_idle()
            if run.accepted is not None:
                # The next daemon takes it up, and who waits for it goes on waiting there. If it fails there again, it
                # is left alone: one run that cannot be walked is not to be the end of every daemon.
                self.on_crash()

    def drop(self, run: Run) -> None:
        """Forget a run that could not be accepted. A job that was to start again still is."""
        self.keeper.send("ack", run=run.id)
        job = run.job
        self._forget(run)
        key = job.row.owner, job.row.job
        if run.row.in_line:
            self.singletons.undo(run)
        elif self.jobs.get(key) is job and not self.catalog.is_pending(job):
            del self.jobs[key]  # its row is of what never was
            restarting.take_up(self, *key, restarting.ROOM_SEC)
            self.singletons.rebind(*key)
        self.ordering.moved(job)
        self.waiting.ended(run.row.owner, run.id, after.GONE)
        if run.row.array_index is not None:
            self.arrays.dropped(run)
        run.settle_end()
        self._check_idle()

    def retire(self, run: Run) -> None:
        """A run's end and output are recorded: the keeper may forget it, and so do we."""
        self.retired += 1
        self.keeper.send("ack", run=run.id)
        self._forget(run)
        self._check_idle()

    def _forget(self, run: Run) -> None:
        self.streams.forget(run)
        self.runs.pop(run.id, None)
        self.slots.leave(run)
        self.ordering.forget(run)
        self.schedule.forget_run(run)
        self.waiting.forget(run)
        self.singletons.forget(run)
        job = run.job
        if job.run is run:
            job.run = None
            self.let_go(job)

    # --- the end --------------------------------------------------------------------------------------------------
    def lose_keeper(self) -> None:
        """The keeper died: tell every live run."""
        for run in list(self.runs.values()):
            run.lose_keeper()

    async def stop_all(self) -> None:
        """Stop every live run, in order, and return when all are recorded. Runs that wait stay queued.

        Runs whose task has failed are left for the keeper to stop.
        """
        self.stopping = True
        together.stop_all(self)
        while any(run.row.state != records.QUEUED and run.id not in self._crashed for run in self.runs.values()):
            self._idle = trio.Event()
            await self._idle.wait()

    def _check_idle(self) -> None:
        self.left_at = trio.current_time()
        self._idle.set()
