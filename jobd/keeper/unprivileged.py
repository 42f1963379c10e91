"""The daemon's own user: who he is, becoming him for good, and what he gets to see of root's.

The daemon parses what all users send; as a user of its own, without any capability, it can do no more than ask the
keeper. It begins with an environment that is made for it, since root's may hold secrets.
"""

from __future__ import annotations

import os
import pwd
import sys

import jobd
from jobd.core import paths
from jobd.host.logstream import STREAM
from jobd.keeper import kernel, sockets
from jobd.keeper.become import NOBODY, overflow_uid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobd.config import Config

ACCOUNT = "jobd"  # made by sysusers.d/jobd.conf
# What the daemon gets of the keeper's environment: how to write, and its own settings.
_PASSED = ("LANG", "LANGUAGE", "TZ", STREAM)
_PASSED_PREFIXES = ("LC_", "JOBD_")


class User:
    """The daemon's user, when it is not the keeper's."""

    __slots__ = ("gid", "home", "name", "uid")

    def __init__(self, uid: int, gid: int, name: str, home: str) -> None:
        self.uid, self.gid, self.name, self.home = uid, gid, name, home


def find(config: Config) -> str:
    """Set the uid and gid of the daemon in `config`. Raises StartError.

    Returns:
        What is to be said in the log about it, "" for nothing.
    """
    config.daemon_uid = config.daemon_gid = 0
    word = config.daemon_user
    if not config.shared or word in ("root", "0"):
        return ""
    try:
        if word.isascii() and word.isdecimal():
            _take(config, int(word))
        elif word:
            entry = pwd.getpwnam(word)
            config.daemon_uid, config.daemon_gid = entry.pw_uid, entry.pw_gid
        elif config.mode == paths.SYSTEM:
            entry = pwd.getpwnam(ACCOUNT)
            config.daemon_uid, config.daemon_gid = entry.pw_uid, entry.pw_gid
    except (KeyError, ValueError):
        if word:
            raise sockets.StartError(f"cannot start: there is no user {word} for the daemon") from None
        return f"there is no user {ACCOUNT}: the daemon runs as root"
    bad = (NOBODY, overflow_uid())
    if config.daemon_uid in bad or (config.daemon_gid in (0, NOBODY) and config.daemon_uid != 0):
        of = f"uid {config.daemon_uid}, gid {config.daemon_gid}"
        why = f"{of} may not be the daemon's, which has to own what no other program does"
        raise sockets.StartError(f"cannot start: {why} (useradd --system {ACCOUNT})")
    user = user_of(config)
    if user is None:
        return ""
    uid = f"uid {user.uid}"
    return f"the daemon runs as {uid if user.name == str(user.uid) else f'{user.name} ({uid})'}"


def user_of(config: Config) -> User | None:
    """The daemon's user, None when it is the keeper's own."""
    if not config.daemon_uid:
        return None
    try:
        name = pwd.getpwuid(config.daemon_uid).pw_name
    except KeyError:
        name = str(config.daemon_uid)
    return User(config.daemon_uid, config.daemon_gid, name, config.state_dir)


def _take(config: Config, uid: int) -> None:
    """A number needs no account."""
    try:
        gid = pwd.getpwuid(uid).pw_gid
    except KeyError:
        gid = uid
    config.daemon_uid, config.daemon_gid = uid, gid


# --- in the child -------------------------------------------------------------------------------------------------
def become(user: User) -> None:
    """Be this user and nothing more, for good. Raises OSError."""
    kernel.bound_capabilities()
    kernel.leave_session_keyring()
    os.setgroups([])
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)
    kernel.clear_capabilities()
    kernel.no_new_privileges()
    if os.getresuid() != (user.uid,) * 3 or os.getresgid() != (user.gid,) * 3 or os.getgroups():
        raise PermissionError(1, "its user could not be changed")
    if kernel.capabilities():
        raise PermissionError(1, "its capabilities could not be put off")


def environment(user: User) -> dict[str, str]:
    """The daemon's environment."""
    env = {name: value for name, value in os.environ.items() if name in _PASSED or name.startswith(_PASSED_PREFIXES)}
    return {**env, "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": user.home, "USER": user.name, "LOGNAME": user.name}


def code() -> list[str]:
    """The places that the daemon's code is read from."""
    return [sys.executable, *(path for path in sys.path if os.path.exists(path)), os.path.dirname(jobd.__file__)]


def closed(path: str) -> str:
    """The first directory on the way to one, itself included, that may not be passed; "" when all can be."""
    place = "/"
    for name in path.split("/"):
        place = os.path.join(place, name)
        if not os.access(place, os.X_OK):
            return place
    return ""


def unreadable(places: list[str]) -> str:
    """The first of them that may not be read; "" when all can be."""
    for path in places:
        wanted = os.R_OK | os.X_OK if os.path.isdir(path) or path == sys.executable else os.R_OK
        if not os.access(path, wanted):
            return path
    return ""
