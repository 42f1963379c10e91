"""The moment in which a run is accepted: its row and its job's, the event that makes them, and who has to know."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from jobd.core import arrays, records, states
from jobd.core.ids import new_run_id
from jobd.core.records import Data, Event, apply_run, job_data, new_job_data
from jobd.runtime.job import Job
from jobd.runtime.run import Run
from jobd.runtime.submission import NO_TERMS, RESTART, Element, Keys, Terms, check_free, counted, job_row, queue_terms

if TYPE_CHECKING:
    from jobd.core.queue import Ticket
    from jobd.core.records import JobRow
    from jobd.core.spec import JobSpec
    from jobd.runtime.job import Caller
    from jobd.runtime.registry import Registry


def accept(
    world: Registry, owner: int, name: str, run_id: bytes, spec: JobSpec, keys: Keys, old: JobRow | None,
    by: Caller | None, cause: str = "", held: bool = False, terms: Terms = NO_TERMS, element: Element | None = None,
    is_new: bool = False,
) -> Run:  # fmt: skip
    """Make a run its job's newest. `run.accepted` tells when it is durable.

    Its id is the one that was asked for, unless a run has that by now: whoever names ids ahead (of a next run, of the
    elements of an array) may have named one twice, and so may somebody else who knows them.

    Args:
        world: the registry.
        owner, name: of the job.
        run_id: the run's.
        spec, keys: its definition, and the same as blobs.
        old: the job's row as it was a moment ago: what came before this in the same act may have changed it.
        by: who asked, if somebody did.
        cause: why it is started, else.
        held: it waits in any case, until `ordering` lets it begin.
        terms: fields of its row besides. What it waits for holds it, too.
        element: what it is accepted with as one of an array.
        is_new: it is known that no job has, or had, this name.

    Raises:
        NameTaken: there is a live run.
        LimitReached: there are too many, or its queue does not take it.
    """
    job = world.jobs.get((owner, name))
    old = old if job is None else job.row
    check_free(old, states.NO_RUN)
    run_id = new_run_id() if is_taken(world, owner, run_id) else run_id
    seq, queue, ticket, begins = _placed(world, owner, name, spec, terms, cause == RESTART, element)
    carried = () if old is None else world.catalog.carried(old)
    world.room.take(owner, keys.blobs)
    first = states.SUBMIT if begins and world.keeper.alive and not held else states.ENQUEUE
    now = time.time_ns()
    sub = states.after(states.DEAD if old is None else old.sub, first)
    number = 1 if is_new else _number(world, owner, name, old)
    array = "" if element is None else element.array
    row = counted(job_row(owner, name, run_id, number, keys, old, sub, now, array), spec, cause, now)
    if row.array_of:
        terms = {**terms, "array_index": arrays.index_of(name)}
    data: Data = {
        "seq": seq, "number": row.runs, "spec": keys.spec, "env": keys.env,
        "by_uid": owner if by is None else by.uid, "queued_at": now, "cause": cause,
        "state": states.RUN_STATE[row.sub], **queue_terms(queue, spec), **terms,
        **(new_job_data(row) if old is None else job_data(row)),
        **(world.keeper_fields() if first == states.SUBMIT else {}),
    }  # fmt: skip
    event = accepted(world, row, run_id, now, by, data)
    if job is None:
        job = world.jobs[owner, name] = Job(row, world.journal)
    run = Run(job, apply_run(None, event), spec, keys.env_blob)
    world.slots.enter(run, ticket, begins, held)
    _record(world, run, event, (*keys.blobs, *carried), old)
    if run.slot or held:
        world.start_task(run)
    elif run.row.state == records.QUEUED:
        world.park(run)
    return run


def is_taken(world: Registry, owner: int, run_id: bytes) -> bool:
    """Whether a run has this id: a live one of anybody's, which the keeper knows by it, or one of this owner's."""
    return run_id in world.runs or world.store.run(owner, run_id) is not None


def _placed(
    world: Registry, owner: int, name: str, spec: JobSpec, terms: Terms, again: bool, element: Element | None
) -> tuple[int, str, Ticket, bool]:
    """The number of a new run, its queue as in its row, what it takes part with, and whether it begins at once."""
    queue = world.queues.admit(owner, spec.queue, spec.weight, again=again) if element is None else element.queue
    seq = world.store.next_run_seq()
    ticket = world.slots.ticket(owner, name, queue, seq, priority=spec.priority, weight=spec.weight)
    waits = records.waits(terms)
    return seq, queue, ticket, world.slots.may_begin(ticket, kept_out=waits, admitted=element is not None)


def line_up(
    world: Registry, job: Job, run_id: bytes, spec: JobSpec, keys: Keys, by: Caller, terms: Terms = NO_TERMS
) -> Run:
    """Accept a run that waits for the live one of its job, which must be durable. Fields and errors as of `accept`."""
    owner, name = job.row.owner, job.row.job
    queue = world.queues.admit(owner, spec.queue, spec.weight)
    seq = world.store.next_run_seq()
    ticket = world.slots.ticket(owner, name, queue, seq, priority=spec.priority, weight=spec.weight)
    world.slots.check_room(owner)
    world.room.take(owner, keys.blobs)
    now, number = time.time_ns(), job.row.runs + 1
    data: Data = {
        "seq": seq, "number": number, "spec": keys.spec, "env": keys.env, "by_uid": by.uid, "queued_at": now,
        "state": records.QUEUED, "in_line": True, "job.runs": number, **queue_terms(queue, spec), **terms,
    }  # fmt: skip
    event = accepted(world, job.row, run_id, now, by, data)
    run = Run(job, apply_run(None, event), spec, keys.env_blob)
    world.slots.enter(run, ticket, False)
    world.runs[run_id] = run
    world.singletons.join(run)
    with world.journal.together():
        run.accepted = job.line_up(event, run, keys.blobs)
        world.waiting.take_on(run)
    world.park(run)
    return run


def accepted(world: Registry, row: JobRow, run_id: bytes | None, now: int, by: Caller | None, data: Data) -> Event:
    """The event of an acceptance; that of an array as a whole has no run."""
    if by is not None:
        data[records.BY_GID] = by.gid
    return Event(
        seq=world.store.next_event_seq(), at=now, kind="accepted", owner=row.owner, job=row.job, run=run_id,
        by_uid=None if by is None else by.uid, by_pid=None if by is None else by.pid, data=data,
    )  # fmt: skip


def _number(world: Registry, owner: int, name: str, old: JobRow | None) -> int:
    """Of a job's next run. Without a row that knows, there may be runs of one that was removed."""
    known = old is not None and old.latest is not None
    return 1 + (old.runs if known and old is not None else world.store.highest_number(owner, name))


def _record(
    world: Registry, run: Run, event: Event, blobs: tuple[tuple[bytes, bytes], ...], old: JobRow | None
) -> None:
    """Have it written, with what follows from it for others, and known."""
    world.runs[run.id] = run
    world.note_owner(run.row.owner)
    with world.journal.together():
        run.accepted = run.job.accept(event, run, blobs)
        if old is not None and old.sub == states.AUTO_RESTART and old.latest is not None:
            world.waiting.follow(run.row.owner, old.latest, run.id)
        if run.row.array_index is not None:
            world.arrays.entered(run, old)
        world.waiting.take_on(run)
    world.catalog.graphs.know(run.job.row)
    world.ordering.moved(run.job)
