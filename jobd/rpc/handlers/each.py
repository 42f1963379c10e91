"""What the verbs that act on several jobs share: a task and a Done for each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Final

import trio

from jobd.rpc.context import Context, Refused
from jobd.runtime.slots import LimitReached
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.runtime.definitions import Change

PLANNED_BYTES: Final = 200  # of a change, without its texts
MAX_PLAN: Final = 768 << 10  # bytes of changes: with warnings they fit a frame of 1 MiB

Act = Callable[[str, int], Awaitable[m.Done]]


async def each(context: Context, request: int, words: list[str], act: Act) -> None:
    """Do one act to several jobs at once, and end the request. `act` gets the word and its place among them."""

    async def one(word: str, index: int) -> None:
        try:
            done = await act(word, index)
        except Refused as refused:
            done = m.Done(job=word, code=refused.code, text=str(refused))
        except LimitReached as limit:
            done = m.Done(job=word, code=errors.LIMIT, text=str(limit))
        await context.connection.item(request, done)

    async with trio.open_nursery() as nursery:
        for index, word in enumerate(words):
            nursery.start_soon(one, word, index)
            await context.connection.share.turn()
    await context.connection.end(request)


def changed_plan(changes: Iterable[Change], warnings: list[str]) -> m.Plan:
    """What reading definitions has changed, as an answer; of very much, what fits a frame."""
    planned: list[m.Planned] = []
    size = left_out = 0
    for change in changes:
        size += PLANNED_BYTES + len((change.file + change.text).encode()) + sum(map(len, change.keys))
        if size > MAX_PLAN:
            left_out += 1
            continue
        planned.append(
            m.Planned(
                job=change.job, owner=change.owner, change=change.change, file=change.file, keys=change.keys,
                restart=change.restart, text=change.text,
            )
        )  # fmt: skip
    more = [f"{left_out} more changes are not shown"] if left_out else []
    return m.Plan(changes=planned, warnings=[*warnings, *more])


def keeper_is_dead(verb: str, word: str) -> Refused:
    """The refusal of what only a keeper can do."""
    text = f"cannot {verb} {word}: the keeper has died; try again when another has taken over"
    return Refused(errors.UNAVAILABLE, text, job=word)
