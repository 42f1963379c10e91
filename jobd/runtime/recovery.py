"""Taking up where a daemon before us was: what the database says against what the keeper holds.

The same path serves every start. Per unfinished run of the database and per entry of the keeper exactly one of:
taken up, started (the same keeper says that it never went), acknowledged (it was recorded already), or `lost`.
Nothing is ever guessed: a run that may have run is not run again.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from jobd.core import exits, records, states
from jobd.core import spec as specs
from jobd.core.records import Data, Event, JobRow, apply_run, job_data
from jobd.runtime import reloading, restarting, together
from jobd.runtime.ending import end_unbegun
from jobd.runtime.job import Job
from jobd.runtime.keeperlink import Fields, close_all
from jobd.runtime.run import Ending, Run
from jobd.store.batch import StoreError

if TYPE_CHECKING:
    from jobd.core.records import RunRow
    from jobd.runtime.registry import Registry

log = logging.getLogger("jobd.runtime")
Entry = tuple[Fields, dict[str, int]]

REBOOTED: Final = "the machine was restarted while it ran"
NO_DEFINITION: Final = "its definition was lost with a damaged database before it could start"
NO_SPEC: Final = specs.JobSpec(argv=(b"?",), cwd=b"/", description="recovered from its keeper; its definition is lost")
KEEPER_DIED: Final = "its keeper died, and nobody was left to see it end"


async def recover(world: Registry) -> None:
    """Reconcile database and keeper, and start a task for every live run. Call once, before any client is served."""
    world.queues.load()
    world.slots.taking_up = True
    world.keeper.send("list")
    await world.keeper.listed.wait()
    entries: dict[bytes, Entry] = {}
    for message, fds in world.keeper.entries:
        run_id = message["run"]
        assert isinstance(run_id, bytes)
        entries[run_id] = (message, fds)
    world.keeper.entries = []
    found = []
    for row in world.store.live_runs():
        entry = entries.pop(row.run, None)
        run = _make(world, row)
        if entry is not None:
            _adopt(world, run, entry)
        found.append((run, entry is not None))
    for job in world.store.jobs_to_restart():
        restarting.take_up(world, job.owner, job.job)
    world.arrays.take_up(run for run, _ in found)
    # What the ends that we find mean for other jobs is seen when all are there, and is durable with them. Until then
    # the rows that the store has of these are those of before.
    over = []
    with world.journal.together(), world.aftermath.later():
        for run, held in found:
            depends = not world.catalog.graphs.of(run.row.owner).is_alone(run.row.job)
            world.slots.take_up(run, held=depends)
            if not _take_up(world, run, held, depends):
                over.append(run)
        world.waiting.take_up(run for run, _ in found)
        for run_id, entry in entries.items():
            _unknown(world, run_id, entry)
        world.arrays.go_on()
    world.singletons.take_over_all()
    if world.keeper.welcome is not None and not world.keeper.welcome.heir:
        together.renew_needs(world)
    world.recovered()
    await world.journal.flush()
    for run in over:
        world.retire(run)


def _make(world: Registry, row: RunRow) -> Run:
    job = world.jobs.get((row.owner, row.job))
    if job is None:
        job_row = world.store.job(row.owner, row.job)
        if job_row is None:  # damage that SQLite does not see; the next daemon finds a new database, with one made up
            world.store.damage(f"there is no job {row.job!r} beside its run")
            raise StoreError(f"cannot take up run {row.run.hex()}: its job {row.job!r} is not in the database")
        job = world.jobs[row.owner, row.job] = Job(job_row, world.journal)
    run = Run(job, row, _spec(world, row), None)
    run.launched = run.gone = row.state == records.FINISHED  # else whoever waits for its end would wait for ever
    if job.row.latest == row.run:
        job.run = run
    world.runs[row.run] = run
    return run


def _spec(world: Registry, row: RunRow) -> specs.JobSpec:
    """The run's definition, or what stands for one that damage took."""
    try:
        return world.spec(row.spec)
    except KeyError:
        return NO_SPEC


def _can_start(world: Registry, run: Run) -> bool:
    return run.spec is not NO_SPEC and world.store.blob(run.row.env) is not None


def _adopt(world: Registry, run: Run, entry: Entry) -> None:
    """Give the run what the keeper holds of it."""
    message, fds = entry
    run.take_process(message, fds)
    run.went = bool(message["went"])
    run.execd = bool(message["execd"])
    run.empty = bool(message["empty"])
    run.frozen = bool(message.get("frozen"))  # a keeper of before the freezer has frozen nothing
    run.helpers.load(message.get("helpers"))
    for name in ("ops", "once"):
        found = message.get(name)
        for opid in found if isinstance(found, list) else ():
            run.note_operation(opid)
    reloading.take_up(run)
    if message["errno"]:
        run.failure = (str(message["step"]), int(str(message["errno"])))
    run.note_usage(message.get("usage"))
    ending = message["exit"]
    if isinstance(ending, dict):
        run.ending = Ending(ending["status"], ending["rusage"], ending["at"])
    if run.went:
        world.streams.capture(run)


def _take_up(world: Registry, run: Run, held: bool, depends: bool) -> bool:
    """Start the run's task, or say at once that it is over. Returns whether somebody walks it, or is to."""
    row = run.row
    welcome = world.keeper.welcome
    assert welcome is not None
    never_went = row.keeper == welcome.keeper and row.started_at is None  # it, or a keeper, would know of it
    if held:
        world.start_task(run)
        return True
    if row.state == records.FINISHED:
        # Its end is recorded, its output is what the files hold: the keeper that had its pipes is gone.
        _settle_output(world, run)
    elif row.state == records.QUEUED or never_went:
        if row.in_line:
            return _take_up_in_line(world, run)
        if row.stop_asked:
            _end(world, run, "canceled", "canceled", "")
        elif _can_start(world, run):
            if depends or row.state != records.QUEUED:
                world.start_task(run)
            else:
                world.park(run)
            return True
        else:
            _end(world, run, "lost", "lost", NO_DEFINITION)
    elif run.job.row.sub == states.EXITED and run.job.run is run:
        _end(world, run, "finished", "success", "")  # it had ended well before, and nobody is left to be stopped
    else:
        reason = REBOOTED if row.boot_id != welcome.boot_id else KEEPER_DIED
        _end(world, run, "lost", "lost", reason)
    return False


def _take_up_in_line(world: Registry, run: Run) -> bool:
    """Of a run that waits for the live one of its job: it goes on waiting."""
    if _can_start(world, run):
        world.singletons.join(run)
        world.park(run)
    else:
        end_unbegun(run, world, "lost", NO_DEFINITION)
    return True


def _end(world: Registry, run: Run, kind: str, result: str, reason: str) -> None:
    good = result in exits.GOOD_RESULTS
    world.streams.sizes_from_files(run)
    run.job.fire(
        states.GOOD if good else states.BAD,
        kind,
        None,
        result=result,
        reason=reason,
        finished_at=time.time_ns(),
        out_bytes=run.out_bytes,
        err_bytes=run.err_bytes,
        closed=True,
        **{"job.result": "success" if good else result},
    )
    if reason or result == "canceled":
        log.warning("run %s of %s is %s: %s", run.id.hex(), run.job.row.job, result, reason or "it never ran")


def _settle_output(world: Registry, run: Run) -> None:
    world.streams.sizes_from_files(run)
    run.job.note(run, "closed", out_bytes=run.out_bytes, err_bytes=run.err_bytes, closed=True)


def _unknown(world: Registry, run_id: bytes, entry: Entry) -> None:
    """The keeper holds a run that is not live in the database."""
    message, fds = entry
    label = message.get("label")
    if not message["went"] or not isinstance(label, dict) or world.store.run(label["owner"], run_id) is not None:
        close_all(fds)  # recorded already; only the acknowledgement was lost
        world.keeper.send("ack", run=run_id)
        return
    # The database was set aside as damaged: the run lives on under its name, with what can still be known.
    # What its stdin is can be seen from what is held of it: its client feeds it on.
    stdin = specs.PTY if "pty" in fds else specs.PIPE if "input" in fds else specs.NULL
    blob, env = specs.encode_spec(replace(NO_SPEC, stdin=stdin)), specs.encode_env([])
    run = _reinvent(world, run_id, label, blob, env, bool(message["execd"]))
    log.warning("run %s of %s was not in the database; it is taken up again", run_id.hex(), run.job.row.job)
    _adopt(world, run, entry)
    world.start_task(run)


def _reinvent(world: Registry, run_id: bytes, label: dict[str, object], blob: bytes, env: bytes, execd: bool) -> Run:
    owner, name, number = label["owner"], label["job"], label["number"]
    assert isinstance(owner, int)
    assert isinstance(name, str)
    assert isinstance(number, int)
    now = time.time_ns()
    sub = states.RUNNING if execd else states.START
    spec_key, env_key = specs.digest(blob), specs.digest(env)
    job_row = JobRow(
        owner=owner, job=name, spec=spec_key, env=env_key, created_at=now, latest=run_id, runs=number,
        sub=sub, active=states.ACTIVE_STATE[sub], changed_at=now,
    )  # fmt: skip
    data: Data = {
        "seq": world.store.next_run_seq(), "number": number, "spec": spec_key, "env": env_key, "by_uid": owner,
        "queued_at": now, "started_at": now if execd else None, "state": states.RUN_STATE[sub],
        **job_data(job_row), **world.keeper_fields(),
    }  # fmt: skip
    seq = world.store.next_event_seq()
    event = Event(seq=seq, at=now, kind="accepted", owner=owner, job=name, run=run_id, data=data)
    job = world.jobs[owner, name] = Job(job_row, world.journal)
    run = Run(job, apply_run(None, event), specs.decode_spec(blob), env)
    world.runs[run_id] = run
    world.slots.take_up(run)
    run.accepted = job.accept(event, run, ((spec_key, blob), (env_key, env)))
    return run
