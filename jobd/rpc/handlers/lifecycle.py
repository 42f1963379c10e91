"""`start`, `stop`, `restart`, `kill`: one task a job, progress while it waits, one Done for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobd.core import exits, records
from jobd.core.ids import ONCE_OPERATION, USER_OPERATION
from jobd.rpc.context import Context, Refused
from jobd.rpc.handlers.each import each, keeper_is_dead, only_run, words_meant
from jobd.rpc.runs import is_at_rest, until_gone
from jobd.rpc.starting import FEW, begin_all
from jobd.rpc.stopping import stop_all
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.core.records import JobRow
    from jobd.runtime.run import Run

CONTROL: Final = "control"  # the commands that run besides the main process
ASKED_RUNS: Final = 3  # of a job: so many may have come and gone while a client connects again


# --- start, restart -----------------------------------------------------------------------------------------------
async def start(context: Context, request: m.Start) -> None:
    """Start jobs with what they need; one that runs is left alone, as systemctl does."""
    await begin_all(context, request, "start")


async def restart(context: Context, request: m.Restart) -> None:
    """Stop jobs, and start them again. What is stopped with them starts again too."""
    await begin_all(context, request, "try-restart" if request.running_only else "restart")


# --- stop ---------------------------------------------------------------------------------------------------------
async def stop(context: Context, request: m.Stop) -> None:
    """Stop jobs, and what requires them; each is done when no process of it is left."""
    words = await words_meant(context, request, "stop")
    names: dict[int, dict[str, bytes | None]] = {}
    runs: dict[str, Run] = {}
    failed: dict[str, Refused] = {}
    for index, word in enumerate(words):
        try:
            row = context.job(word, "stop")
        except Refused as why:
            failed[word] = why
            continue
        run, only = None if is_at_rest(row) else context.live(row), only_run(request, index)
        if only is None or (run is not None and run.id == only):
            names.setdefault(row.owner, {})[row.job] = only
            runs.update({} if run is None else {word: run})
        if index % FEW == FEW - 1 and not request.runs:  # else another run may take the place of the one that is meant
            await context.turn()
    commits = [commit for owner, his in names.items() for commit in await stop_all(context, "stop", owner, his)]

    async def act(word: str, _: int) -> m.Done:
        if word in failed:
            raise failed[word]
        for commit in commits:
            await commit.wait()
        run = runs.get(word)
        if run is None:
            return m.Done(job=word)
        if not request.no_block:
            await until_gone(context, request.id, word, run)
        return m.Done(job=word, run=run.id, number=run.row.number)

    await each(context, request.id, words, act)


# --- kill ---------------------------------------------------------------------------------------------------------
async def kill(context: Context, request: m.Kill) -> None:
    """Send a signal to running jobs."""
    if request.whom not in ("main", CONTROL, "all"):
        raise Refused(errors.INVALID, f"cannot signal {request.whom!r}: neither main nor control nor all")

    async def act(word: str, index: int) -> m.Done:
        return await _signal(context, request, word, index)

    await each(context, request.id, await words_meant(context, request, "kill"), act)


async def _signal(context: Context, request: m.Kill, word: str, index: int) -> m.Done:
    row = context.job(word, "kill")
    run, only = context.live(row), only_run(request, index)
    asked = _asked_of(context, row, only, request.once) if request.once else None
    if run is None or is_over(run) or run.pid is None or not run.went or only not in (None, run.id):
        if asked is not None:  # it has had its signal, and has ended
            return m.Done(job=word, run=asked)
        raise Refused(errors.NOT_APPLICABLE, f"cannot signal {word}: it is not running", job=word)
    if asked not in (None, run.id):  # and so has the one before this
        return m.Done(job=word, run=asked)
    if request.whom == CONTROL and asked is None and not run.helpers.at_work:
        raise Refused(errors.NOT_APPLICABLE, f"cannot signal {word}: no command of it runs besides", job=word)
    keeper = context.world.keeper
    if not keeper.alive:
        raise keeper_is_dead("signal", word)
    if asked is None:
        kind = f"kill {exits.signal_name(request.signal)} {request.whom}"
        once = {records.ONCE: request.once} if request.once else {}
        await run.job.note(run, kind, context.caller, None, **once).wait()
    answers = run.signaled
    opid = f"{USER_OPERATION}{context.world.registry.store.next_event_seq()}-{index}"
    if request.once:
        opid = ONCE_OPERATION + request.once
    keeper.send("signal", run=run.id, o=opid, sig=request.signal, whom=request.whom)
    while run.signaled == answers and not run.gone:
        if run.keeper_lost:
            raise keeper_is_dead("signal", word)
        await run.changed.wait()
    return m.Done(job=word, run=run.id, number=run.row.number)


def is_over(run: Run) -> bool:
    """Whether nothing of it is left, as all who look are told already, though that need not be durable yet."""
    return run.gone or run.row.state == records.FINISHED


def _asked_of(context: Context, row: JobRow, only: bytes | None, once: str) -> bytes | None:
    """The run that was to get this very signal before: of a daemon that was killed over it, or whose answer is lost.

    It is recorded ahead of the signal. Whether that was sent the keeper knows, as long as the run lives.
    """
    store = context.world.registry.store
    for run_id in store.last_runs(row.owner, row.job, ASKED_RUNS) if only is None else [only]:
        events = store.last_events_of_run(row.owner, row.job, run_id)
        if any(event.data.get(records.ONCE) == once for event in events):
            return run_id
    return None
