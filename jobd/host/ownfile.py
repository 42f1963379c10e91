"""Opening and reading a configuration file that only its owner and root can have written. Standard library only.

Nothing here can be held up or led astray by what lies at the path: no FIFO, no device, no symbolic link, nothing large.
"""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

MAX_BYTES = 1 << 20


class Untrusted(Exception):  # noqa: N818  # what the file is, not what went wrong here
    """The file is not to be believed; the text says why, without its name."""


def open_regular(path: str) -> int:
    """A descriptor of the regular file at `path`. Raises OSError, and Untrusted when it is something else."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _regular(os.fstat(fd))
    except Untrusted:
        os.close(fd)
        raise
    return fd


def read(fd: int, trusted: Collection[int], groups: Collection[int] = (0,)) -> bytes:
    """All of an open file, if nobody but `trusted` uids (and members of `groups`) could have written it.

    Raises:
        Untrusted: it is somebody else's, others may write to it, or it is too large.
        OSError: it cannot be read.
    """
    info = os.fstat(fd)
    _regular(info)
    check_owner(info, trusted, groups)
    found = b""
    while len(found) <= MAX_BYTES:
        piece = os.read(fd, MAX_BYTES + 1 - len(found))
        if not piece:
            return found
        found += piece
    raise Untrusted(f"it is larger than {MAX_BYTES >> 20} MiB")


def check_owner(info: os.stat_result, trusted: Collection[int], groups: Collection[int]) -> None:
    """Raises Untrusted when somebody else than those may write to a file or directory."""
    if info.st_uid not in trusted:
        raise Untrusted(f"it belongs to uid {info.st_uid}, not to {_or(trusted)}")
    mode = stat.S_IMODE(info.st_mode)
    if mode & stat.S_ISVTX and stat.S_ISDIR(info.st_mode):
        return  # others can add to it, and take nothing away; what they add is theirs
    if mode & stat.S_IWOTH:
        raise Untrusted(f"everybody may write to it (mode {mode:04o})")
    if mode & stat.S_IWGRP and info.st_gid not in groups:
        raise Untrusted(f"group {info.st_gid} may write to it (mode {mode:04o})")


def _regular(info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise Untrusted("it is not a regular file")


def _or(uids: Collection[int]) -> str:
    return " or ".join("root" if uid == 0 else f"uid {uid}" for uid in sorted(uids))
