"""Stopping many jobs at once: a few in a turn, where none of them needs another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobd.rpc.handlers.each import steps
from jobd.runtime import holding, together

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobd.rpc.context import Context
    from jobd.runtime.journal import Commit

STEP: Final = 64  # runs in one turn, whose tasks begin with it: 4 ms of the loop


async def stop_all(context: Context, action: str, owner: int, jobs: Mapping[str, bytes | None]) -> list[Commit]:
    """Wish that jobs of one owner stop, those with a run id only if that is their live run. The Commits of the wishes.

    What depends on others, or others on it, is one act. All else goes in turns, and in each it is looked up whether the
    caller still may.
    """
    for job in jobs:
        await shorten_line(context, action, owner, job)
    commits: list[Commit] = []
    for few in steps(context, owner, jobs, STEP):
        if commits:
            await context.turn()
        meant = [job for job in few if context.may(action, owner, job) and _is_meant(context, owner, job, jobs[job])]
        commits.append(together.stop(context.world.registry, owner, meant, context.caller))
    return commits


async def shorten_line(context: Context, action: str, owner: int, job: str) -> None:
    """Of the runs that wait for the live one of a job, cancel all but a few, the last ones first; in turns as above."""
    registry = context.world.registry
    for _ in range(STEP, len(registry.singletons.line(owner, job)), STEP):
        if context.may(action, owner, job):
            holding.cancel_last(registry, owner, job, STEP, context.caller)
            await context.turn()


def _is_meant(context: Context, owner: int, job: str, only: bytes | None) -> bool:
    if only is None:
        return True
    live = context.world.registry.jobs.get((owner, job))
    return live is not None and live.run is not None and live.run.id == only
