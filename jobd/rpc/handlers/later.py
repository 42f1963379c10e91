"""Requests that have no handler yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobd.rpc.context import Context, Refused
from jobd.wire import errors

if TYPE_CHECKING:
    from jobd.wire import messages as m


async def later(_: Context, request: m.Request) -> None:
    """Refuse."""
    raise Refused(errors.UNAVAILABLE, f"cannot do {type(request).__name__} yet")
