"""The state directory, and whose it is: root's where the daemon is root, else shared with the daemon's user.

Shared it is root's with the daemon's group, mode 01770: both make files, neither takes away the other's. When the
daemon's user changes, what is in it changes hands. That is done while nobody but root can come in, descriptor by
descriptor and never through a symbolic link, and it never gives away what root had in a tree that others wrote to: a
hard link there may be any file of the machine's. The directory itself says last how far it came.
"""

from __future__ import annotations

import os
from stat import S_IMODE, S_ISDIR, S_ISREG, S_ISSOCK

from jobd.keeper.sockets import StartError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_DEEPEST = 32
SHARED_MODE, OWN_MODE = 0o1770, 0o700
# The keeper's, besides what begins so: never the daemon's.
OWN = ("lock", "handover.sock", "grants", "last-exits", "jobd.log", "config")


def settle(path: str, uid: int, gid: int) -> bool:
    """Give the tree to the daemon's user, root's own files excepted. Raises StartError, OSError.

    Args:
        path: the state directory; it is there.
        uid: the daemon's, 0 for root.
        gid: the daemon's, 0 for root.

    Returns:
        Whether anything had to change hands.
    """
    top = os.open(path, _DIRECTORY)
    try:
        info = os.fstat(top)
        if info.st_uid != 0:
            if uid:
                raise StartError(f"cannot start: {path} belongs to uid {info.st_uid}, not to root")
            return False
        shared = info.st_gid != 0 and S_IMODE(info.st_mode) in (SHARED_MODE, OWN_MODE)
        if uid and shared and info.st_gid == gid and S_IMODE(info.st_mode) == SHARED_MODE and _is_of(top, uid):
            return False
        if not uid and not shared:
            return False
        if not shared and info.st_mode & 0o022:
            raise StartError(f"cannot start: others than root may write to {path} (mode {S_IMODE(info.st_mode):04o})")
        os.fchmod(top, OWN_MODE)
        _give(top, path, uid, gid, everything=not shared)
        os.fchown(top, 0, gid)
        if uid:
            os.fchmod(top, SHARED_MODE)
    finally:
        os.close(top)
    return True


def _is_of(top: int, uid: int) -> bool:
    """Whether what the daemon has made there is this user's: the group's number alone does not tell."""
    with os.scandir(top) as entries:
        owners = {entry.stat(follow_symlinks=False).st_uid for entry in entries if not _is_keepers(entry.name)}
    return owners <= {0, uid}


def _is_keepers(name: str) -> bool:
    return any(name == own or name.startswith(own + ".") for own in OWN)


def _give(directory: int, path: str, uid: int, gid: int, *, everything: bool, depth: int = 0) -> None:
    """Change the owner of what is in a directory, and below."""
    with os.scandir(directory) as entries:
        found = [entry.name for entry in entries if depth or not _is_keepers(entry.name)]
    for name in found:
        seen = os.stat(name, dir_fd=directory, follow_symlinks=False)
        kind = seen.st_mode
        if S_ISSOCK(kind) or (seen.st_uid == 0 and not everything):
            continue  # of a jobd before us, which is not there any more; or nothing of the daemon's
        if not S_ISDIR(kind) and not S_ISREG(kind):
            raise StartError(f"cannot start: {path}/{name} is neither file nor directory: remove it first")
        if depth == _DEEPEST:
            raise StartError(f"cannot start: {path} is too deep to be a directory of jobd's")
        inner = os.open(name, _DIRECTORY if S_ISDIR(kind) else _FILE, dir_fd=directory)
        try:
            info = os.fstat(inner)  # of what is open now, whatever the name leads to
            if not everything and info.st_uid == 0:
                continue  # exchanged this instant
            if S_ISDIR(info.st_mode):
                _give(inner, f"{path}/{name}", uid, gid, everything=everything, depth=depth + 1)
            elif not S_ISREG(info.st_mode) or info.st_nlink != 1:
                raise StartError(f"cannot start: {path}/{name} has a second name (a hard link): remove it first")
            os.fchown(inner, uid, gid)
        finally:
            os.close(inner)
