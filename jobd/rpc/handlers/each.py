"""What the verbs that act on several jobs share: a task and a Done for each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

import trio
from msgspec.structs import replace

from jobd.core import names
from jobd.rpc.context import Context, Refused
from jobd.runtime.elements import RUNNING
from jobd.runtime.slots import LimitReached
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.runtime.definitions import Change

PLANNED_BYTES: Final = 200  # of a change, without its texts
MAX_PLAN: Final = 768 << 10  # bytes of changes: with warnings they fit a frame of 1 MiB

AT_ONCE: Final = 64  # elements of an array
FEW: Final = 16  # jobs whose files are looked at for one request

Act = Callable[[str, int], Awaitable[m.Done]]


async def each(context: Context, request: int, words: list[str], act: Act, *, begins: bool = False) -> None:
    """Do one act to several jobs at once, and end the request.

    Args:
        context: of the request.
        request: its id.
        words: the jobs.
        act: gets the word, and its place among them.
        begins: by their definitions. That a file has changed since it was read is told then, or that it was not read.
    """
    changed = await _changed(context, words) if begins else frozenset()

    async def one(word: str, index: int) -> None:
        try:
            done = await act(word, index)
        except Refused as refused:
            done = m.Done(job=word, code=refused.code, text=str(refused))
            if begins and refused.code == errors.NOT_FOUND:
                done = replace(done, text=await _unread(context, word) or done.text)
        except LimitReached as limit:
            done = m.Done(job=word, code=limit.code, text=str(limit))
        if word in changed:
            told = f"the definition of {word} has changed on disk; jobctl daemon-reload takes it"
            done = replace(done, text=f"{done.text}\n{told}" if done.text else told)
        await context.connection.item(request, done)

    async with trio.open_nursery() as nursery:
        for index, word in enumerate(words):
            nursery.start_soon(one, word, index)
            await context.connection.share.turn()
    await context.connection.end(request)


async def words_meant(context: Context, request: m.Stop | m.Kill | m.CancelQueued, action: str) -> list[str]:
    """The jobs that are meant. With a run for each there are no globs to expand."""
    if not request.runs:
        return await context.expand(request.names, action, at_rest=False, only=RUNNING if action == "kill" else "")
    if len(request.runs) != len(request.names):
        raise Refused(errors.INVALID, f"{len(request.names)} names and {len(request.runs)} runs: one for each, or none")
    return request.names


def only_run(request: m.Stop | m.Kill | m.CancelQueued, index: int) -> bytes | None:
    """The one run of the `index`-th job that is meant, if only one is."""
    return request.runs[index] if request.runs else None


async def _changed(context: Context, words: list[str]) -> frozenset[str]:
    """Of which of these jobs the files say something else by now. Of many at a time nobody asks: each is read."""
    keys = {word: context.key(word) for word in words} if len(words) <= FEW else {}
    known = {word: context.look(*key) for word, key in keys.items() if key is not None}
    rows = {word: row for word, row in known.items() if row is not None and row.file.startswith("/")}
    if not rows:
        return frozenset()
    definitions = context.world.definitions
    files = {word: row.job for word, row in rows.items() if row.owner == definitions.owner}
    changed = await definitions.changed(frozenset(files.values()))
    return frozenset(word for word, name in files.items() if name in changed)


async def _unread(context: Context, word: str) -> str:
    """What to say of a job that is not there, if it has a file that was not read yet; told to whose it is."""
    key = context.key(word)
    if key is None or key != context.key(key[1]) or context.look(*key) is not None:
        return ""
    definitions, template = context.world.definitions, names.template_of(key[1])
    there = await definitions.is_there(*key) or (template and await definitions.is_there(key[0], template))
    return f"{word} is not known yet: jobctl daemon-reload reads its file" if there else ""


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


def steps(context: Context, owner: int, names: Iterable[str], count: int) -> Iterator[list[str]]:
    """Jobs of one owner as an act takes them: all at once, or of many first those that need others or that others need.

    Args:
        context: of the request.
        owner: of the jobs.
        names: theirs.
        count: how many that need nobody are taken in one turn.
    """
    names = list(names)
    if len(names) <= count:
        yield names
        return
    graph = context.world.registry.catalog.graphs.of(owner)
    alone: list[str] = []
    needed: list[str] = []
    for name in names:
        (alone if graph.is_alone(name) else needed).append(name)
    if needed:
        yield needed
    for at in range(0, len(alone), count):
        yield alone[at : at + count]


async def many(context: Context, elements: list[str], act: Callable[[str], Awaitable[None]]) -> None:
    """Do one act to the elements of an array, many at a time: one commit takes them all.

    Raises:
        Refused: by the first of them with which it could not be done; it was with those before and beside it.
    """
    refused: list[Refused] = []

    async def one(element: str) -> None:
        try:
            await act(element)
        except Refused as why:
            refused.append(why)

    for at in range(0, len(elements), AT_ONCE):
        async with trio.open_nursery() as nursery:
            for element in elements[at : at + AT_ONCE]:
                nursery.start_soon(one, element)
                await context.turn()
        if refused:
            raise refused[0]
