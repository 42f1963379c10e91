"""`enable`, `disable`, `mask`, `unmask`: which jobs start with the daemon, and which start at all."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from jobd.core import names, plan, records
from jobd.rpc.context import Context, Refused
from jobd.rpc.handlers.each import each
from jobd.rpc.startable import CODES
from jobd.runtime.definitions import MAX_DEFINED
from jobd.runtime.journal import NotDurable
from jobd.wire import errors
from jobd.wire import messages as m

ENABLE: Final = "enable"
MASK: Final = "mask"


async def enable(context: Context, request: m.Enable) -> None:
    """Have jobs started with the daemon, or not any more. What runs goes on."""
    verb = "enable" if request.enabled else "disable"

    async def act(word: str, _: int) -> m.Done:
        row = context.job(word, ENABLE)
        if row.transient:
            text = f"cannot {verb} {word}: it is transient; only a job with a definition can be"
            raise Refused(errors.NOT_APPLICABLE, text, job=word)
        obstacle = plan.obstacle(row) if request.enabled else None
        if obstacle is not None and obstacle[0] != plan.BAD:  # one that is broken now may be mended until then
            raise Refused(CODES[obstacle[0]], f"cannot {verb} {word}: {obstacle[1]}", job=word)
        if row.enabled != request.enabled:
            kind = records.ENABLED if request.enabled else records.DISABLED
            await _written(context, replace(row, enabled=request.enabled), kind, f"cannot {verb} {word}")
        return m.Done(job=word)

    await each(context, request.id, request.names, act, begins=request.enabled)


async def mask(context: Context, request: m.Mask) -> None:
    """Have jobs not be started by anybody, or be startable again. A name that no job has can be masked, too."""
    verb = "mask" if request.masked else "unmask"

    async def act(word: str, _: int) -> m.Done:
        row = context.find(word, MASK)
        if row is None:
            key = context.past_key(word, MASK)
            if key is None:
                raise context.not_found(word)
            if not request.masked:
                return m.Done(job=word)
            if not names.valid_job_name(key[1]):
                raise Refused(errors.INVALID, f"cannot mask {word}: {names.why_invalid(key[1])}", job=word)
            if context.count_defined(*key, MASK) >= MAX_DEFINED:
                text = f"cannot mask {word}: {MAX_DEFINED} jobs are defined or masked already"
                raise Refused(errors.LIMIT, text, job=word)
            row = context.world.definitions.placeholder(*key)
        if row.masked != request.masked:
            kind = records.MASKED if request.masked else records.UNMASKED
            await _written(context, replace(row, masked=request.masked), kind, f"cannot {verb} {word}")
        return m.Done(job=word)

    await each(context, request.id, request.names, act)


async def _written(context: Context, row: records.JobRow, kind: str, failed: str) -> None:
    """Make this the job's row, or take it away if nothing keeps it any more: who looks after the answer, or after the
    death of this daemon, finds no rest of it. Without an await since it was looked up.
    """
    catalog = context.world.registry.catalog
    if not catalog.is_kept(row):
        await catalog.remove((row.owner, row.job), context.caller).wait()
        return
    blobs = context.world.definitions.placeholder_blobs(row)
    try:
        await catalog.write(row, kind, context.caller, blobs, may_fail=True).wait()
    except NotDurable as error:
        raise Refused(errors.NO_SPACE, f"{failed}: {error}", job=row.job) from error
