"""The state lock, the client socket, and the socket in the state directory on which the holder of the state answers.

The lock is one open file description that keeper and daemon share, so it is held as long as one of them lives. A
path is unlinked only by who holds the lock, and the client socket's only when nobody listens there.
"""

from __future__ import annotations

import errno
import os
import select
from _socket import AF_UNIX, SO_PEERCRED, SOCK_SEQPACKET, SOCK_STREAM, SOL_SOCKET, socket
from fcntl import LOCK_EX, LOCK_NB, flock
from struct import unpack

from jobd.core.paths import MAX_SOCKET_PATH_BYTES
from jobd.host import procs
from jobd.keeper import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

BACKLOG = 4096  # connections that wait while the daemon is away; the kernel caps it at net.core.somaxconn
HANDOVER = "handover.sock"
HANDOVER_BACKLOG = 8
_SO_PEERPIDFD = 77  # asm-generic/socket.h, Linux 6.5


class StartError(Exception):
    """jobd cannot start; the text says why."""


def make_directories(path: str, shared: bool) -> None:
    """Make a directory and its parents, 0755 where all users come by, else 0700. Raises StartError."""
    old = os.umask(0o022 if shared else 0o077)
    try:
        os.makedirs(path, 0o755 if shared else 0o700, exist_ok=True)
    except OSError as e:
        raise StartError(f"cannot make {path}: {e.strerror}") from e
    finally:
        os.umask(old)


def open_lock(state_dir: str) -> int:
    """The lock file, not yet locked. Raises StartError."""
    try:  # a lock that somebody may hold is never taken away
        return files.open_own(state_dir + "/lock", os.O_RDWR, keep_linked=True)
    except OSError as e:
        raise StartError(f"cannot open {state_dir}/lock: {e.strerror}") from e


def try_lock(fd: int) -> bool:
    """Lock it and write our pid into it; False if another jobd holds it."""
    try:
        flock(fd, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return False
    write_pid(fd)
    return True


def write_pid(lock: int) -> None:
    """Name this process as the holder, for the messages of others."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, b"%d\n" % os.getpid(), 0)


def bind_clients(path: str, shared: bool) -> socket:
    """Listen for clients: mode 0666 where all users are served, else 0600. Raises StartError."""
    directory, name = os.path.split(path)
    make_directories(directory, shared)
    sock = socket(AF_UNIX, SOCK_STREAM)
    try:
        with _Directory(directory, name) as place:
            _clear(path, f"{place}/{name}")
            _bind(sock, f"{place}/{name}")
        os.chmod(path, 0o666 if shared else 0o600)
        sock.listen(BACKLOG)
    except StartError:
        sock.close()
        raise
    except OSError as e:
        sock.close()
        raise StartError(f"cannot listen on {path}: {e.strerror or e}") from e
    sock.setblocking(False)
    return sock


def is_spent(listener: socket) -> bool:
    """Whether a listening socket was shut down, so that nobody can connect to it any more."""
    poll = select.poll()
    poll.register(listener.fileno(), select.POLLRDHUP)
    return bool(poll.poll(0))


def bind_handover(state_dir: str) -> socket:
    """Listen in the state directory; only for who holds the lock. Raises OSError."""
    return bind_packets(state_dir, HANDOVER)


def bind_packets(directory: str, name: str) -> socket:
    """Listen for messages of our own user and root: mode 0600, in place of whatever is there. Raises OSError."""
    sock = socket(AF_UNIX, SOCK_SEQPACKET)
    try:
        with _Directory(directory, name) as place:
            files.take_away(f"{place}/{name}")
            _bind(sock, f"{place}/{name}")
        sock.listen(HANDOVER_BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def connect_handover(state_dir: str, daemon_uid: int = 0) -> socket:
    """A connection to who holds the state: root, we or our daemon's user. Raises OSError when nobody answers there."""
    sock = socket(AF_UNIX, SOCK_SEQPACKET)
    try:
        with _Directory(state_dir, HANDOVER) as place:
            sock.connect(f"{place}/{HANDOVER}")
        if peer(sock)[1] not in (0, os.geteuid(), daemon_uid):
            raise PermissionError(1, f"{HANDOVER} belongs to another user")
    except BaseException:
        sock.close()
        raise
    return sock


def accept_handover(listener: socket) -> socket | None:
    """The next connection by our own user or root; None when there is none."""
    return accept_packets(listener, (0, os.geteuid()))


def accept_packets(listener: socket, uids: Collection[int]) -> socket | None:
    """The next connection by one of these users; None when there is none."""
    while True:
        try:
            fd, _ = listener._accept()  # type: ignore[attr-defined]  # what socket.accept is made of
        except OSError:
            return None
        sock = socket(AF_UNIX, SOCK_SEQPACKET, 0, fd)
        if peer(sock)[1] in uids:
            return sock
        sock.close()


def peer(sock: socket) -> tuple[int, int, int]:
    """(pid, uid, gid) of the other end, unsigned."""
    credentials: tuple[int, int, int] = unpack("iII", sock.getsockopt(SOL_SOCKET, SO_PEERCRED, 12))
    return credentials


def peer_pidfd(sock: socket) -> int:
    """The process at the other end, for who is to signal it; -1 when it is gone.

    Its number alone may be another's by now: who listens may leave while somebody else holds his socket.
    """
    try:
        return int(sock.getsockopt(SOL_SOCKET, _SO_PEERPIDFD))
    except OSError as e:
        if e.errno not in (errno.ENOPROTOOPT, errno.EOPNOTSUPP):
            return -1
    pid, uid, _ = peer(sock)
    try:
        fd = os.pidfd_open(pid)
    except (OSError, ValueError):
        return -1
    if procs.uids(pid)[0] != uid:
        os.close(fd)
        return -1
    return fd


def identity(path: str) -> tuple[int, int] | None:
    """What the path leads to now; None if there is nothing."""
    try:
        info = os.lstat(path)
    except OSError:
        return None
    return info.st_dev, info.st_ino


def _clear(path: str, short: str) -> None:
    """Unlink what a dead jobd left; a living listener is not ours to take away. Raises StartError.

    Args:
        path: the socket's.
        short: the same, in as many bytes as a socket address takes.
    """
    probe = socket(AF_UNIX, SOCK_STREAM)
    try:
        probe.setblocking(False)
        probe.connect(short)
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        os.unlink(path)
        return
    except OSError as e:
        why = f"something else is there ({e.strerror})" if e.errno else str(e)  # a path too long has no number
        raise StartError(f"cannot listen on {path}: {why}") from e
    finally:
        probe.close()
    raise StartError(f"cannot listen on {path}: another program listens there")


def _bind(sock: socket, path: str) -> None:
    old = os.umask(0o177)
    try:
        sock.bind(path)
    finally:
        os.umask(old)


class _Directory:
    """A name for the directory of a socket: a short one, where its own is longer than a socket address allows."""

    def __init__(self, path: str, name: str) -> None:
        self._path = path
        self._fd = -1
        if len(os.fsencode(f"{path}/{name}")) > MAX_SOCKET_PATH_BYTES:
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> str:
        return self._path if self._fd < 0 else f"/proc/self/fd/{self._fd}"

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
