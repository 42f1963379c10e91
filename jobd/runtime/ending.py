"""The end of a run: its result, the job's next state, and the last of its output."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import trio

from jobd.core import exits, records, states
from jobd.core.restarts import STOPPED
from jobd.runtime import restarting
from jobd.runtime.service import becomes_ready

if TYPE_CHECKING:
    from jobd.runtime.job import Caller, Value
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run

CANCELED: Final = "canceled"  # a result, and the kind of its event
DRAIN_SEC: Final = 5.0  # DESIGN.md, section 5: pipes are closed 5 s after the tree is gone


def _result(run: Run) -> str:
    """The run's result (DESIGN.md, section 9)."""
    if run.row.result is not None:
        return run.row.result  # its main process had ended by itself, or in time, before its rest was killed
    if run.row.stop_asked in ("", STOPPED) and run.job.row.sub == states.STOP_SIGKILL:
        return "timeout"
    return run.row.stop_asked or own_result(run)


def own_result(run: Run) -> str:
    """The result of an end that nobody asked for. What ends well before it was ready has not kept its word."""
    result = run.own_result()
    early = result == "success" and run.row.ready_at is None and becomes_ready(run.spec)
    return "protocol" if early else result


async def finish(run: Run, world: Registry) -> None:
    """Nothing of the run is left: record what it has come to."""
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
    await end(run, world, "finished", result, fields)


async def end(run: Run, world: Registry, kind: str, result: str, fields: dict[str, Value]) -> None:
    """Bring the job to rest, or between two runs, durably, and tell who waits."""
    good = result in exits.GOOD_RESULTS
    again = {} if world.stopping else restarting.plan(run, result)
    event = states.RETRY if again else states.GOOD if good else states.BAD
    fields |= {"result": result, "finished_at": time.time_ns(), "job.result": "success" if good else result, **again}
    commit = run.job.fire(event, kind, None, **fields)
    if run.launched:
        # What is still in its pipes takes nobody's place. What begins instead is recorded after this end, and mostly in
        # the same transaction.
        world.slots.leave(run)
    await commit.wait()
    run.settle_end()
    if again:
        restarting.begin(run.job, world, again["job.restart_at"])


def end_unbegun(run: Run, world: Registry, result: str, reason: str = "", by: Caller | None = None) -> None:
    """Record the end of a run that never began. Whoever waits for it is told when that is durable, and it is forgotten.

    It need not be its job's newest.
    """
    good = result in exits.GOOD_RESULTS
    fields: dict[str, Value] = {
        "result": result, "reason": reason, "finished_at": time.time_ns(), "out_bytes": 0, "err_bytes": 0,
        "closed": True,
    }  # fmt: skip
    if by is not None:
        fields["stop_uid"] = by.uid
    world.singletons.forget(run)
    if run.job.run is run:
        fields["job.result"] = "success" if good else result
        commit = run.job.fire(states.GOOD if good else states.BAD, result, by, **fields)
    else:
        with world.journal.together() as commit:
            run.job.note(run, result, by, None, state=records.FINISHED, **fields)
            world.waiting.ended(run.row.owner, run.id, result)
    if not run.wake.parked:
        run.wake.set()

    def told() -> None:
        run.settle_end()
        world.retire(run)

    commit.then(told)


async def close(run: Run, world: Registry) -> None:
    """See the output to its end, record that, and let the keeper forget the run."""
    if not run.row.closed:
        world.streams.let_end(run)
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
