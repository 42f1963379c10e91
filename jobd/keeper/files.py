"""The keeper's own files, in a directory where an unprivileged daemon may write as well.

A daemon that was taken over plants what it likes under our names: symbolic and hard links, FIFOs, files of its own.
Nothing here follows, waits for, or believes any of them: what is not a plain file of ours is taken away and made anew.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from stat import S_ISDIR, S_ISREG

from jobd.keeper import kernel

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
MOST_CONFIG_BYTES = 1 << 20
_ATTEMPTS = 3  # of taking something away that comes back


def open_own(path: str, flags: int, *, keep_linked: bool = False) -> int:
    """Open a file of ours, made where there is none: mode 0600. Raises OSError.

    Args:
        path: where, in a directory whose entries of ours nobody else can take away.
        flags: O_RDWR and the like.
        keep_linked: one of ours with a second name is neither used nor taken away (EMLINK).
    """
    for _ in range(_ATTEMPTS):
        try:
            fd = os.open(path, flags | _SAFE | os.O_CREAT, 0o600)
        except OSError as e:
            # The last of these: with fs.protected_regular root may not open what others put into a sticky directory.
            if e.errno not in (errno.ELOOP, errno.ENXIO, errno.EISDIR) and not (
                e.errno == errno.EACCES and _is_anothers(path)
            ):
                raise
        else:
            info = os.fstat(fd)
            if _is_ours(info) and info.st_nlink == 1:
                return fd
            os.close(fd)
            if _is_ours(info) and keep_linked:
                raise OSError(errno.EMLINK, "it has more than one name (a hard link)", path)
        take_away(path)
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)


def read_own(path: str, most: int) -> bytes:
    """The beginning of a file of ours. Raises OSError: FileNotFoundError also for what somebody else put there."""
    try:
        fd = os.open(path, os.O_RDONLY | _SAFE)
    except OSError as e:
        if e.errno in (errno.ELOOP, errno.ENXIO):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from e
        raise
    with open(fd, "rb") as file:
        info = os.fstat(fd)
        if not _is_ours(info) or info.st_nlink != 1:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return file.read(most)


def replace_own(path: str, data: bytes) -> None:
    """Write a file of ours whole, or leave it as it is. Raises OSError."""
    fresh = path + ".new"
    take_away(fresh)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if os.path.isdir(path) and not os.path.islink(path):
        take_away(path)
    os.rename(fresh, path)


def open_below(directory: str, path: str, shared: str = "") -> int:
    """Open a regular file below a directory for reading: no link leads out of it, nothing in it makes us wait.

    Args:
        directory: where.
        path: of the file in it.
        shared: the state directory where a daemon that is not root may write. A directory in there has to be ours: what
            it makes itself may lead to any file of the machine's.

    Raises:
        OSError: EINVAL for what is not a regular file, EFBIG for a large one.
    """
    found = _find_below(directory, path, shared, os.O_PATH | os.O_CLOEXEC)
    try:  # looked at before it is opened: that alone would already do something to a device or a FIFO
        info = os.fstat(found)
        if not S_ISREG(info.st_mode):
            number = errno.EISDIR if S_ISDIR(info.st_mode) else errno.EINVAL
            raise OSError(number, os.strerror(number), path)
        if info.st_size > MOST_CONFIG_BYTES:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        return os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    finally:
        os.close(found)


def list_below(directory: str, path: str, shared: str = "") -> tuple[os.stat_result, list[str], list[str]]:
    """What is in a directory below another one: of itself, its files (links are among them) and its directories.

    Args and Raises: as `open_below`. Names that are no text are left out.
    """
    fd = _find_below(directory, path, shared, _DIRECTORY)
    try:
        found: tuple[list[str], list[str]] = [], []
        with os.scandir(fd) as entries:
            for entry in entries:
                if entry.name.isprintable():  # bytes that are no UTF-8 are not
                    found[entry.is_dir(follow_symlinks=False)].append(entry.name)
        return os.fstat(fd), sorted(found[0]), sorted(found[1])
    finally:
        os.close(fd)


def _find_below(directory: str, path: str, shared: str, flags: int) -> int:
    if not path or "\0" in path or path.startswith("/") or {"", ".", ".."} & {*path.split("/")}:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
    inside = f"{directory}/".startswith(f"{shared}/") if shared else False
    top = _open_within(shared, directory) if inside else os.open(directory, _DIRECTORY)
    try:
        return kernel.open_beneath(top, path, flags)
    finally:
        os.close(top)


def _open_within(shared: str, directory: str) -> int:
    """Open a directory of ours in one where others make theirs."""
    outer = os.open(shared, _DIRECTORY)
    try:
        top = kernel.open_beneath(outer, os.path.relpath(directory, shared), _DIRECTORY)
    finally:
        os.close(outer)
    info = os.fstat(top)
    if info.st_uid != os.geteuid() or info.st_mode & 0o022:
        os.close(top)
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), directory)
    return top


def _is_ours(info: os.stat_result) -> bool:
    return S_ISREG(info.st_mode) and info.st_uid == os.geteuid()


def _is_anothers(path: str) -> bool:
    try:
        return os.lstat(path).st_uid != os.geteuid()
    except OSError:
        return False


def take_away(path: str) -> None:
    """Remove what is there; a directory goes aside, as what is in it is not ours to go through."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        with suppress(OSError):
            os.rename(path, f"{path}.{os.urandom(4).hex()}")
