"""What handlers that make runs, or wait for them, share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import trio

from jobd.core import after, exits, records, service, states
from jobd.core.graph import CYCLIC, MISSING
from jobd.rpc import views
from jobd.rpc.context import Context, Refused
from jobd.runtime import readiness, together
from jobd.runtime.journal import NotDurable
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobd.core.graph import Refusal
    from jobd.core.records import JobRow, RunRow
    from jobd.runtime.run import Run

FIRST_PROGRESS_SEC: Final = 0.5  # most stops are over by then and need no words
PROGRESS_SEC: Final = 1.0
SHOWN_PROCESSES: Final = 5
CODES: Final = {  # of graph.Refusal
    MISSING: errors.NOT_FOUND,
    CYCLIC: errors.BAD_SETTING,
    together.BROKEN: errors.BAD_SETTING,
    together.MASKED: errors.MASKED,
}


async def submit_once(
    context: Context, request: int, exec_wait: bool, known: Callable[[], RunRow | None], submit: Callable[[], Run]
) -> None:
    """Call `submit` unless `known` finds such a run: a retry after a lost reply is answered as the first was."""
    async with context.connection.share.submits():
        await context.world.registry.may_submit()
        row = known()
        live = submit() if row is None else context.live_run(row)
        if live is None:
            assert row is not None
            await context.connection.reply(request, started(context, row))  # it has ended meanwhile
            return
        await accepted(live)
    while exec_wait and live.slot and not live.launched:  # who has to wait for a slot may wait long
        await live.changed.wait()
    await context.connection.reply(request, started(context, live.row))


async def accepted(run: Run) -> None:
    """Return when the run is durable.

    Raises:
        Refused: NO_SPACE; then there is no such run.
    """
    try:
        await run.durable()
    except NotDurable as error:
        raise Refused(errors.NO_SPACE, f"cannot accept {run.job.row.job}: {error}") from error


def refused(context: Context, owner: int, name: str, refusal: Refusal) -> Refused:
    """The answer for a job that cannot be started, for a reason of its own or of what it requires."""
    text = f"cannot start {name}: {refusal}"
    code = CODES.get(refusal.kind, errors.FAILED)
    if refusal.kind == together.MASKED and refusal.job == name:
        text += "; jobctl unmask allows it again"
    if refusal.kind == together.BROKEN:
        row = context.look(owner, name)
        if refusal.job != name:
            code = errors.FAILED  # there is nothing wrong with what was named
        elif row is not None and row.problem:
            text += f":\n{row.problem}"
    return Refused(code, text, job=name)


def started(context: Context, row: RunRow) -> m.Started:
    """The answer for a run, with the failed step in words if there is one."""
    live = context.live_run(row)
    text = failure_text(context, row) if row.step else unenforced_text(context, row)
    if row.result == after.DEPENDENCY:
        text = f"{row.job} never begins: {row.reason}"
    return m.Started(
        job=row.job,
        owner=row.owner,
        run=row.run,
        number=row.number,
        pid=row.pid,
        step=row.step,
        errno=row.errno,
        text=text,
        waits="" if live is None else views.waits(context.world.registry, live),
    )


def failure_text(context: Context, row: RunRow) -> str:
    """`cannot start foo: changing directory to /srv/foo: No such file or directory`."""
    spec = views.spec_of(context.world.registry, row.spec)
    program, cwd = (word.decode(errors="backslashreplace") for word in ((spec.program or (b"?",))[0], spec.cwd))
    user = spec.user or f"uid {row.owner}"
    files = [path.decode(errors="backslashreplace") for path, _ in spec.env_files]
    text = exits.describe_start_failure(row.job, row.step, row.errno, program, cwd, user, files)
    return f"{text} (as {spec.user}; -C chooses another)" if row.step == "chdir" and spec.user else text


def unenforced_text(context: Context, row: RunRow) -> str:
    """What is asked for and this machine cannot do, a line each: a warning to who starts it."""
    return unenforced_lines(context, row.job, row.spec)


def unenforced_lines(context: Context, job: str, key: bytes) -> str:
    """The same, of a job with this definition."""
    spec = views.spec_of(context.world.registry, key)
    return "\n".join(f"{job}: {line}" for line in views.not_enforced(context.world.registry, spec))


def never_up(context: Context, row: RunRow) -> str:
    """Why a run that was started has not come so far as to be ready, or to the good end of a oneshot; "" if it has."""
    spec = views.spec_of(context.world.registry, row.spec)
    oneshot = spec.type == service.ONESHOT
    if row.state != records.FINISHED or row.ready_at is not None or not (oneshot or readiness.is_needed(spec)):
        return f"Job {row.job} canceled: {row.reason}" if row.result == "dependency" else ""
    if oneshot and row.result == "success":
        return ""
    return f"cannot start {row.job}: {_before_ready(row, '' if oneshot else ' before it was ready')}"


def _before_ready(row: RunRow, when: str) -> str:
    if row.reason:
        return row.reason
    if row.result == "timeout":
        return "it was not ready in time" if when else "it took too long"
    if row.result in exits.GOOD_RESULTS and row.result != "success":
        return f"it was {row.result}{when}"
    if row.signal is not None:
        return f"it was ended by {exits.signal_name(row.signal)}{when}"
    return f"it ended with exit code {row.exit_code}{when}"


def is_at_rest(row: JobRow) -> bool:
    """Whether the job has no live run."""
    return row.sub in states.NO_RUN


async def until_up(context: Context, request: int, word: str, run_id: bytes, action: str, no_block: bool) -> m.Done:
    """Wait until the run that was asked for is up, or will not be, and say meanwhile what is waited for.

    It may be still to come, behind one that is being stopped. A job that was there already has got no such run.
    """
    said = ""
    await _noted(context, context.job(word, action), run_id)
    while True:
        row = context.job(word, action)
        asked = context.submitted(row.owner, row.job, run_id)
        live = context.live(row) if asked is None else context.live_run(asked)
        if live is None:
            if asked is not None:
                return _outcome(context, word, asked)
            return _was_there(context, word, row, action)
        comes = asked is None and live.row.next_run is not None and live.job.run is live
        if asked is not None:
            await accepted(live)
        if comes and no_block:
            return m.Done(job=word, run=run_id, number=row.runs + 1)
        if not comes and (no_block or live.up):
            return _outcome(context, word, live.row)
        pause = PROGRESS_SEC if said else FIRST_PROGRESS_SEC
        with trio.move_on_after(pause) as scope:
            while not (live.gone if comes else live.up):
                await live.changed.wait()
        if scope.cancelled_caught:
            text = await _waiting_for(context, live) if comes else _coming(context, live)
            if text != said:
                said = text
                await context.connection.item(request, m.Progress(job=word, text=text))


async def _noted(context: Context, row: JobRow, run_id: bytes) -> None:
    """Return when it is durable that such a run is to follow, if that was noted; of one that is there: `accepted`."""
    if context.submitted(row.owner, row.job, run_id) is None:
        await context.world.registry.journal.flush()


def _was_there(context: Context, word: str, row: JobRow, action: str) -> m.Done:
    """Of a job that has got no run of its own, as it was there already; it may have failed by now."""
    newest = context.newest(row)
    if action == "start" and newest is not None and row.active == "failed":
        return _outcome(context, word, newest)
    return m.Done(job=word, run=row.latest, number=newest.number if newest else None)


def _coming(context: Context, run: Run) -> str:
    waits = views.waits(context.world.registry, run)
    name = run.row.job
    return f"starting {name}: waiting {waits}" if waits else f"starting {name} ({run.job.row.sub})"


def _outcome(context: Context, word: str, row: RunRow) -> m.Done:
    text = failure_text(context, row) if row.step else never_up(context, row)
    if row.result == "canceled":
        text = f"Job {word} canceled."  # systemctl's words, as of a dependency
    if not text:
        return m.Done(job=word, text=unenforced_text(context, row), run=row.run, number=row.number)
    return m.Done(job=word, code=errors.FAILED, text=text, run=row.run, number=row.number)


async def until_gone(context: Context, request: int, word: str, run: Run) -> None:
    """Wait until this run (not one that follows it) has ended, and say meanwhile what is waited for."""
    said = ""
    pause = FIRST_PROGRESS_SEC
    while not run.gone:
        with trio.move_on_after(pause) as scope:
            await run.changed.wait()
        if scope.cancelled_caught:
            pause = PROGRESS_SEC
            text = await _waiting_for(context, run)
            if text != said:
                said = text
                await context.connection.item(request, m.Progress(job=word, text=text))


async def _waiting_for(context: Context, run: Run) -> str:
    tree = await context.world.keeper.tree(run.id)
    shown = [f"{pid} ({_command(command)})" for pid, _, command in tree.processes[:SHOWN_PROCESSES]]
    count = len(tree.processes)
    more = ", …" if count > SHOWN_PROCESSES else ""
    sub = run.job.row.sub
    if not count:
        return f"stopping {run.row.job} ({sub})"
    return f"stopping {run.row.job} ({sub}): {count} process{'es' if count > 1 else ''} left: {', '.join(shown)}{more}"


def _command(command: bytes) -> str:
    return os.path.basename(command.split(b"\0")[0].split(b" ")[0]).decode(errors="backslashreplace")[:32]
