"""What root submits through the Python API is granted to the keeper first, where that is needed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from msgspec.structs import asdict

from jobd._client.exchanges import Action
from jobd._client.faults import error_for
from jobd.core.names import template_of
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


def instances(path: str, exchange: object) -> list[str]:
    """The instances of templates that an exchange may start, and that root has to name to the keeper first."""
    request = exchange.request(0) if isinstance(exchange, Action) else None
    if not isinstance(request, m.Start | m.Restart | m.Reload | m.Enable):
        return []
    found = [name for name in request.names if "/" not in name and template_of(name) is not None]
    return found if found and is_needed(path) else []


def grant_instances(path: str, names: list[str]) -> None:
    """Name them. May wait for the keeper. Raises JobdError."""
    from jobd.wire import granting

    try:
        granting.grant_instances(path, names)
    except granting.GrantError as e:
        raise error_for(errors.FAILED, str(e)) from e


def grant(path: str, exchange: One[m.Started]) -> None:
    """Grant a run that is about to be asked for. May wait for the keeper. Raises JobdError."""
    from jobd.wire import granting

    run = exchange.request(0)
    assert isinstance(run, m.Run)
    try:
        granting.grant(path, asdict(run))
    except granting.GrantError as e:
        raise error_for(errors.FAILED, str(e)) from e
