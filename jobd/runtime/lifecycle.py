"""The walk of one run, from acceptance to its recorded end: one task, and its place in the code is the state.

    launch    spawn ‖ commit of `starting` → go → exec succeeded, or a step failed
    watch     until the main process ends, somebody asks for a stop, or the runtime limit is up
    wind down the stop signal, the timeout, SIGKILL, until no process of the tree is left
    close     output to EOF, or 5 s after the tree is gone; then the keeper may forget

Every step can be entered directly: a daemon that was killed takes its runs up where they are. What was done already is
known from the committed row and from the keeper, whose operation ids keep a signal from being sent twice.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from jobd.core import exits, records, states, units
from jobd.runtime.journal import NotDurable
from jobd.runtime.keeperlink import close_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobd.runtime.job import Value
    from jobd.runtime.journal import Commit
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run

DRAIN_SEC: Final = 5.0  # DESIGN.md, section 5: pipes are closed 5 s after the tree is gone
SLOT_SEC: Final = 5.0  # a launch takes milliseconds; one that hangs in its directory or program holds up nobody else
STUCK_SEC: Final = 5.0  # from a stop to SIGKILL for a child that does not come to its program
NSEC_PER_SEC: Final = 1_000_000_000
GO: Final = b"G"  # jobd.keeper.spawn.GO


async def live(run: Run, world: Registry) -> None:
    """Walk a run to its end. Cancelling leaves it as it is: the next daemon takes it up from the same place."""
    if run.row.started_at is None and run.row.state != records.FINISHED:
        while not run.went:
            if not await _may_launch(run, world):
                return
            async with world.launching.place(run.row.owner):
                await _launch(run, world)
                if run.went:
                    with trio.move_on_after(SLOT_SEC):
                        await _until(run, lambda: _is_decided(run))
            if run.gone:
                return
        if not await _executed(run, world):
            return
    run.launched = True
    if run.row.state != records.FINISHED:
        await _watch(run)
        await _wind_down(run, world)
        await _finish(run, world)
    await _close(run, world)


# --- launch -------------------------------------------------------------------------------------------------------
async def _may_launch(run: Run, world: Registry) -> bool:
    """Wait, without a place among the launching, while nothing may start. False: the run was not accepted after all."""
    if run.row.state == records.QUEUED and run.accepted is not None and not await _durable(run, world, run.accepted):
        return False
    while _must_wait(run, world) and not run.row.stop_asked:
        if run.accepted is not None and run.accepted.done:
            run.env = None  # it is in the database, and this may take long
        await run.wake.wait()  # for a stop, or for a slot; without a keeper the daemon that follows starts it
    return True


def _must_wait(run: Run, world: Registry) -> bool:
    return run.row.state == records.QUEUED and (world.stopping or not world.keeper.alive or not run.slot)


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
    if run.row.stop_asked:
        await _canceled(run, world)
        return
    commit = run.accepted
    if run.row.state == records.QUEUED:
        if _must_wait(run, world):
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
    run.spawn(world.keeper, world.environment(run), fds, world.policy)
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
    run.job.fire(states.EXECD, "started", pid=run.pid, pid_start=run.pid_start, started_at=at)
    run.launched = True
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
    fields: dict[str, Value] = {"step": step, "errno": errno, "out_bytes": 0, "err_bytes": 0, "closed": True}
    world.streams.stop(run)
    await _end(run, "start-failed", "start-failed", fields)
    world.retire(run)


async def _canceled(run: Run, world: Registry) -> None:
    """Stopped before it could run."""
    world.keeper.send("ack", run=run.id)  # ends a child that waits for `go`
    await _end(run, "canceled", "canceled", {"closed": True, "out_bytes": 0, "err_bytes": 0})
    world.retire(run)


# --- watch --------------------------------------------------------------------------------------------------------
async def _watch(run: Run) -> None:
    """Wait for the end of the main process, or for a reason to stop it."""
    with trio.move_on_after(_left(run, run.spec.runtime_usec, run.row.started_at)) as scope:
        while run.ending is None and not run.row.stop_asked:
            await run.wake.wait()
    if scope.cancelled_caught and run.ending is None:
        run.ask_stop(None, "timeout")


def _left(run: Run, limit_usec: int | None, since: int | None) -> float:
    """Seconds left of a limit that began when the run came into its state.

    Under the daemon that brought it there the monotonic clock counts. A later one has only the wall clock's `since`,
    which may have been stepped either way: the limit is never made longer by that, and at worst is up at once.
    """
    if limit_usec is None or since is None:
        return float("inf")
    limit = limit_usec / units.USEC_PER_SEC
    if run.entered_mono is not None:
        gone = trio.current_time() - run.entered_mono
    else:
        gone = (time.time_ns() - since) / NSEC_PER_SEC
    return max(0.0, min(limit, limit - gone))


# --- wind down ----------------------------------------------------------------------------------------------------
def _is_over(run: Run) -> bool:
    return run.ending is not None and (run.empty or run.spec.kill_mode == "process")


def _note_exit(run: Run, world: Registry) -> None:
    """Record the exit of the main process at once when others of its tree live on."""
    if run.ending is not None and run.row.exited_at is None and not _is_over(run):
        fields = run.exit_fields(world.rss_floor_bytes)
        if not run.row.stop_asked:
            fields["result"] = run.own_result()
        run.job.fire(states.LEFT, "exited", None, **fields)


async def _wind_down(run: Run, world: Registry) -> None:
    """Stop what is left: the whole tree if a stop was asked, else the rest of it after the main process ended."""
    _note_exit(run, world)
    if _is_over(run):
        return
    world.keeper.send("watch", run=run.id)
    if run.job.row.sub in (states.STOP_SIGTERM, states.FINAL_SIGTERM):
        await _terminate(run, world)
        if _is_over(run):
            return
        obeyed = run.spec.kill_mode == "mixed" and run.ending is not None and run.row.result is None
        result = {"result": run.row.stop_asked} if obeyed and run.row.stop_asked else {}
        await run.job.fire(states.TIME_UP, "killing", None, **result).wait()
    await _kill(run, world)


async def _terminate(run: Run, world: Registry) -> None:
    """The stop signal, and the time it is given."""
    await world.journal.flush()  # the intent is durable before the first signal
    only_main = run.spec.kill_mode != "control-group"
    if run.ending is None or not only_main:
        opid = "final-term-1" if run.job.row.sub == states.FINAL_SIGTERM else "term-1"
        whom = "main" if only_main else "all"
        world.keeper.send("signal", run=run.id, o=opid, sig=run.spec.stop_signal, whom=whom)
    with trio.move_on_after(_left(run, run.spec.stop_timeout_usec, run.job.row.changed_at)):
        while not _is_over(run):
            if run.spec.kill_mode == "mixed" and run.ending is not None:
                return  # systemd's mixed: the rest gets SIGKILL as soon as the main process has ended
            await run.wake.wait()
            _note_exit(run, world)


async def _kill(run: Run, world: Registry) -> None:
    """SIGKILL, and wait until nothing is left."""
    if run.spec.kill_mode == "process":
        world.keeper.send("signal", run=run.id, o="kill-1", sig=9, whom="main")
    else:
        world.keeper.send("kill-tree", run=run.id, o="kill-1")
    while not _is_over(run):
        await run.wake.wait()
        _note_exit(run, world)


# --- the end ------------------------------------------------------------------------------------------------------
def _result(run: Run) -> str:
    """The run's result (DESIGN.md, section 9)."""
    if run.row.result is not None:
        return run.row.result  # its main process had ended by itself, or in time, before its rest was killed
    if run.row.stop_asked == "timeout" or (run.row.stop_asked and run.job.row.sub == states.STOP_SIGKILL):
        return "timeout"
    return run.row.stop_asked or run.own_result()


async def _finish(run: Run, world: Registry) -> None:
    floor = world.rss_floor_bytes
    if run.row.exited_at is None:
        fields = run.exit_fields(floor)
    else:  # what its rest has used since; what was known is not forgotten
        fields = {name: value for name, value in run.usage_fields(floor).items() if value is not None}
    result = _result(run)
    if run.eof:
        fields |= {"out_bytes": run.out_bytes, "err_bytes": run.err_bytes, "closed": True}
    assert run.ending is not None
    if run.ending.status < 0 and result == "lost":
        fields["reason"] = "its exit status could not be read after its keeper had died"
    await _end(run, "finished", result, fields)
    world.slots.leave(run)  # what is still in its pipes takes nobody's place


async def _end(run: Run, kind: str, result: str, fields: dict[str, Value]) -> None:
    """Bring the job to rest, durably, and tell who waits."""
    good = result in exits.GOOD_RESULTS
    fields |= {"result": result, "finished_at": time.time_ns(), "job.result": "success" if good else result}
    await run.job.fire(states.GOOD if good else states.BAD, kind, None, **fields).wait()
    run.settle_end()


async def _close(run: Run, world: Registry) -> None:
    """See the output to its end, record that, and let the keeper forget the run."""
    if not run.row.closed:
        note = ""
        with trio.move_on_after(DRAIN_SEC):
            await _drained(run)
        if not run.eof:
            tree = await world.keeper.tree(run.id, holders=True)
            note = _describe_holders(tree.holders)
            world.streams.pump.close(run.id)
            await _drained(run)
        sizes = {"out_bytes": run.out_bytes, "err_bytes": run.err_bytes}
        await run.job.note(run, "closed", None, None, closed=True, note=note, **sizes).wait()
    run.output_changed.set()
    world.retire(run)


async def _drained(run: Run) -> None:
    while not run.eof:
        await run.wake.wait()


def _describe_holders(holders: list[tuple[int, bytes]]) -> str:
    if not holders:
        return "its output was still open 5 s after its last process; it was closed"
    words = [f"{pid} ({command[:40].decode(errors='backslashreplace')})" for pid, command in holders[:8]]
    return f"its output was held open by {', '.join(words)}; it was closed after 5 s"


async def _until(run: Run, condition: Callable[[], bool]) -> None:
    """Wait for a fact, or for the loss of the keeper where the keeper is who would tell it."""
    while not condition() and not run.keeper_lost:
        await run.wake.wait()
