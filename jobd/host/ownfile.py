"""Opening and reading a configuration file that only its owner and root can have written.

Nothing here can be held up or led astray by what lies at the path: no FIFO, no device, no symbolic link, nothing large.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from jobd.core.configfile import ConfigError, decode

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES: Final = 1 << 20
_NOT_REGULAR: Final = "it is not a regular file"
_TOO_LARGE: Final = f"it is larger than {MAX_BYTES >> 20} MiB"
# What opening says by its number, ours or the keeper's (jobd.keeper.files).
_WHAT_IT_IS: Final = {
    errno.ELOOP: "it is a symbolic link",
    errno.EINVAL: _NOT_REGULAR,
    errno.EISDIR: _NOT_REGULAR,
    errno.EFBIG: _TOO_LARGE,
}


class Untrusted(Exception):  # noqa: N818  # what the file is, not what went wrong here
    """The file is not to be believed; the text says why, without its name."""


class Trust(Struct, frozen=True):
    """Who may have written it."""

    uids: frozenset[int]
    gids: frozenset[int]

    @classmethod
    def of(cls, system: bool) -> Trust:
        """Root alone for the whole system's; for one user's also he, and the group that he makes files with."""
        if system:
            return cls(frozenset({0}), frozenset({0}))
        return cls(frozenset({0, os.geteuid()}), frozenset({0, os.getegid()}))


def open_regular(path: str, trust: Trust) -> int:
    """A descriptor of the regular file at `path`, in a directory that can be trusted. Raises OSError, Untrusted."""
    check_directory(path, trust)
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _check_regular(os.fstat(fd))
    except Untrusted:
        os.close(fd)
        raise
    return fd


def check_directory(path: str, trust: Trust) -> None:
    """Raises Untrusted when others may write to the directory of this file, and OSError."""
    try:
        check_owner(os.stat(os.path.dirname(path)), trust)
    except Untrusted as error:
        raise Untrusted(f"of its directory: {error}") from error


def read(fd: int, path: str, trust: Trust) -> str:
    """The text of an open file; closes it. Raises Untrusted, OSError, ConfigError."""
    try:
        info = os.fstat(fd)
        _check_regular(info)
        check_owner(info, trust)
        found = b""
        while len(found) <= MAX_BYTES:
            piece = os.read(fd, MAX_BYTES + 1 - len(found))
            if not piece:
                return decode(found, path)
            found += piece
    finally:
        os.close(fd)
    raise Untrusted(_TOO_LARGE)


@contextmanager
def explained(path: str) -> Iterator[None]:
    """What goes wrong with a file becomes a ConfigError; that it is not there stays a FileNotFoundError."""
    try:
        yield
    except Untrusted as error:
        raise ConfigError([f"{path}: {error}"]) from error
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise FileNotFoundError(error.errno, error.strerror) from error
        why = _WHAT_IT_IS.get(error.errno or 0, f"cannot read it: {error.strerror}")
        raise ConfigError([f"{path}: {why}"]) from error


def check_owner(info: os.stat_result, trust: Trust) -> None:
    """Raises Untrusted when somebody else may have written to a file or directory."""
    if info.st_uid not in trust.uids:
        whose = " or ".join("root" if uid == 0 else f"uid {uid}" for uid in sorted(trust.uids))
        raise Untrusted(f"it belongs to uid {info.st_uid}, not to {whose}")
    mode = stat.S_IMODE(info.st_mode)
    if mode & stat.S_ISVTX and stat.S_ISDIR(info.st_mode):
        return  # others can add to it, and take nothing away; what they add is theirs
    if mode & stat.S_IWOTH:
        raise Untrusted(f"everybody may write to it (mode {mode:04o})")
    if mode & stat.S_IWGRP and info.st_gid not in trust.gids:
        raise Untrusted(f"group {info.st_gid} may write to it (mode {mode:04o})")


def _check_regular(info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise Untrusted(_NOT_REGULAR)
