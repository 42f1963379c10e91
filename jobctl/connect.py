"""Which daemon the command line names. How one is found, trusted and started is in jobd.wire.endpoint."""

from __future__ import annotations

from jobctl.exits import NoDaemonError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

    from jobd.wire.endpoint import Endpoint


class Target:
    """Which daemon the command line names."""

    __slots__ = ("mode", "socket")

    def __init__(self, mode: str = "", socket: str = "") -> None:
        self.mode = mode  # "user", "system", or "" for the default order
        self.socket = socket


def open_target(target: Target, start: bool) -> tuple[socket, Endpoint]:
    """Connect to the daemon that `target` names.

    Args:
        target: as the command line said.
        start: whether to start the user's own daemon when it is what is meant and is not there.

    Returns:
        The connected socket, and whose it is: to be connected to again by `open_again`.

    Raises:
        NoDaemonError: none answers, or one that is not to be trusted.
    """
    from jobd.wire import endpoint

    try:
        found, connection = endpoint.connect(target.socket, target.mode, start=start)
    except endpoint.EndpointError as e:
        raise NoDaemonError(e.message) from e
    return connection, found


def open_again(found: Endpoint, start: bool) -> socket:
    """Connect once more to the daemon that `open_target` found, and to no other. Raises NoDaemonError."""
    from jobd.wire import endpoint

    try:
        return found.connect(start=start)
    except endpoint.EndpointError as e:
        raise NoDaemonError(e.message) from e
