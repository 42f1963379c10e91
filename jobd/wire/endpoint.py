"""Which daemon a client speaks to, and the connection to it; jobd.wire.starting starts the user's own if there is none.

The rules: an option beats $JOBD_SOCKET; a socket that was named is never started for; nothing is sent before the
kernel has said that the other end belongs to root or to us. jobctl's hot path imports this module: no `socket` (it
costs half of that path; `_socket` is the part of it that talks to the kernel), no pathlib, no subprocess.
"""

from __future__ import annotations

import os
from _socket import AF_UNIX, SO_PEERCRED, SOCK_CLOEXEC, SOCK_STREAM, SOL_SOCKET, socket
from struct import unpack

from jobd.core import paths

UNAVAILABLE, DENIED = "unavailable", "denied"  # of jobd.wire.errors, whose import would cost every client


class EndpointError(Exception):
    """No connection. `code` is one of jobd.wire.errors.CODES: UNAVAILABLE, or DENIED."""

    def __init__(self, code: str, message: str, errno: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.errno = errno


class Endpoint:
    """One daemon's socket.

    `state_dir` is set for the user's own daemon only: it is started there if it is not up. `named`: somebody gave the
    path. Root, who may name any user's socket, is trusted to know whose it is.
    """

    __slots__ = ("path", "state_dir", "trusted")

    def __init__(self, path: str, state_dir: str = "", *, named: bool = False) -> None:
        self.path = path
        self.state_dir = state_dir
        uid = os.geteuid()
        self.trusted = None if named and uid == 0 else (0, uid)

    def connect(self, *, start: bool = True) -> socket:
        """A blocking connection; a daemon that is away for a moment makes this wait, as its keeper holds the socket.

        Args:
            start: whether the user's own daemon is started if it is not up.

        Raises:
            EndpointError: nobody listens (and it could not be started), we may not, or the listener is a stranger.
        """
        try:
            return _connect(self.path, self.trusted)
        except EndpointError as e:
            if not start or not self.state_dir or not _is_away(e):
                raise
        return self._start()

    def _start(self) -> socket:
        """Start the daemon and connect."""
        from jobd.wire import starting

        found: list[socket] = []

        def is_up() -> bool:
            try:
                found.append(_connect(self.path, self.trusted))
            except EndpointError as e:
                if not _is_away(e):
                    raise
            return bool(found)

        try:
            starting.start(self.path, self.state_dir, is_up)
        except starting.StartError as e:
            raise EndpointError(UNAVAILABLE, str(e)) from e
        return found[0]


def candidates(path: str | None = None, mode: str = "") -> tuple[Endpoint, ...]:
    """The endpoints to try, in order.

    Args:
        path: the socket to use, as with --socket.
        mode: "user" or "system", as with --user and --system; "" for $JOBD_SOCKET, else the system's, else the user's.
    """
    if path:
        return (Endpoint(path, named=True),)
    if mode == paths.SYSTEM:
        return (Endpoint(paths.SYSTEM_SOCKET),)
    named = "" if mode else os.environ.get("JOBD_SOCKET", "")
    if named:
        return (Endpoint(named, named=True),)
    own = paths.user_paths()
    user = Endpoint(own.socket, own.state_dir)
    return (user,) if mode else (Endpoint(paths.SYSTEM_SOCKET), user)


def connect(path: str | None = None, mode: str = "", *, start: bool = True) -> tuple[Endpoint, socket]:
    """Connect to the first of the `candidates` that is there and lets us in.

    Args:
        path, mode: as of `candidates`.
        start: whether the user's own daemon is started when it is what is meant and is not up.

    Raises:
        EndpointError: none of them is, or one is there that is not to be trusted.
    """
    *others, last = candidates(path, mode)
    for endpoint in others:
        try:
            return endpoint, endpoint.connect(start=start)
        except EndpointError as e:
            if e.errno == 0:  # somebody is there, and is not to be trusted
                raise
    return last, last.connect(start=start)


def connect_socket(path: str | None = None, mode: str = "") -> socket:
    """As `connect`, the socket alone."""
    return connect(path, mode)[1]


def _connect(path: str, trusted: tuple[int, ...] | None) -> socket:
    """Connect to `path`. `trusted`: the uids that may answer there; None for anybody."""
    sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
    try:
        try:
            reach(sock, path)
        except OSError as e:
            code = DENIED if isinstance(e, PermissionError) else UNAVAILABLE
            raise EndpointError(code, f"cannot connect to jobd at {path}: {e.strerror}", e.errno or 0) from e
        # pid, uid, gid of whoever called listen(2); unsigned, or uid 0xffffffff would come out as -1.
        uid = unpack("iII", sock.getsockopt(SOL_SOCKET, SO_PEERCRED, 12))[1]
        if trusted is not None and uid not in trusted:
            raise EndpointError(DENIED, f"cannot trust the daemon at {path}: it belongs to user {uid}")
    except BaseException:
        sock.close()
        raise
    return sock


def reach(sock: socket, path: str) -> None:
    """connect(2), also to a path longer than struct sockaddr_un holds: through its directory's descriptor."""
    if len(os.fsencode(path)) <= paths.MAX_SOCKET_PATH_BYTES:
        sock.connect(path)
        return
    directory, name = os.path.split(path)
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock.connect(f"/proc/self/fd/{fd}/{name}")
    finally:
        os.close(fd)


def _is_away(error: EndpointError) -> bool:
    from errno import ECONNREFUSED, ENOENT

    return error.errno in (ENOENT, ECONNREFUSED)
