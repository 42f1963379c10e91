"""Starting and restarting jobs for a request: those that need each other at once, then each until it is up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobd.core import states
from jobd.core.arrays import element_id, index_of
from jobd.rpc import privileges
from jobd.rpc.context import Refused
from jobd.rpc.handlers.each import each, steps
from jobd.rpc.runs import refused, until_up
from jobd.runtime import together
from jobd.runtime.registry import Stopping
from jobd.runtime.slots import LimitReached
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.core.records import JobRow
    from jobd.rpc.context import Context

FEW: Final = 16  # jobs that are looked at in one turn
STEP: Final = 16  # that are accepted in one: 3 ms of the loop
RESTARTS: Final = ("restart", "try-restart")


async def begin_all(context: Context, request: m.Start | m.Restart, action: str) -> None:
    """Accept all that the request comes to; then each job is done when it is up, or will not be."""
    if len(request.runs) != len(request.names):
        text = f"{len(request.names)} names and {len(request.runs)} run ids: one for each"
        raise Refused(errors.INVALID, text)
    names, runs = await _spread(context, request)
    ids: dict[int, dict[str, bytes]] = {}
    words: dict[tuple[int, str], list[str]] = {}
    failed: dict[str, Refused] = {}
    for at, (word, run_id) in enumerate(zip(names, runs, strict=True)):
        try:
            row = context.job(word, action)
            words.setdefault((row.owner, row.job), []).append(word)
            if not isinstance(request, m.Restart) or not request.running_only or _runs(row):
                context.submitted(row.owner, row.job, run_id)  # which refuses an id that is another's
                ids.setdefault(row.owner, {})[row.job] = run_id
        except Refused as why:
            failed[word] = why
        if at % FEW == FEW - 1:
            await context.turn()
    for owner, his in ids.items():
        for name, refusal in (await _begin_all(context, owner, his, action)).items():
            failed.update(dict.fromkeys(words[owner, name], refusal))

    async def act(word: str, index: int) -> m.Done:
        if word in failed:
            raise failed[word]
        return await until_up(context, request.id, word, runs[index], action, request.no_block)

    await each(context, request.id, names, act, begins=True)


async def _spread(context: Context, request: m.Start | m.Restart) -> tuple[list[str], list[bytes]]:
    """The jobs, with all of its elements in the place of an array, and a run's id for each."""
    names: list[str] = []
    runs: list[bytes] = []
    for word, run_id in zip(request.names, request.runs, strict=True):
        elements = await context.elements(word, at_rest=True)
        if elements is None:
            names.append(word)
            runs.append(run_id)
        else:
            names += elements
            runs += [element_id(run_id, index_of(name) or 0) for name in elements]
    if len(set(runs)) != len(runs):
        raise Refused(errors.MALFORMED, "cannot take the same run id twice")
    return names, runs


async def begin_one(
    context: Context, request: int, word: str, run_id: bytes, no_block: bool, action: str, *, restarts: bool
) -> m.Done:
    """The same with one job, as a part of another request."""
    await context.world.registry.may_submit()
    row = context.job(word, action)
    context.submitted(row.owner, row.job, run_id)
    for refusal in _begin(context, row.owner, {row.job: run_id}, restarts).values():
        raise refusal
    return await until_up(context, request, word, run_id, action, no_block)


async def _begin_all(context: Context, owner: int, ids: dict[str, bytes], action: str) -> dict[str, Refused]:
    """Begin with one owner's jobs, of thousands a few in a turn; those that cannot be."""
    failed: dict[str, Refused] = {}
    for at, few in enumerate(steps(context, owner, ids, STEP)):
        if at:
            await context.turn()
        await context.world.registry.may_submit()
        failed |= _begin_few(context, owner, {name: ids[name] for name in few}, action)
    return failed


def _begin_few(context: Context, owner: int, ids: dict[str, bytes], action: str) -> dict[str, Refused]:
    """Begin with some of one owner's jobs, if the caller still may; those that cannot be."""
    failed: dict[str, Refused] = {}
    for name in ids:
        try:
            context.job(context.word(owner, name), action)
        except Refused as why:
            failed[name] = why
    left = {name: run_id for name, run_id in ids.items() if name not in failed}
    return failed | _begin(context, owner, left, action in RESTARTS)


def _runs(row: JobRow) -> bool:
    return row.sub not in states.AT_REST and row.active != "deactivating"


def _begin(context: Context, owner: int, ids: dict[str, bytes], restarts: bool) -> dict[str, Refused]:
    """Begin with one owner's jobs; those that cannot be. Those that have such a run are a retry: all of it is done."""
    act = together.Act(context.caller, privileges.again(owner, context.access))
    ids = {name: run_id for name, run_id in ids.items() if context.submitted(owner, name, run_id) is None}
    begin = together.restart if restarts else together.start
    try:
        refusals = begin(context.world.registry, owner, ids, act)
    except Stopping:
        why = Refused(errors.UNAVAILABLE, "cannot start anything: jobd is shutting down")
        return dict.fromkeys(ids, why)
    except LimitReached as limit:
        left = [name for name, run_id in ids.items() if context.submitted(owner, name, run_id) is None]
        return dict.fromkeys(left, Refused(limit.code, str(limit)))  # the others begin
    except KeyError:
        text = "cannot start {}: a definition is gone from the database"
        return {name: Refused(errors.FAILED, text.format(name), job=name) for name in ids}
    return {name: refused(context, owner, name, refusal) for name, refusal in refusals.items()}
