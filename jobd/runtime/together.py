"""Acts on jobs with all that depends on them: what an act comes to is decided at once and committed in one transaction.

What is started waits then for what it comes after, what is stopped for what comes after it (`ordering`); a job that is
restarted, or started while it is being stopped, has the id of its next run noted in the row of the present one
(`next_run`), and begins that when it has ended (`aftermath`). So nobody has to see an act through: not the client, and
not the daemon either.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from jobd.core import graph as graphs
from jobd.core import records, states
from jobd.core.graph import Lack, Refusal
from jobd.core.ids import new_run_id
from jobd.core.names import is_template
from jobd.runtime import restarting
from jobd.runtime.ordering import is_leaving
from jobd.runtime.queues import QueueRefused
from jobd.runtime.slots import LimitReached
from jobd.runtime.submission import RESTART

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping

    from jobd.core.graph import Cause, Graph, StartPlan
    from jobd.core.records import JobRow
    from jobd.core.spec import JobSpec
    from jobd.runtime.job import Caller, Job
    from jobd.runtime.journal import Commit
    from jobd.runtime.keeperlink import Welcome
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run

log = logging.getLogger("jobd.runtime")

RESTARTED_WITH = "restarted with"  # another job: the cause of a run
MASKED, BROKEN, NO_QUEUE = "masked", "broken", "no-queue"  # kinds of lacks, besides graph.MISSING


class Act(Struct, frozen=True):
    """Who does something, for the events, and with which bounds for what starts."""

    by: Caller | None
    bounded: Callable[[JobSpec], JobSpec] | None = None
    cause: str = ""  # why jobs are started that nobody asked for
    env: tuple[bytes, ...] = ()  # what these have in their environment besides


# --- starting -----------------------------------------------------------------------------------------------------
def start(world: Registry, owner: int, ids: Mapping[str, bytes], act: Act) -> dict[str, Refusal]:
    """Start jobs, with what they need: run ids by name. Those that are there already are left as they are.

    Returns:
        Which of them cannot be started, and why.

    Raises:
        LimitReached, Stopping; KeyError: a definition is gone from the store.
    """
    world.check_open()
    graph = world.catalog.graphs.tidied(owner)
    with world.journal.together():
        plan = graphs.plan_start(graph, ids, lambda name: lack(world, graph, owner, name))
        _begin(world, owner, plan, ids, act)
    return plan.refused


def lack(world: Registry, graph: Graph, owner: int, name: str, *, anew: bool = False) -> Lack | None:
    """Why a job cannot be started, if it cannot. One that is there already need not be, unless it is to begin anew."""
    row = world.catalog.asked(owner, name)
    if row is None:
        return Lack("does not exist", graphs.MISSING)
    if is_template(name):
        return Lack(f"is a template; name an instance of it, such as {name}1", graphs.MISSING)
    if name not in graph:
        world.catalog.graphs.know_for_now(row)
    if row.sub not in states.NO_RUN and not anew:
        return None
    if row.masked:
        return Lack("is masked", MASKED)
    if row.array:
        return Lack("is an array; name an element of it", graphs.MISSING)
    if row.load == records.NOT_FOUND:
        return Lack("has no job file any more" if row.file else "does not exist", graphs.MISSING)
    if row.load == records.BAD_SETTING:
        return Lack("has errors in its job file", BROKEN)
    return _queue_lack(world, row)


def _queue_lack(world: Registry, row: JobRow) -> Lack | None:
    """Its queue may be gone, or take nothing new."""
    try:
        spec = world.spec(row.spec)
        world.queues.admit(row.owner, spec.queue, spec.weight, again=row.sub not in states.AT_REST)
    except QueueRefused as refused:
        return Lack(f"cannot be queued: {refused}", NO_QUEUE)
    except KeyError:
        return None  # whoever starts it says that its definition is gone
    return None


def _begin(world: Registry, owner: int, plan: StartPlan, ids: Mapping[str, bytes], act: Act) -> None:
    for name, why in plan.ignored.items():
        log.info("%s is wanted and not started: %s", name, why)
    _wish_stops(world, owner, plan.stop, act.by, {})
    for name, cause in plan.start.items():
        row = world.catalog.row(owner, name)
        assert row is not None
        words = act.cause if cause is None else f"{'wanted' if cause[0] == graphs.WANTS else 'required'} by {cause[1]}"
        job = world.jobs.get((owner, name))
        if row.sub in states.NO_RUN:
            if cause is None or row.sub != states.AUTO_RESTART:  # such a one comes by itself
                run_id = ids.get(name) or new_run_id()
                _accept(world, row, run_id, act if cause is None else Act(act.by, act.bounded), words)
        elif job is not None and is_leaving(job) and job.run is not None and job.run.row.next_run is None:
            job.run.follow_with(ids.get(name) or new_run_id(), act.by, words)


def _accept(world: Registry, row: JobRow, run_id: bytes, act: Act, cause: str) -> None:
    held = bool(world.ordering.before(row.owner, row.job))
    world.rerun(row, run_id, act.by, bounded=act.bounded, cause=cause, held=held, env=act.env)


def accept_with_needs(
    world: Registry, owner: int, name: str, spec: JobSpec, act: Act, accept: Callable[[bool], Run]
) -> Run:
    """Accept a run that is made in a way of its own, with what its job needs.

    Args:
        world: the registry.
        owner: whose job it is.
        name: of the job.
        spec: its definition from now on.
        act: who starts it.
        accept: makes the run, held or not.

    Raises:
        Refusal, and whatever `accept` and `start` do.
    """
    graph = world.catalog.graphs.of(owner)
    if graph.is_alone(name) and not graphs.names_others(spec):
        return accept(False)
    world.check_open()
    known = world.catalog.row(owner, name)
    if known is not None and known.sub not in states.NO_RUN:
        return accept(False)  # which refuses
    graph.put(name, spec)
    try:
        with world.journal.together():
            plan = graphs.plan_start(
                graph, [name], lambda other: None if other == name else lack(world, graph, owner, other)
            )
            if name in plan.refused:
                raise plan.refused[name]
            order = list(plan.start)
            at = order.index(name)
            first = {other: plan.start[other] for other in order[:at]}
            _begin(world, owner, replace(plan, start=first), {}, act)
            run = accept(bool(world.ordering.before(owner, name)))
            rest = {other: plan.start[other] for other in order[at + 1 :]}
            _begin(world, owner, replace(plan, start=rest, stop={}, ignored={}), {}, act)
    except Exception:
        if world.catalog.row(owner, name) == known:  # nothing was accepted: it depends on what it did before
            graph.remove(name)
            if known is not None and not (known.transient and known.sub in states.AT_REST):
                world.catalog.graphs.know(known)
        raise
    return run


def renew_needs(world: Registry) -> None:
    """After a start of jobd: what queued runs require and an earlier jobd has stopped as it left, is started again."""
    welcome = world.keeper.welcome
    assert welcome is not None
    for run in list(world.runs.values()):
        owner, name = run.row.owner, run.row.job
        if run.row.state != records.QUEUED or run.row.stop_asked or run.row.in_line:
            continue
        graph = world.catalog.graphs.of(owner)
        gone = [other for _, other in graph.demands(name) if _was_left(world, owner, other, welcome)]
        act = Act(None, world.bounded(owner), f"{graphs.REQUIRES} of {name}")
        try:
            refused = start(world, owner, {other: new_run_id() for other in gone}, act) if gone else {}
        except (LimitReached, KeyError) as error:
            log.warning("cannot start what %s requires: %s", name, error)
            continue
        for other, refusal in refused.items():
            log.warning("cannot start %s, which %s requires: %s", other, name, refusal)


def _was_left(world: Registry, owner: int, name: str, welcome: Welcome) -> bool:
    """Whether a job is at rest, and its last run was another keeper's. A lost one may live on, if on this boot."""
    row = world.catalog.row(owner, name)
    if row is None or row.sub not in states.AT_REST or row.latest is None:
        return False
    run = world.store.run(owner, row.latest)
    if run is None or run.keeper == welcome.keeper:
        return False
    return row.result != "lost" or run.boot_id != welcome.boot_id


def start_again(world: Registry, row: JobRow) -> None:
    """Begin the next run of a job that starts again by itself; what requires it, or is part of it, starts again too.

    What waits to begin goes on waiting, and what is itself between two runs, or is being stopped, is left to that.

    Raises:
        Refusal, and as `start`.
    """
    owner, name = row.owner, row.job
    with world.journal.together():
        refused = start(world, owner, {name: new_run_id()}, Act(None, world.bounded(owner), RESTART))
        if refused:
            raise refused[name]
        graph = world.catalog.graphs.of(owner)
        along = {
            other: cause
            for other, cause in graphs.stopped_with(graph, [name]).items()
            if cause is not None and _is_there(world, owner, other, ())
        }
        _wish_stops(world, owner, along, None, {other: new_run_id() for other in along})


def begin_next(world: Registry, row: JobRow, run_id: bytes, by: Caller | None, cause: str) -> None:
    """Accept the run that was to follow the one that has just ended. What keeps it from that is told in the log."""
    try:
        _accept(world, row, run_id, Act(by, world.bounded(row.owner)), cause)
        if row.latest is not None:
            world.waiting.follow(row.owner, row.latest, run_id)
    except (LimitReached, KeyError) as error:
        log.warning("cannot start %s again: %s", row.job, error)


# --- stopping -----------------------------------------------------------------------------------------------------
def stop(world: Registry, owner: int, names: Iterable[str], by: Caller | None) -> Commit:
    """Stop jobs, and what requires them, is bound to them or part of them. Its Commit is that of all the wishes."""
    graph = world.catalog.graphs.of(owner)
    names = tuple(names)
    with world.journal.together() as commit:
        for name in names:
            world.singletons.cancel(owner, name, by)
        _wish_stops(world, owner, graphs.stopped_with(graph, names), by, {})
    return commit


def restart(world: Registry, owner: int, ids: Mapping[str, bytes], act: Act) -> dict[str, Refusal]:
    """Stop jobs, and start them again; what is stopped with them and is there now starts again too.

    Args, Returns and Raises as `start`.
    """
    world.check_open()
    graph = world.catalog.graphs.tidied(owner)
    with world.journal.together():  # what could not be started again is not stopped
        plan = graphs.plan_start(graph, ids, lambda name: lack(world, graph, owner, name, anew=name in ids))
        meant = [name for name in ids if name not in plan.refused]
        along = graphs.stopped_with(graph, meant)
        following = {name: ids.get(name) or new_run_id() for name in along if _is_there(world, owner, name, ids)}
        _wish_stops(world, owner, {name: along[name] for name in following}, act.by, following)
        _begin(world, owner, plan, ids, act)
    return plan.refused


def _is_there(world: Registry, owner: int, name: str, meant: Container[str]) -> bool:
    """Whether a job has a run that is to be followed by another. One that waits to begin need not begin twice."""
    job = world.jobs.get((owner, name))
    if job is None or job.row.sub in states.NO_RUN:
        return False
    return name in meant or (job.row.sub != states.QUEUED and not is_leaving(job))


def stop_all(world: Registry) -> None:
    """Stop what runs of all owners, in order; what waits to begin goes on waiting."""
    with world.journal.together():
        owners = {owner for owner, _ in world.jobs}
        for owner in owners:
            running = {
                name: None for (uid, name), job in list(world.jobs.items())
                if uid == owner and job.row.sub != states.QUEUED
            }  # fmt: skip
            _wish_stops(world, owner, running, None, {})


def _wish_stops(
    world: Registry, owner: int, names: Mapping[str, Cause | None], by: Caller | None, following: Mapping[str, bytes]
) -> None:
    """Commit the wishes that these stop, each with the run that follows, if one is to. Those at rest stay so."""
    live = {name: job for name in names if (job := world.jobs.get((owner, name))) is not None}
    graph = world.catalog.graphs.of(owner)
    for name, job in live.items():
        cause = names[name]
        reason = "" if cause is None else f"it {graphs.WORDS[cause[0]]} {cause[1]}"
        later = any(other in live and live[other].run is not None for other in graph.later(name) if other != name)
        along = "" if cause is None else f"{RESTARTED_WITH} {cause[1]}"
        stop_one(world, job, by, reason=reason, in_turn=later, next_run=following.get(name), cause=along)


def stop_one(
    world: Registry,
    job: Job,
    by: Caller | None,
    *,
    reason: str,
    in_turn: bool,
    next_run: bytes | None = None,
    cause: str = "",
) -> None:
    """The wish that one job stop. With `in_turn` it is seen to when nothing is left that has to be stopped before.

    `next_run` is to follow, for this `cause`.
    """
    commit = restarting.stop(job, by)
    if commit is not None:
        commit.then(lambda: world.let_go(job))
    elif job.run is not None:
        job.run.ask_stop(by, reason=reason, in_turn=in_turn)
        if next_run != job.run.row.next_run and not (next_run and job.run.row.next_run):
            job.run.follow_with(next_run, by, cause)
