"""What the verbs that act on several jobs share: a task and a Done for each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

import trio

from jobd.rpc.context import Context, Refused
from jobd.runtime.slots import LimitReached
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.runtime.definitions import Change

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
    """What reading definitions has changed, as an answer."""
    return m.Plan(
        changes=[
            m.Planned(
                job=change.job, owner=change.owner, change=change.change, file=change.file, keys=change.keys,
                restart=change.restart, text=change.text,
            )
            for change in changes
        ],
        warnings=warnings,
    )  # fmt: skip


def keeper_is_dead(verb: str, word: str) -> Refused:
    """The refusal of what only a keeper can do."""
    text = f"cannot {verb} {word}: the keeper has died; try again when another has taken over"
    return Refused(errors.UNAVAILABLE, text, job=word)
