"""Arrays that are not at rest: which of their elements are still to come, and how many of the others are where.

Theory. The whole is a job without a run of its own, and its row says all that its elements need: the numbers, the terms
on which they are accepted, the id from which theirs are made, and how many have been accepted (`runs`). It is durable
with its first element, and that is the acceptance of all. The others are accepted in steps between which everybody
else has his turn; each step is one transaction with the count, so that a daemon that is killed in the middle accepts
none twice and leaves none out.

The whole is `queued` as long as an element is not at rest, and comes to rest with the last one, in its transaction.
Counts are kept while it is not, and are in its row afterwards: nobody walks through ten thousand elements to show one.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from jobd.core import arrays, exits, records, states
from jobd.core import spec as specs
from jobd.core.graph import names_others
from jobd.core.queueline import key_of
from jobd.core.records import JobRow, new_job_data
from jobd.runtime import together
from jobd.runtime.acceptance import accept, accepted
from jobd.runtime.catalog import check_undefined
from jobd.runtime.elements import QUEUED, RUNNING, AcceptedOn, Array, counts_in, place_of, whole_result
from jobd.runtime.job import Job
from jobd.runtime.submission import Element, Keys, NameTaken

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobd.core.queueline import QueueKey
    from jobd.core.spec import JobSpec
    from jobd.runtime.job import Caller
    from jobd.runtime.journal import Commit
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run
    from jobd.runtime.submission import Terms

log = logging.getLogger("jobd.runtime")
Key = tuple[int, str]

LOST: Final = "lost"  # the result of what nothing more is known of
STEP: Final = 24  # elements that are accepted in one turn: 3 ms of the loop
MAX_PARSED: Final = 16  # arrays whose numbers are kept: 400 KiB each at most


class Arrays:
    """One a registry."""

    def __init__(self, world: Registry) -> None:
        self._world = world
        self._live: dict[Key, Array] = {}
        self._filling: dict[Key, None] = {}
        self._at_work = False
        self._parsed: dict[str, arrays.Array] = {}

    def numbers(self, text: str) -> arrays.Array:
        """What an array's text means. Raises ArrayError."""
        found = self._parsed.get(text)
        if found is None:
            if len(self._parsed) >= MAX_PARSED:
                self._parsed.clear()
            found = self._parsed[text] = arrays.parse(text)
        return found

    # --- accepting ------------------------------------------------------------------------------------------------
    def submit(
        self, owner: int, name: str, run_id: bytes, spec: JobSpec, env_blob: bytes, by: Caller, terms: Terms
    ) -> Commit:
        """Accept an array (`spec.array`) under a name, with its first element. Its Commit is that of all of it.

        Raises:
            NameTaken: there is a job of this name, or of an element's.
            Refusal, LimitReached, Defined, Stopping: as of a run.
        """
        world, numbers = self._world, self.numbers(spec.array)
        world.check_open()
        old = world.catalog.row(owner, name)
        check_undefined(old)
        if old is not None or self.is_stem(owner, name):
            raise NameTaken(name)
        queue = world.queues.admit(owner, spec.queue, spec.weight)
        world.slots.check_room(owner, len(numbers.indices))
        spec_blob, now = specs.encode_spec(spec), time.time_ns()
        keys = Keys(specs.digest(spec_blob), spec_blob, specs.digest(env_blob), env_blob)
        kept = msgspec.json.encode(AcceptedOn(by, queue, dict(terms))).decode()  # type: ignore[arg-type]  # none of them is bytes
        row = JobRow(
            owner=owner, job=name, spec=keys.spec, env=keys.env, created_at=now, latest=run_id, runs=1,
            active=states.ACTIVE_STATE[states.QUEUED], sub=states.QUEUED, changed_at=now, array=spec.array,
            array_terms=kept,
        )  # fmt: skip
        key, array = (owner, name), Array(Job(row, world.journal), numbers, {})
        self._live[key] = array
        with world.journal.together() as commit:
            try:
                self._first(array, world.remember_spec(keys.spec, spec), keys)
            except BaseException:
                del self._live[key]
                raise
            world.jobs[key] = array.job
            event = accepted(world, row, None, now, by, dict(new_job_data(row)))
            array.job.define(event, keys.blobs, may_fail=True)
        array.commit = commit
        commit.then(lambda: self._settled(array, commit))
        return commit

    def _first(self, array: Array, spec: JobSpec, keys: Keys) -> None:
        row, by = array.job.row, array.terms.by
        act = together.Act(by, self._world.bounded(row.owner))
        element = arrays.element_name(row.job, array.numbers.indices[0])
        together.accept_with_needs(
            self._world, row.owner, element, spec, act, lambda held: self._accept(array, 0, spec, keys, held)
        )

    def _accept(self, array: Array, place: int, spec: JobSpec, keys: Keys, held: bool) -> Run:
        row, index = array.job.row, array.numbers.indices[place]
        assert row.latest is not None
        name, run_id = arrays.element_name(row.job, index), arrays.element_id(row.latest, place)
        return accept(
            self._world, row.owner, name, run_id, spec, keys, None, array.terms.by, held=held,
            terms=array.terms.fields, element=Element(row.job, array.terms.queue),
        )  # fmt: skip

    def _settled(self, array: Array, commit: Commit) -> None:
        """It is accepted for good, or there was no room for it."""
        row = array.job.row
        key = row.owner, row.job
        if commit.error is None:
            self._fill_soon(key)
        elif self._live.get(key) is array:
            del self._live[key]
            if self._world.jobs.get(key) is array.job:
                del self._world.jobs[key]
        array.filled.set()

    # --- the rest of the elements ---------------------------------------------------------------------------------
    def _fill_soon(self, key: Key) -> None:
        array = self._live.get(key)
        if array is None or not array.left:
            return
        self._filling[key] = None
        if not self._at_work:
            self._at_work = True
            self._world.start_work(self._fill)

    async def _fill(self) -> None:
        """Accept what is to come, of all arrays in turn."""
        try:
            while self._filling and not self._world.stopping:  # then the next daemon goes on
                for key in list(self._filling):
                    await self._world.may_submit()
                    array = self._live.get(key)
                    if array is not None and array.left and not self._world.stopping:
                        commit = self._step(array)
                        await commit.wait()
                    if array is None or not array.left:
                        self._filling.pop(key, None)
        finally:
            self._at_work = False

    def _step(self, array: Array) -> Commit:
        world, row = self._world, array.job.row
        env_blob = world.catalog.blob(row.env)
        try:
            spec = world.spec(row.spec)
        except KeyError:
            return self._give_up(array)
        if env_blob is None:
            return self._give_up(array)
        keys = Keys(row.spec, specs.encode_spec(spec), row.env, env_blob)
        world.queues.revive(key_of(row.owner, array.terms.queue))  # nothing of it may be there by now
        upto = min(row.runs + STEP, len(array.numbers.indices))
        with world.journal.together() as commit:
            for place in range(row.runs, upto):
                name = arrays.element_name(row.job, array.numbers.indices[place])
                held = False
                if names_others(spec):
                    world.catalog.graphs.of(row.owner).put(name, spec)
                    held = bool(world.ordering.before(row.owner, name))
                try:
                    self._accept(array, place, spec, keys, held)
                except NameTaken:
                    log.error("%s is not run: another job has its name", name)
            array.job.redefine(None, records.FILLED, None, {"job.runs": upto}, ())
            self._look_for_end(array)  # all that were accepted may have ended
        if not array.left:
            array.filled.set()
        return commit

    def _give_up(self, array: Array) -> Commit:
        """A damaged database has lost what the rest of the elements are: they will never be."""
        row, left = array.job.row, array.left
        log.error("%d elements of %s are lost: its definition was lost with a damaged database", left, row.job)
        array.counts[LOST] = array.counts.get(LOST, 0) + left
        with self._world.journal.together() as commit:
            array.job.redefine(None, records.FILLED, None, {"job.runs": row.runs + left}, ())
            self._look_for_end(array)
        array.filled.set()
        return commit

    def to_come(self, owner: int) -> int:
        """How many of an owner's runs are accepted with their arrays, and are still to come."""
        return sum(self._live[key].left for key in self._filling if key[0] == owner and key in self._live)

    def coming(self, queue: QueueKey) -> list[JobRow]:
        """The rows of arrays of which elements are still to be accepted to a queue."""
        arrays = [self._live[key] for key in self._filling if key in self._live]
        return [a.job.row for a in arrays if a.left and key_of(a.job.row.owner, a.terms.queue) == queue]

    async def filled(self, owner: int, name: str) -> None:
        """Return when all elements of an array have been accepted."""
        while (array := self._live.get((owner, name))) is not None and array.left and not self._world.stopping:
            await array.filled.wait()

    def limit_of(self, owner: int, name: str) -> tuple[str, int | None] | None:
        """The array of which a job is an element, and how many of that may run at once, None if that is no matter."""
        stem, at, _ = name.rpartition("@")
        if not at:
            return None
        array = self._live.get((owner, stem))
        row = self._world.catalog.written(owner, stem) if array is None else array.job.row
        return None if row is None or not row.array else (stem, self.numbers(row.array).limit)

    # --- what becomes of elements ---------------------------------------------------------------------------------
    def entered(self, run: Run, old: JobRow | None) -> None:
        """A run of an element has been accepted; `old` is the row of its job before that."""
        row = run.job.row
        array = self._live.get((row.owner, row.array_of)) or self._revived(row.owner, row.array_of)
        index = arrays.index_of(row.job)
        if array is None or index is None:
            return
        if index not in array.live and old is not None:
            self._uncount(array, old)
        array.put(index, place_of(run.job))

    def moved(self, job: Job) -> None:
        """An element has changed its state."""
        array, index = self._live.get((job.row.owner, job.row.array_of)), arrays.index_of(job.row.job)
        if array is None or index is None or index not in array.live:
            return
        if job.row.sub not in states.AT_REST:
            array.put(index, place_of(job))
            return
        array.take(index)
        result = job.row.result if job.run is None else job.run.row.result or job.row.result
        array.counts[result] = array.counts.get(result, 0) + 1
        self._look_for_end(array)

    def dropped(self, run: Run) -> None:
        """A run of an element could not be accepted after all."""
        row = run.job.row
        array, index = self._live.get((row.owner, row.array_of)), arrays.index_of(row.job)
        if array is None or index is None or not array.take(index):
            return
        known = self._world.store.job(row.owner, row.job)
        if known is not None:
            self._uncount(array, known, -1)
        if array.commit is None or array.commit.error is None:
            self._look_for_end(array)

    def _uncount(self, array: Array, row: JobRow, by: int = 1) -> None:
        """An element that had ended begins anew; that end may not be written yet."""
        run = None if row.latest is None else self._world.waiting.row((row.owner, row.latest))
        result = row.result if run is None else run.result or row.result
        array.counts[result] = max(0, array.counts.get(result, 0) - by)

    def _look_for_end(self, array: Array) -> None:
        if array.live or array.left:
            return
        row = array.job.row
        del self._live[row.owner, row.job]
        counts = {result: count for result, count in array.counts.items() if count}
        ended = " ".join(f"{one}={count}" for one, count in sorted(counts.items()))
        result = whole_result(ended)
        good = result in exits.GOOD_RESULTS
        event, shown = (states.GOOD, "success") if good else (states.BAD, result)
        commit = array.job.fire(event, "finished", None, **{"job.result": shown, "job.array_ended": ended})
        commit.then(lambda: self._world.let_go(array.job))
        array.filled.set()

    def _revived(self, owner: int, name: str) -> Array | None:
        """An element of an array at rest begins anew."""
        world = self._world
        row = world.catalog.written(owner, name)
        if row is None or not row.array:
            return None
        job = world.jobs.get((owner, name)) or Job(row, world.journal)
        world.jobs[owner, name] = job
        array = self._live[owner, name] = Array(job, self.numbers(row.array), counts_in(row.array_ended))
        job.fire(states.ENQUEUE, "queued", None, **{"job.result": "success", "job.array_ended": ""})
        return array

    # --- taking up ------------------------------------------------------------------------------------------------
    def take_up(self, runs: Iterable[Run]) -> None:
        """Go on where the daemon before us was. Call when all of these, which it left live, are in the registry."""
        world = self._world
        for row in world.store.live_arrays():
            job = world.jobs[row.owner, row.job] = Job(row, world.journal)
            found = Array(job, self.numbers(row.array), world.store.element_results(row.owner, row.job))
            self._live[row.owner, row.job] = found
        for run in runs:
            job = run.job
            if job.row.array_of and job.row.sub not in states.AT_REST and job.run is run:
                key, index = (job.row.owner, job.row.array_of), arrays.index_of(job.row.job)
                array = self._live.get(key) or self._revived(*key)
                if array is not None and index is not None:
                    array.put(index, place_of(job))

    def go_on(self) -> None:
        """All that was live is taken up: accept what is to come."""
        for key, array in list(self._live.items()):
            if array.left:
                self._fill_soon(key)
            else:
                self._look_for_end(array)

    # --- looking --------------------------------------------------------------------------------------------------
    def counts(self, row: JobRow) -> dict[str, int]:
        """How many elements of an array are queued, running, and have ended with which result."""
        array = self._live.get((row.owner, row.job))
        if array is None:
            return counts_in(row.array_ended)
        waiting = len(array.live) - array.running + array.left
        found = {RUNNING: array.running, QUEUED: waiting, **array.counts}
        return {word: count for word, count in found.items() if count}

    def shown(self, row: JobRow) -> JobRow:
        """The row of an array as people are shown it: it runs as soon as one of its elements does."""
        array = self._live.get((row.owner, row.job))
        if array is None or not array.running:
            return row
        return replace(row, sub=states.RUNNING, active=states.ACTIVE_STATE[states.RUNNING])

    def live_elements(self, owner: int, name: str, only: str = "") -> list[str]:
        """The names of the elements of an array that are not at rest, in order; `only`: those that are there."""
        array = self._live.get((owner, name))
        live = {} if array is None else array.live
        wanted = sorted(index for index, place in live.items() if only in ("", place))
        return [arrays.element_name(name, index) for index in wanted]

    def remarkable(self, row: JobRow, few: int) -> list[str]:
        """The names of the first element that waits, and of a few that have failed."""
        array = self._live.get((row.owner, row.job))
        waiting = [] if array is None else [index for index, place in array.live.items() if place == QUEUED]
        failed = self._world.store.failed_elements(row.owner, row.job, few)
        first = [arrays.element_name(row.job, min(waiting))] if waiting else []
        return first + sorted(failed, key=lambda name: arrays.index_of(name) or 0)

    def elements(self, row: JobRow) -> list[str]:
        """The names of all elements of an array that are there, in order."""
        found = {*self._world.store.elements(row.owner, row.job), *self.live_elements(row.owner, row.job)}
        return sorted(found, key=lambda name: arrays.index_of(name) or 0)

    def is_stem(self, owner: int, name: str) -> bool:
        """Whether jobs are called as elements of an array of this name would be, or a template is there for such."""
        begins = f"{name}@"
        if any(uid == owner and job.startswith(begins) for uid, job in self._world.jobs):
            return True
        return bool(self._world.store.jobs_page(owner=owner, every=True, prefix=begins, limit=1))

    def whole(self, owner: int, run_id: bytes) -> JobRow | None:
        """The row of an array as it is now, by the id under which it was submitted."""
        first = arrays.element_id(run_id, 0)
        live = self._world.run(owner, first)
        run = self._world.store.run(owner, first) if live is None else live.row
        row = None if run is None else self._world.catalog.written(owner, run.job.rpartition("@")[0])
        return row if row is not None and row.array and row.latest == run_id else None

    def accepted(self, row: JobRow) -> Commit | None:
        """What tells when an array is durable; None: it is."""
        array = self._live.get((row.owner, row.job))
        return None if array is None else array.commit

    def array_of(self, owner: int, name: str) -> str:
        """The array that a job of this name would be an element of; "" if there is none."""
        stem, at, _ = name.rpartition("@")
        return stem if at and stem and self.is_array(owner, stem) else ""

    def is_array(self, owner: int, name: str) -> bool:
        """Whether there is an array of this name."""
        row = self._world.catalog.written(owner, name)
        return row is not None and bool(row.array)
