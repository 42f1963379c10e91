"""Who is at the other end of a Unix socket, as the kernel says (SO_PEERCRED), read once at accept."""

from __future__ import annotations

import socket
import struct

from msgspec import Struct

_UCRED = struct.Struct("iII")  # struct ucred: pid signed, uid and gid not; "3i" would turn uid 2**32-1 into -1, "root"
NOBODY = 0xFFFF_FFFF  # what an unconnected socket and setresuid(-1) mean; never a caller


class Peer(Struct, frozen=True):
    """The caller of a connection. The pid is for display only: it may belong to another process by now."""

    uid: int
    gid: int
    pid: int


def overflow_uid() -> int:
    """The uid under which the kernel shows users that have no number in our user namespace."""
    try:
        with open("/proc/sys/kernel/overflowuid") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 65534  # linux/highuid.h, DEFAULT_OVERFLOWUID


def peer_of(sock: socket.socket) -> Peer:
    """The peer's credentials as of its connect(2).

    Raises:
        OSError: the kernel does not say.
        PermissionError: it is nobody (uid or gid -1).
    """
    pid, uid, gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    if NOBODY in (uid, gid):
        raise PermissionError("the peer has no user")
    return Peer(uid, gid, pid)
