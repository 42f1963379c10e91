"""What keeps a job from being started, as the answer to who wants to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobd.core import plan
from jobd.rpc.lookup import Refused
from jobd.wire import errors

if TYPE_CHECKING:
    from jobd.core.records import JobRow

CODES: Final = {
    plan.MASKED: errors.MASKED,
    plan.BAD: errors.BAD_SETTING,
    plan.MISSING: errors.NOT_FOUND,
    plan.TEMPLATE: errors.INVALID,
}


def check(row: JobRow, word: str, verb: str = "start") -> None:
    """Raises Refused: it is masked, broken, gone, or a template."""
    obstacle = plan.obstacle(row)
    if obstacle is not None:
        kind, why = obstacle
        raise Refused(CODES[kind], f"cannot {verb} {word}: {why}", job=word)
