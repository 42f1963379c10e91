"""The moment in which a run is accepted: its row and its job's, the event that makes them, and who has to know."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from jobd.core import records, states
from jobd.core.records import Data, Event, apply_run, job_data, new_job_data
from jobd.runtime.job import Job
from jobd.runtime.run import Run
from jobd.runtime.submission import NO_TERMS, Keys, Terms, check_free, counted, job_row

if TYPE_CHECKING:
    from jobd.core.records import JobRow
    from jobd.core.spec import JobSpec
    from jobd.runtime.job import Caller
    from jobd.runtime.registry import Registry


def accept(
    world: Registry, owner: int, name: str, run_id: bytes, spec: JobSpec, keys: Keys, old: JobRow | None,
    by: Caller | None, cause: str = "", held: bool = False, terms: Terms = NO_TERMS,
) -> Run:  # fmt: skip
    """Make a run its job's newest. `run.accepted` tells when it is durable.

    Args:
        world: the registry.
        owner: of the job.
        name: of the job.
        run_id: the run's.
        spec: its definition, and
        keys: the same as blobs.
        old: the job's row as it was a moment ago: what came before this in the same act may have changed it.
        by: who asked, if somebody did.
        cause: why it is started, else.
        held: it waits in any case, until `ordering` lets it begin.
        terms: fields of its row besides. What it waits for holds it, too.

    Raises:
        NameTaken: there is a live run.
        LimitReached: there are too many.
    """
    job = world.jobs.get((owner, name))
    if job is not None:
        old = job.row
    check_free(old, states.NO_RUN)
    begins = world.slots.may_begin(owner)
    carried = () if old is None else world.catalog.carried(old)
    world.room.take(owner, keys.blobs)
    held = held or records.waits(terms)
    first = states.SUBMIT if begins and world.keeper.alive and not held else states.ENQUEUE
    now = time.time_ns()
    sub = states.after(states.DEAD if old is None else old.sub, first)
    known = old is not None and old.latest is not None  # else there may be runs of one that was removed
    number = 1 + (old.runs if known and old is not None else world.store.highest_number(owner, name))
    row = counted(job_row(owner, name, run_id, number, keys, old, sub, now), spec, cause, now)
    data: Data = {
        "seq": world.store.next_run_seq(), "number": row.runs, "spec": keys.spec, "env": keys.env,
        "by_uid": owner if by is None else by.uid, "queued_at": now, "cause": cause,
        "state": states.RUN_STATE[row.sub], **terms, **(new_job_data(row) if old is None else job_data(row)),
        **({} if by is None else {records.BY_GID: by.gid}),
        **(world.keeper_fields() if first == states.SUBMIT else {}),
    }  # fmt: skip
    event = Event(
        seq=world.store.next_event_seq(), at=now, kind="accepted", owner=owner, job=name, run=run_id,
        by_uid=None if by is None else by.uid, by_pid=None if by is None else by.pid, data=data,
    )  # fmt: skip
    if job is None:
        job = world.jobs[owner, name] = Job(row, world.journal)
    run = Run(job, apply_run(None, event), spec, keys.env_blob)
    world.runs[run_id] = run
    world.slots.enter(run, begins, held)
    world.note_owner(owner)
    with world.journal.together():
        run.accepted = job.accept(event, run, (*keys.blobs, *carried))
        if old is not None and old.sub == states.AUTO_RESTART and old.latest is not None:
            world.waiting.follow(owner, old.latest, run_id)
        world.waiting.take_on(run)
    world.catalog.graphs.know(row)
    world.ordering.moved(job)
    world.start_task(run)
    return run
