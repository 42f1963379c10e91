"""The beginning of a run: from its acceptance until its program is executed, or a step before that has failed.

spawn ‖ commit of `starting` → go → exec succeeded, or a step failed
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from jobd.core import records, service, states
from jobd.runtime import readiness, strays
from jobd.runtime.ending import end
from jobd.runtime.journal import NotDurable
from jobd.runtime.keeperlink import close_all
from jobd.runtime.spawning import spawn

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobd.runtime.job import Value
    from jobd.runtime.journal import Commit
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run

SLOT_SEC: Final = 5.0  # a launch takes milliseconds; one that hangs in its directory or program holds up nobody else
STUCK_SEC: Final = 5.0  # from a stop to SIGKILL for a child that does not come to its program
GO: Final = b"G"  # jobd.keeper.child.GO
NOTHING: Final[dict[str, Value]] = {"out_bytes": 0, "err_bytes": 0, "closed": True}  # of a run that never ran


def awake(run: Run, world: Registry) -> None:
    """Something has come for a run that waits without a task: walk it.

    One that may begin waits for its place before it gets a task, and begins with its place: tasks that are started
    together do not run in order, and runs begin in order.
    """
    accepted = run.accepted is None or (run.accepted.done and run.accepted.error is None)
    waits = run.row.state != records.QUEUED or not run.slot or run.row.stop_asked or _must_wait(run, world)
    later = not world.journal.takes_more or not accepted or not strays.is_first(run, world)
    if later or waits or world.ordering.missing(run):
        world.start_task(run)
        return
    run.wake.park(partial(_leave_line, run, world))
    world.launching.keep(run.row.owner, run.id, partial(_placed, run, world))


def _placed(run: Run, world: Registry) -> None:
    """It has its place: it begins, unless it has to wait by now, or is not to begin at all."""
    run.wake.unpark()
    if _must_wait(run, world) or world.ordering.missing(run):
        world.launching.forget(run.id)
    else:
        run.accepted = run.job.fire(states.BEGIN, "starting", None, **world.keeper_fields())
    world.start_task(run)


def _leave_line(run: Run, world: Registry) -> None:
    """Something has come for a run that waits for its place: its walk sees to it."""
    world.launching.forget(run.id)
    world.start_task(run)


def stand_back(run: Run, world: Registry) -> None:
    """Its slot was taken back: without a task, it is in line for no place either, and waits as before."""
    if run.wake.parked:
        world.launching.forget(run.id)
        run.wake.park(partial(awake, run, world))


async def launch(run: Run, world: Registry) -> bool:
    """Bring a run to the execution of its program. False: it is over, or never was."""
    try:
        while not run.went:
            if not await _may_launch(run, world):
                return False
            async with world.launching.place(run.row.owner, run.id):
                await _launch(run, world)
                if run.went:
                    with trio.move_on_after(SLOT_SEC):
                        await _until(run, lambda: _is_decided(run))
            if run.gone:
                return False
    finally:
        world.launching.forget(run.id)
    return await _executed(run, world)


async def _may_launch(run: Run, world: Registry) -> bool:
    """Wait, without a place among the launching, while nothing may start. False: the run was not accepted after all."""
    if run.row.state == records.QUEUED and run.accepted is not None and not await _durable(run, world, run.accepted):
        return False
    while _must_wait(run, world) and not run.row.stop_asked:
        if run.accepted is not None and run.accepted.done:
            run.env = None  # it is in the database, and this may take long
        # For a stop, for a slot, or for other jobs; without a keeper the daemon that follows starts it.
        await run.wake.wait()
    if run.row.state == records.FINISHED:
        return False  # it never begins, for something else that has ended
    if run.row.state == records.QUEUED and not run.row.stop_asked and (why := world.ordering.missing(run)):
        await end(run, world, "dependency", "dependency", {**NOTHING, "reason": why})
        world.retire(run)
        return False
    # Who follows a run that ends in the same transaction waits until the end of that can be looked up.
    if strays.is_end_untold(run, world) and run.accepted is not None and not await _durable(run, world, run.accepted):
        return False
    await strays.end_left(run, world)
    return True


def _must_wait(run: Run, world: Registry) -> bool:
    if run.row.state != records.QUEUED:
        return False
    if world.stopping or not world.keeper.alive or run.row.waits:
        return True
    if world.ordering.holds(run):
        world.slots.take_back(run)  # the one that it waits for may need it
        return True
    if world.ordering.missing(run):
        return False  # it will never begin
    world.slots.join(run)
    return not run.slot


async def _durable(run: Run, world: Registry, commit: Commit) -> bool:
    """Wait for the commit that begins a run. False: there is no room for it, and the run is forgotten."""
    try:
        await commit.wait()
    except NotDurable:
        world.drop(run)
        return False
    return True


async def _launch(run: Run, world: Registry) -> None:
    """Bring the run to `go`. Afterwards it went, or is gone, or waits once more."""
    if run.row.state == records.FINISHED:
        return  # it was canceled while it waited for its place
    if run.row.stop_asked:
        await _canceled(run, world)
        return
    commit = run.accepted
    if run.row.state == records.QUEUED:
        if _must_wait(run, world) or world.ordering.missing(run):  # by now: it has waited for its place
            return
        commit = run.job.fire(states.BEGIN, "starting", None, **world.keeper_fields())
    await _spawn(run, world)
    if commit is not None and not await _durable(run, world, commit):
        return
    if run.row.stop_asked:
        await _canceled(run, world)
        return
    # Not waiting for `spawned` saves a turn of both processes: the keeper sends it ahead of the byte that lets go.
    world.keeper.send("go", run=run.id)
    await _until(run, lambda: run.pid is not None or run.failure is not None)
    if run.failure is not None:
        await _start_failed(run, world)
    elif run.pid is None:
        # The keeper died before it told us of the child, so it had not let it go.
        run.job.fire(states.REQUEUE, "requeued", reason="")
    else:
        world.streams.capture(run)
        run.went = True


async def _spawn(run: Run, world: Registry) -> None:
    """Ask for the process, with the file that is to feed it if there is one."""
    fds: dict[str, int] = {}
    if run.feed is not None:
        try:
            fds["input"] = await world.streams.feeding_file(run)
        except OSError as error:
            run.failure = ("stdin", error.errno or 0)
            return
    spawn(run, world.keeper, world.environment(run), fds, world.policy)
    close_all(fds)  # the keeper has it, and gives us ours


def _is_decided(run: Run) -> bool:
    """Whether it is known that the program was executed, or that it was not."""
    return run.execd or run.failure is not None or run.ending is not None


async def _executed(run: Run, world: Registry) -> bool:
    """Wait for exec. False: it failed, and the run is over."""
    while not _is_decided(run):
        if run.keeper_lost and run.ctl is not None:
            await _let_go(run)
        elif run.row.stop_asked:
            # Its directory or program may be on a file system that does not answer.
            with trio.move_on_after(STUCK_SEC) as scope:
                await run.wake.wait()
            if scope.cancelled_caught:
                await world.journal.flush()
                world.keeper.send("kill-tree", run=run.id, o="kill-1")
        else:
            await run.wake.wait()
    run.close_ctl()
    if run.failure is not None:
        await _start_failed(run, world)
        return False
    now = time.time_ns()
    at = now if run.ending is None else min(now, run.ending.at)  # we may hear of the start after the end
    more = readiness.is_needed(run.spec) or run.spec.type == service.ONESHOT
    event = states.LAUNCHED if more else states.EXECD
    run.up_mono = trio.current_time()
    run.job.fire(event, "started", pid=run.pid, pid_start=run.pid_start, started_at=at)
    run.launched, run.up = True, not more
    run.changed.set()
    return True


async def _let_go(run: Run) -> None:
    """The keeper died over `go`, perhaps before it wrote the byte: write it, and see what comes of the child.

    A child that has had its byte already does not read this one; either way the socket ends when the program runs.
    """
    assert run.ctl is not None
    control, run.ctl = socket.socket(fileno=run.ctl), None
    with control:
        control.setblocking(False)
        with suppress(OSError):  # it has gone, and perhaps said why
            control.send(GO)
        await trio.lowlevel.wait_readable(control)
        step, _, number = _last_word(control).partition(":")
    if number.isdigit():
        run.failure = (step, int(number))
    else:
        run.execd = True


def _last_word(control: socket.socket) -> str:
    """What the child said of a step that failed; "" at the end of file."""
    for _ in range(2):
        try:
            return control.recv(128).decode("ascii", "replace")
        except ConnectionResetError:
            continue  # of a byte that it left unread: told once, and before what it had to say
        except OSError:
            break
    return ""


async def _start_failed(run: Run, world: Registry) -> None:
    assert run.failure is not None
    step, errno = run.failure
    world.streams.stop(run)
    await end(run, world, "start-failed", "start-failed", {**NOTHING, "step": step, "errno": errno})
    world.retire(run)


async def _canceled(run: Run, world: Registry) -> None:
    """Stopped before it could run."""
    world.keeper.send("ack", run=run.id)  # ends a child that waits for `go`
    await end(run, world, "canceled", "canceled", dict(NOTHING))
    world.retire(run)


async def _until(run: Run, condition: Callable[[], bool]) -> None:
    """Wait for a fact, or for the loss of the keeper where the keeper is who would tell it."""
    while not condition() and not run.keeper_lost:
        await run.wake.wait()
