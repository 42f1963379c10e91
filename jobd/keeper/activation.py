"""A listening socket that a service manager has made, as in sd_listen_fds(3), and what makes it ours.

It is the manager's: at our end it stays, so that nobody is refused between two of us, and its path is neither unlinked
nor bound anew unless it has vanished.
"""

from __future__ import annotations

import os
from _socket import AF_UNIX, SO_ACCEPTCONN, SO_DOMAIN, SO_TYPE, SOCK_STREAM, SOL_SOCKET, socket

from jobd.keeper import sockets

FIRST_FD = 3


def take(path: str) -> socket | None:
    """The socket that was passed to this process, for clients who connect to `path`; None if there is none.

    Raises:
        StartError: what was passed is something else. To go on would leave a socket that nobody serves.
    """
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    for name in ("LISTEN_FDNAMES", "LISTEN_PIDFDID"):
        os.environ.pop(name, None)
    if pid != str(os.getpid()) or not count.isdigit() or count == "0":
        return None  # passed to somebody else, whose environment has reached us
    if count != "1":
        raise sockets.StartError(f"cannot start: {count} sockets were passed, and jobd takes one: {path}")
    try:
        os.set_inheritable(FIRST_FD, False)
        sock = socket(fileno=FIRST_FD)
    except OSError as e:
        raise sockets.StartError(f"cannot start: what was passed as descriptor {FIRST_FD} is no socket") from e
    if why := _refusal(sock, path):
        sock.close()
        raise sockets.StartError(f"cannot start: the socket that was passed {why}")
    if os.get_blocking(FIRST_FD):
        sock.setblocking(False)
        _wake(sock)
    return sock


def _wake(sock: socket) -> None:
    """Have a daemon go on that waits in accept(2), where it never waits.

    Without NonBlocking= systemd makes the socket a blocking one at each start, also for the daemon of the last keeper:
    there is one of it. That daemon is to hand its runs over.
    """
    client = socket(AF_UNIX, SOCK_STREAM)
    client.setblocking(False)
    try:
        client.connect(sock.getsockname())
    except OSError:
        return  # its path has vanished, or there are clients enough
    finally:
        client.close()


def _refusal(sock: socket, path: str) -> str:
    """What is wrong with it; "" if nothing."""
    if sock.getsockopt(SOL_SOCKET, SO_DOMAIN) != AF_UNIX or sock.getsockopt(SOL_SOCKET, SO_TYPE) != SOCK_STREAM:
        return "is no Unix stream socket (ListenStream= with a path makes one)"
    if not sock.getsockopt(SOL_SOCKET, SO_ACCEPTCONN):
        return "is a connection, and does not listen (Accept=no)"
    name = sock.getsockname()
    if not isinstance(name, str) or not os.path.isabs(name):
        return f"has no path; clients come to {path}"
    if os.path.normpath(name) != os.path.normpath(path) and not _same(name, path):
        return f"listens on {name}; clients come to {path}"
    return ""


def _same(one: str, other: str) -> bool:
    """Whether two names lead to one file, as /var/run and /run do."""
    found = sockets.identity(one)
    return found is not None and found == sockets.identity(other)
