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
from typing import TYPE_CHECKING, Final

import trio

from jobd.core import exits, records, states
from jobd.store.db import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run

DRAIN_SEC: Final = 5.0  # DESIGN.md, section 5: pipes are closed 5 s after the tree is gone
NSEC_PER_SEC: Final = 1_000_000_000
GO: Final = b"G"  # jobd.keeper.spawn.GO


async def live(run: Run, world: Registry) -> None:
    """Walk a run to its end. Cancelling leaves it as it is: the next daemon takes it up from the same place."""
    if run.row.started_at is None and run.row.state != records.FINISHED:
        async with world.launching:
            if not (run.went or await _launch(run, world)) or not await _executed(run, world):
                return
    run.launched = True
    if run.row.state != records.FINISHED:
        await _watch(run)
        await _wind_down(run, world)
        await _finish(run, world)
    await _close(run, world)


# --- launch -------------------------------------------------------------------------------------------------------
async def _launch(run: Run, world: Registry) -> bool:
    """Bring the run to `go`. False: it is over."""
    while True:
        if run.row.stop_asked:
            await _canceled(run, world)
            return False
        commit = run.accepted
        if run.row.state == records.QUEUED:
            if not world.keeper.alive:
                await run.wake.wait()  # a stop; otherwise the daemon that follows starts it
                continue
            commit = run.job.fire(states.BEGIN, "starting", **world.keeper_fields())
        run.spawn(world.keeper, world.environment(run))
        if commit is not None:
            try:
                await commit.wait()
            except StoreError:
                world.drop(run)
                return False
        await _until(run, lambda: run.pid is not None or run.failure is not None)
        if run.failure is not None:
            await _start_failed(run, world)
            return False
        if run.keeper_lost:
            # No `go` was asked for, so the child has ended without executing anything.
            run.job.fire(states.REQUEUE, "requeued", reason="")
            run.close_fds()
            run.pid = None
            continue
        if run.row.stop_asked:
            continue
        world.capture(run)
        run.went = True
        world.keeper.send("go", run=run.id)
        return True


async def _executed(run: Run, world: Registry) -> bool:
    """Wait for exec. False: it failed, and the run is over."""
    while not (run.execd or run.failure or run.ending):
        if run.keeper_lost and run.ctl is not None:
            await _let_go(run)
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
        try:
            control.send(GO)
            await trio.lowlevel.wait_readable(control)
            said = control.recv(128).decode("ascii", "replace")
        except OSError:  # closed before it read the byte: as good as end of file
            said = ""
    step, _, number = said.partition(":")
    if number.isdigit():
        run.failure = (step, int(number))
    else:
        run.execd = True


async def _start_failed(run: Run, world: Registry) -> None:
    assert run.failure is not None
    step, errno = run.failure
    fields = {"step": step, "errno": errno, "out_bytes": 0, "err_bytes": 0, "closed": True}
    world.stop_capture(run)
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
    limit = run.spec.runtime_usec
    with trio.CancelScope() as scope:
        if limit is not None and run.row.started_at is not None:
            left = limit / 1e6 - (time.time_ns() - run.row.started_at) / NSEC_PER_SEC
            scope.deadline = trio.current_time() + max(0.0, min(left, limit / 1e6))
        while run.ending is None and not run.row.stop_asked:
            await run.wake.wait()
    if scope.cancelled_caught and run.ending is None:
        run.ask_stop(None, "timeout")


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
        await run.job.fire(states.TIME_UP, "killing").wait()
    await _kill(run, world)


async def _terminate(run: Run, world: Registry) -> None:
    """The stop signal, and the time it is given."""
    await world.journal.flush()  # the intent is durable before the first signal
    only_main = run.spec.kill_mode != "control-group"
    if run.ending is None or not only_main:
        opid = "final-term-1" if run.job.row.sub == states.FINAL_SIGTERM else "term-1"
        whom = "main" if only_main else "all"
        world.keeper.send("signal", run=run.id, o=opid, sig=run.spec.stop_signal, whom=whom)
    timeout = run.spec.stop_timeout_usec
    since = run.job.row.changed_at
    left = float("inf") if timeout is None else timeout / 1e6 - (time.time_ns() - since) / NSEC_PER_SEC
    if timeout is not None:
        left = max(0.0, min(timeout / 1e6, left))  # the wall clock may have been stepped either way
    with trio.move_on_after(left):
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
        return run.row.result  # it had ended by itself before its rest was stopped
    if run.row.stop_asked == "timeout" or (run.row.stop_asked and run.job.row.sub == states.STOP_SIGKILL):
        return "timeout"
    return run.row.stop_asked or run.own_result()


async def _finish(run: Run, world: Registry) -> None:
    fields = {} if run.row.exited_at is not None else run.exit_fields(world.rss_floor_bytes)
    result = _result(run)
    if run.eof:
        fields |= {"out_bytes": run.out_bytes, "err_bytes": run.err_bytes, "closed": True}
    assert run.ending is not None
    if run.ending.status < 0 and result == "lost":
        fields["reason"] = "its exit status could not be read after its keeper had died"
    await _end(run, "finished", result, fields)


async def _end(run: Run, kind: str, result: str, fields: dict[str, str | int | bytes | bool | None]) -> None:
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
            world.pump.close(run.id)
            await _drained(run)
        fields = {"out_bytes": run.out_bytes, "err_bytes": run.err_bytes, "closed": True, "note": note}
        await run.job.note(run, "closed", **fields).wait()
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
