"""Finding the daemon: which socket, whose daemon it is, and starting the user's own where that is the default.

`_socket`, not `socket`: the latter imports selectors and builds enums of hundreds of constants, which costs 4 ms of a
9 ms client. It is the C module behind it, in CPython and PyPy alike, and everything used here is documented there.
"""

from __future__ import annotations

import os
import sys
from _socket import AF_UNIX, SOCK_STREAM, SOL_SOCKET, socket

from jobctl.exits import NoDaemonError

SO_PEERCRED = 17  # socket(7); not in _socket everywhere
UCRED_BYTES = 12  # struct ucred: pid, uid, gid
MAX_PATH_BYTES = 107  # paths.MAX_SOCKET_PATH_BYTES
ROOT = 0


class Target:
    """Which daemon the command line names."""

    __slots__ = ("mode", "socket")

    def __init__(self, mode: str = "", socket: str = "") -> None:
        self.mode = mode  # "user", "system", or "" for the default order
        self.socket = socket

    def key(self) -> tuple[str, str]:
        """For comparing two."""
        return self.mode, self.socket


def open_target(target: Target, start: bool) -> tuple[socket, str]:
    """Connect to the daemon that `target` names.

    Args:
        target: as the command line said.
        start: whether to start the user's own daemon when it is what is meant and is not there.

    Returns:
        The connected socket, and its path.

    Raises:
        NoDaemonError: none answers, or one that is not to be trusted.
    """
    path = target.socket or ("" if target.mode else os.environ.get("JOBD_SOCKET", ""))
    if path:
        return _open(path, None), path
    from jobd.core import paths

    if target.mode != paths.USER:
        try:
            return _open(paths.SYSTEM_SOCKET, (ROOT,)), paths.SYSTEM_SOCKET
        except NoDaemonError:
            if target.mode == paths.SYSTEM:
                raise
    return _open_users(start)


def _open_users(start: bool) -> tuple[socket, str]:
    from jobd.core import paths

    place = paths.user_paths()
    trusted = (os.geteuid(), ROOT)
    try:
        return _open(place.socket, trusted), place.socket
    except NoDaemonError:
        if not start:
            raise
    from jobctl import embed

    return embed.start_and_connect(place, lambda: _open(place.socket, trusted)), place.socket


def _open(path: str, trusted: tuple[int, ...] | None) -> socket:
    """Connect to `path`. `trusted`: uids that may answer; None for a socket the caller named himself."""
    connection = socket(AF_UNIX, SOCK_STREAM)
    try:
        _connect(connection, path)
    except OSError as e:
        connection.close()
        raise NoDaemonError(f"cannot connect to jobd at {path}: {e.strerror}") from e
    # The environment is sent through this socket: not to somebody who took the path before the daemon did. Root, who
    # may name any user's socket, is trusted to know whose it is.
    uid = int.from_bytes(connection.getsockopt(SOL_SOCKET, SO_PEERCRED, UCRED_BYTES)[4:8], sys.byteorder)
    if trusted is None and os.geteuid() != ROOT:
        trusted = (os.geteuid(), ROOT)
    if trusted is not None and uid not in trusted:
        connection.close()
        raise NoDaemonError(f"cannot trust the socket {path}: it belongs to uid {uid}")
    return connection


def _connect(connection: socket, path: str) -> None:
    """connect(2), also to a path longer than struct sockaddr_un holds: through the directory's descriptor."""
    if len(os.fsencode(path)) <= MAX_PATH_BYTES:
        connection.connect(path)
        return
    directory, name = os.path.split(path)
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{fd}/{name}")
    finally:
        os.close(fd)
