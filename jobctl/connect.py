"""Which daemon the command line names. How one is found, trusted and started is in jobd.wire.endpoint."""

from __future__ import annotations

import os

from jobctl.exits import Fault, NoDaemonError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

    from jobctl.remote import Remote
    from jobd.wire.endpoint import Endpoint


PATIENCE_SEC = 10.0  # for the socket to come back; a keeper that re-executes itself needs 0.1 s
NETWORK_SEC = 60.0


class _Far:
    """The other host that this jobctl speaks of, if it does: its users and processes are not ours."""

    remote: Remote | None = None


FAR = _Far()  # of this process, as it speaks of one host


class Target:
    """Which daemon the command line names, and which one that was: once found, we reconnect to no other."""

    __slots__ = ("batch", "found", "host", "mode", "remote", "socket", "software")

    def __init__(self, mode: str = "", socket: str = "", host: str = "", batch: bool = False) -> None:
        self.mode = mode  # "user", "system", or "" for the default order
        self.socket = socket
        self.host = host  # one, as -H takes it; "" for this one
        self.batch = batch  # nobody is to be asked for a password
        self.remote: Remote | None = None
        self.found: Endpoint | None = None
        self.software = ""  # name and version of the daemon, once it has said so

    @property
    def program(self) -> str:
        """How jobctl is called for the same daemon, in words about what to do next."""
        where = f" -H {self.host}" if self.host else ""
        return f"jobctl{where} --{self.mode}" if self.mode and self.host else f"jobctl{where}"

    @property
    def patience_sec(self) -> float:
        """How long a daemon that was lost may take to come back; a network takes longer."""
        return NETWORK_SEC if self.remote is not None and self.remote.is_lost else PATIENCE_SEC


def needs_grant(path: str) -> bool:
    """Whether what we submit to the daemon at `path` has to be granted to its keeper first: see jobd.wire.granting."""
    if FAR.remote is not None:
        return FAR.remote.needs_grant
    return not os.geteuid() and path.startswith("/") and os.path.exists(f"{os.path.dirname(path)}/root.sock")


def grant(path: str, request: dict[str, object]) -> None:
    """Tell the keeper of a Run that root is about to send, or of `instances` that he names. Raises Fault."""
    from jobd.wire import granting

    if FAR.remote is not None:
        FAR.remote.grant(request)
        return
    try:
        if isinstance(instances := request.get("instances"), list):
            granting.grant_instances(path, instances)
        else:
            granting.grant(path, request)
    except granting.GrantError as e:
        raise Fault("failed", str(e)) from e


def open_target(target: Target, start: bool) -> tuple[socket, str]:
    """Connect to the daemon that `target` names, or to the one that was found when this was called first.

    Args:
        target: as the command line said.
        start: whether to start the user's own daemon when it is what is meant and is not there.

    Returns:
        The connected socket, and its path.

    Raises:
        NoDaemonError: none answers, or one that is not to be trusted.
    """
    target.software = ""  # who comes next has not said
    if target.host:
        from jobctl import remote

        return remote.open_remote(target, start)
    from jobd.wire import endpoint

    try:
        if target.found is not None:
            return target.found.connect(start=start), target.found.path
        target.found, connection = endpoint.connect(target.socket, target.mode, start=start)
    except endpoint.EndpointError as e:
        raise NoDaemonError(e.message) from e
    return connection, target.found.path
