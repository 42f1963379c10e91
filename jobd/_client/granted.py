"""What root submits through the Python API is granted to the keeper first, where that is needed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from msgspec.structs import asdict

from jobd._client.faults import error_for
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd._client.exchanges import One


def is_needed(path: str) -> bool:
    """Whether the daemon at `path` may start nothing for root that root has not granted."""
    if os.geteuid() or not path.startswith("/"):
        return False
    from jobd.wire import granting

    return granting.is_needed(path)


def grant(path: str, exchange: One[m.Started]) -> None:
    """Grant a run that is about to be asked for. May wait for the keeper. Raises JobdError."""
    from jobd.wire import granting

    run = exchange.request(0)
    assert isinstance(run, m.Run)
    try:
        granting.grant(path, asdict(run))
    except granting.GrantError as e:
        raise error_for(errors.FAILED, str(e)) from e
