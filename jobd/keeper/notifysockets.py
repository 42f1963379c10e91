"""The sockets on which services say how they do (sd_notify(3)): one for each run that asks for it.

They are the keeper's, so that what is said while no daemon lives waits for the next one. It passes them on and never
reads. The directory is ours alone to write to, and the names in it are made from run ids: nobody can have another
file taken for a socket, and a daemon that hands runs over has no say in what is removed.
"""

from __future__ import annotations

import errno
import os
from _socket import AF_UNIX, SO_PASSCRED, SOCK_DGRAM, SOL_SOCKET, socket
from binascii import b2a_base64
from contextlib import suppress
from stat import S_ISDIR

from jobd.core.paths import MAX_SOCKET_PATH_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobd.config import Config
    from jobd.keeper.table import Entry

DIRECTORY = "notify"
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NAME_BYTES = 22  # a run id in base 64


class NotifySockets:
    """The directory and what is in it."""

    def __init__(self, config: Config) -> None:
        # The state directory stays when a logout takes the runtime directory away, but users cannot go into root's.
        beside = f"{os.path.dirname(config.socket)}/{DIRECTORY}"
        inside = f"{config.state_dir}/{DIRECTORY}"
        fits = len(os.fsencode(inside)) + 1 + _NAME_BYTES <= MAX_SOCKET_PATH_BYTES
        self.path = inside if fits and not config.shared else beside

    def make(self, run: bytes) -> tuple[int, int]:
        """Make the socket of a run. Returns it, and its directory, which is open as well. Raises OSError."""
        if len(os.fsencode(self.path_of(run))) > MAX_SOCKET_PATH_BYTES:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        with suppress(FileExistsError):
            os.mkdir(self.path, 0o711)
        directory = os.open(self.path, _OPEN)
        try:
            self._check(directory)
            os.fchmod(directory, 0o711)  # whatever the umask is, and nothing that has taken its place
            with suppress(FileNotFoundError):
                os.unlink(name_of(run), dir_fd=directory)
            # Everybody can read in /proc/net/unix where a socket was bound, and who knows a run can say to be of it.
            unnamed = name_of(os.urandom(len(run)))
            sock = _bind(f"/proc/self/fd/{directory}/{unnamed}")
            try:
                os.rename(unnamed, name_of(run), src_dir_fd=directory, dst_dir_fd=directory)
            except BaseException:
                os.close(sock)
                raise
            return sock, directory
        except BaseException:
            os.close(directory)
            raise

    def _check(self, directory: int) -> None:
        """Somebody else's could lead anywhere."""
        info = os.fstat(directory)
        if not S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o022:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), self.path)

    def path_of(self, run: bytes) -> str:
        """What the run is told."""
        return f"{self.path}/{name_of(run)}"

    def remove(self, run: bytes) -> None:
        """The run is over, or has no socket after all."""
        self._remove([name_of(run)])

    def close(self) -> None:
        """At the keeper's end: leave nothing."""
        with suppress(OSError):  # never made, or not empty
            os.rmdir(self.path)

    def tidy(self, entries: Iterable[Entry]) -> None:
        """Remove what a killed keeper has left."""
        known = {name_of(entry.run) for entry in entries if entry.notify is not None}
        with suppress(OSError):
            self._remove([name for name in os.listdir(self.path) if name not in known])

    def _remove(self, names: Iterable[str]) -> None:
        try:
            directory = os.open(self.path, _OPEN)
        except OSError:
            return
        try:
            self._check(directory)
            for name in names:
                with suppress(OSError):
                    os.unlink(name, dir_fd=directory)
        except PermissionError:
            return
        finally:
            os.close(directory)


def name_of(run: bytes) -> str:
    """The name of a run's socket."""
    return b2a_base64(run, newline=False).decode("ascii").rstrip("=").replace("/", "_").replace("+", "-")


def give(directory: int, run: bytes, uid: int, gid: int) -> None:
    """In the child, as root: make the socket its user's. Raises OSError."""
    os.chown(name_of(run), uid, gid, dir_fd=directory, follow_symlinks=False)


def _bind(path: str) -> int:
    sock = socket(AF_UNIX, SOCK_DGRAM)
    old = os.umask(0o177)
    try:
        sock.setblocking(False)
        sock.setsockopt(SOL_SOCKET, SO_PASSCRED, 1)
        sock.bind(path)
        return sock.detach()
    finally:
        os.umask(old)
        sock.close()
