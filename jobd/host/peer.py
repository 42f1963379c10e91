"""Who is at the other end of a Unix socket, as the kernel says (SO_PEERCRED, SO_PEERGROUPS), read once at accept."""

from __future__ import annotations

import errno
import socket
import struct

from msgspec import Struct

_UCRED = struct.Struct("iII")  # struct ucred: pid signed, uid and gid not; "3i" would turn uid 2**32-1 into -1, "root"
NOBODY = 0xFFFF_FFFF  # what an unconnected socket and setresuid(-1) mean; never a caller


_GID = struct.Struct("I")
_SO_PEERGROUPS = getattr(socket, "SO_PEERGROUPS", 59)  # asm-generic/socket.h; Python 3.11 has no name for it
_MOST_BYTES = 1024  # that Python's getsockopt takes: 256 groups
_NGROUPS_MAX = 65536  # linux/limits.h


class Peer(Struct, frozen=True):
    """The caller of a connection. The pid is for display only: it may belong to another process by now."""

    uid: int
    gid: int
    pid: int
    groups: tuple[int, ...] = ()  # supplementary


def overflow_uid() -> int:
    """The uid under which the kernel shows users that have no number in our user namespace."""
    try:
        with open("/proc/sys/kernel/overflowuid") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 65534  # linux/highuid.h, DEFAULT_OVERFLOWUID


def serves_all_uids() -> bool:
    """Whether every user of the machine has a number here: not so in a user namespace that maps some of them."""
    try:
        with open("/proc/self/uid_map") as file:
            return sum(int(line.split()[2]) for line in file) >= NOBODY
    except (OSError, ValueError, IndexError):
        return False


def peer_of(sock: socket.socket) -> Peer:
    """The peer's credentials as of its connect(2).

    Raises:
        OSError: the kernel does not say.
        PermissionError: it is nobody (uid or gid -1).
    """
    return with_groups(bare_peer_of(sock), sock)


def bare_peer_of(sock: socket.socket) -> Peer:
    """The same without the groups, for who may be turned away before they matter. Raises as `peer_of`."""
    pid, uid, gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    if NOBODY in (uid, gid):
        raise PermissionError("the peer has no user")
    return Peer(uid, gid, pid)


def with_groups(peer: Peer, sock: socket.socket) -> Peer:
    """The same peer with its groups. Raises OSError: the kernel does not say."""
    return Peer(peer.uid, peer.gid, peer.pid, _groups_of(sock))


def _groups_of(sock: socket.socket) -> tuple[int, ...]:
    """The supplementary groups of the peer's process as of its connect(2), not those that /etc/group has now."""
    try:
        data = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_BYTES)
    except OSError as error:
        if error.errno != errno.ERANGE:
            raise
        data = _long_groups_of(sock)
    return tuple(gid for (gid,) in _GID.iter_unpack(data))


def _long_groups_of(sock: socket.socket) -> bytes:
    """The same where there are more than Python asks for."""
    import ctypes  # slow to import, and hardly ever needed

    data = ctypes.create_string_buffer(_NGROUPS_MAX * _GID.size)
    size = ctypes.c_uint32(len(data))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.getsockopt(sock.fileno(), socket.SOL_SOCKET, _SO_PEERGROUPS, data, ctypes.byref(size)):
        code = ctypes.get_errno()
        raise OSError(code, "cannot ask for the peer's groups")
    return data.raw[: size.value]
