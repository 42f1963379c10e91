"""Settings of a job that change while it is there: committed with the row that keeps them, then told to the keeper.

What a run takes up goes into the definition that its own row names, so that a daemon that comes later goes on with it.
The keeper is told after the commit; asked for again, because a daemon died in between, it is told again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from jobd.core import properties, records, states
from jobd.core import spec as specs
from jobd.core.queueline import stored
from jobd.core.records import PROPERTY_SET
from jobd.runtime.queues import check_weight

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobd.core.records import JobRow
    from jobd.core.spec import JobSpec
    from jobd.runtime.job import Caller, Value
    from jobd.runtime.journal import Commit
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run

Fields = dict[str, object]


def set_transient(
    world: Registry, row: JobRow, run: Run | None, asked: Mapping[str, str], fields: Fields, by: Caller
) -> Commit | None:
    """Keep settings of a transient job, live or at rest; its live run takes up what it can.

    Returns:
        The commit; None: it is all in force.

    Raises:
        KeyError: the definition is gone from the store.
        LimitReached: it is more than the owner may have.
    """
    spec = properties.applied(world.spec(row.spec), fields)
    if run is None:
        new = _blob(spec)
        if new[0] == row.spec:
            return None
        world.room.take(row.owner, (new,))
        world.remember_spec(new[0], spec)
        return world.catalog.write(replace(row, spec=new[0]), PROPERTY_SET, by, (new,))
    return _set_of_run(world, run, asked, fields, by, spec)


def set_of_run(world: Registry, run: Run, asked: Mapping[str, str], fields: Fields, by: Caller) -> Commit | None:
    """The same of a run whose job's definition has the settings already."""
    return _set_of_run(world, run, asked, fields, by, None)


def _set_of_run(
    world: Registry, run: Run, asked: Mapping[str, str], fields: Fields, by: Caller, of_the_job: JobSpec | None
) -> Commit | None:
    place = new_place(world, run, fields)
    with world.journal.together() as commit:
        redefined = _redefine(world, run, properties.of_a_run(asked, fields, has_to_wait(run)), by, of_the_job)
        if place:
            world.slots.move(by, (run, place))
    return commit if place or redefined is not None else None


def has_to_wait(run: Run | None) -> bool:
    """Whether it waits for its turn, and can be moved."""
    return run is not None and run.row.state == records.QUEUED and not (run.slot or run.row.stop_asked)


def new_place(world: Registry, run: Run, fields: Fields) -> dict[str, Value]:
    """What of the row of a run that waits is another with these settings: its queue, its priority, its weight.

    Raises:
        QueueRefused: there is no such queue, or it does not take such a run.
    """
    row, queues = run.row, world.queues
    if not has_to_wait(run):
        return {}
    weight = fields.get("weight", row.weight)
    assert isinstance(weight, int)
    found: dict[str, Value] = {}
    queue, word = row.queue, fields.get("queue")
    if isinstance(word, str) and stored(queues.resolve(row.owner, word) if word else None) != queue:
        queue = queues.admit(row.owner, word, weight)
        found = {"queue": queue, "place": None}
    elif (there := queues.of_run(row.owner, queue)) is not None and weight != row.weight:
        check_weight(there, weight)
    for name in ("priority", "weight"):
        value = fields.get(name)
        if isinstance(value, int) and value != getattr(row, name):
            found[name] = value
    return found


def _redefine(
    world: Registry, run: Run, fields: Mapping[str, object], by: Caller, of_the_job: JobSpec | None
) -> Commit | None:
    spec = properties.applied(run.spec, fields)
    new = [(_blob(one), one) for one in (spec, *([of_the_job] if of_the_job is not None else []))]
    changes: dict[str, Value] = {} if new[0][0][0] == run.row.spec else {"spec": new[0][0][0]}
    if of_the_job is not None and new[1][0][0] != run.job.row.spec:
        changes["job.spec"] = new[1][0][0]
    if not changes:
        return None
    blobs = tuple(blob for blob, _ in new)
    world.room.take(run.row.owner, blobs)
    for (key, _), one in new:
        world.remember_spec(key, one)
    run.spec = spec
    commit = run.job.redefine(run, PROPERTY_SET, by, changes, blobs)
    run.wake.set()  # its runtime limit may be another one
    return commit


def _blob(spec: JobSpec) -> tuple[bytes, bytes]:
    data = specs.encode_spec(spec)
    return specs.digest(data), data


def is_live(run: Run | None) -> bool:
    """Whether there is something that a change can take effect on."""
    return run is not None and not run.gone and run.job.run is run and run.job.row.sub not in states.AT_REST
