"""Becoming the user of a run, in its child, between fork and exec; and what a user of jobs may be.

The child looks the user up while it is still root, alone and under a time limit: what answers such questions may be a
directory service on a network that is down, and the keeper never waits. Then groups, gid and uid are changed and looked
at: whatever is not as it was asked for ends the child. Nothing falls back to root: what cannot be found is refused.
"""

from __future__ import annotations

import errno
import grp
import os
from contextlib import suppress
from os import (
    F_OK,
    access,
    fchown,
    getgrouplist,
    getgroups,
    getresgid,
    getresuid,
    setgroups,
    setresgid,
    setresuid,
)
from pwd import getpwnam, getpwuid  # by name, as all that a child calls: see `child`

from jobd.keeper import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pwd import struct_passwd

NOBODY = 0xFFFF_FFFF  # uid or gid -1: setresuid(2) takes it for "leave it as it is"
LOOKUP_SEC = 10.0  # for the user's name and groups, from the fork on
NOLOGIN = ("/etc/nologin", "/run/nologin")  # nologin(5), and what pam_nologin(8) looks at besides
NAMED_GROUPS = 1000  # groups below are the system's (login.defs(5), GID_MIN): disk, shadow, docker
USER_PATH = b"/usr/local/bin:/usr/bin:/bin"
_USUAL = (b"HOME", b"USER", b"LOGNAME", b"SHELL", b"PATH")
ROOT_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # login.defs(5), ENV_SUPATH


class Refused(Exception):  # noqa: N818
    """A run is not started as this user."""

    def __init__(self, step: bytes, number: int) -> None:
        super().__init__(step, number)
        self.step = step
        self.errno = number


class Wish:
    """As whom a run is to be executed: what the daemon said, before anything was looked up."""

    __slots__ = ("believed", "gid", "granted", "running", "word")

    def __init__(self, word: int | str, gid: int | None, granted: bool, believed: bool) -> None:
        self.word = word  # a uid, or a name or uid as root wrote it
        self.gid = gid  # the group of a uid that has no passwd entry
        self.granted = granted  # uid 0 is allowed
        self.running = False  # something of his runs already, for which this is: no login is asked for
        self.believed = believed  # who says so is root: the group is that of a caller whom the kernel has named

    @property
    def sure_root(self) -> bool:
        """Whether it is uid 0 without any lookup."""
        return self.word == 0


class Account:
    """Whom the wish means."""

    __slots__ = ("gid", "groups", "home", "name", "shell", "uid")

    def __init__(self, uid: int, gid: int, groups: list[int], name: str, home: str, shell: str) -> None:
        self.uid, self.gid, self.groups = uid, gid, groups
        self.name, self.home, self.shell = name, home, shell


def wish(message: dict[str, object], guarded: bool, granted: bool) -> Wish | None:
    """What a spawn message asks for; None: to stay whoever the keeper is. Raises TypeError.

    Args:
        message: the request.
        guarded: the daemon is not root, so that it may not ask for root.
        granted: root has allowed just this.
    """
    word, gid = message.get("user"), message.get("gid")
    if word is None:
        if not guarded:
            return None
        word = 0
    if type(word) not in (int, str) or type(gid) not in (int, type(None)):
        raise TypeError("a user is a uid or a name, a gid a number")
    return Wish(word, gid, granted or not guarded, not guarded)  # type: ignore[arg-type]


def overflow_uid() -> int:
    """The uid under which the kernel shows users that have no number in our user namespace."""
    try:
        with open("/proc/sys/kernel/overflowuid", "rb", buffering=0) as file:
            return int(file.read(16))
    except (OSError, ValueError):
        return 65534  # linux/highuid.h, DEFAULT_OVERFLOWUID


def load_name_service() -> None:
    """Have the name service's libraries in memory ahead of all forks: loading them takes a child 0.3 ms (measured).

    Nobody but the local files is asked: whatever else answers could keep us waiting.
    """
    with suppress(KeyError):
        getpwuid(0)
    try:
        with open("/etc/nsswitch.conf", encoding="utf-8", errors="replace") as file:
            lines = [line.partition("#")[0].partition(":") for line in file]
    except OSError:
        return
    databases = [words.split() for name, _, words in lines if name.strip() in ("passwd", "group", "initgroups")]
    for service in {word for words in databases for word in words if word.isalnum()} - {"files"}:
        kernel.load_library(f"libnss_{service}.so.2")


def tty_group() -> int:
    """The group of terminals, -1 where there is none: who uses write(1) and wall(1) is in it."""
    try:
        return grp.getgrnam("tty").gr_gid
    except KeyError:
        return -1


# --- in the child -------------------------------------------------------------------------------------------------
def look_up(wish: Wish, overflow: int) -> Account:
    """Find the user, his groups and his home. Raises Refused. May take as long as the name service wants.

    Args:
        wish: who is meant.
        overflow: the uid that is anybody's.
    """
    word = wish.word
    if isinstance(word, int):
        account = _by_uid(word, wish.gid, wish.believed)
    elif word.isascii() and word.isdecimal():
        account = _by_uid(int(word), int(word), wish.believed)  # its group has its number: the submitter's is root's
    elif not word or word[0] in "-0123456789":
        raise Refused(b"user", errno.EINVAL)  # `0day` once was 0
    else:
        account = _by_name(word)
    if account.uid in (NOBODY, overflow) or NOBODY in (account.gid, *account.groups):
        raise Refused(b"user", errno.EINVAL)
    if account.uid == 0 and not wish.granted:
        raise Refused(b"grant", errno.EPERM)
    if account.uid and not wish.running and any(access(path, F_OK) for path in NOLOGIN):
        raise Refused(b"nologin", errno.EPERM)
    return account


def _by_uid(uid: int, gid: int | None, believed: bool) -> Account:
    if not 0 <= uid < NOBODY:
        raise Refused(b"user", errno.EINVAL)
    try:
        return _account(getpwuid(uid), uid)
    except KeyError:
        if uid == 0:
            return Account(0, 0, [0], "root", "/", "/bin/sh")
        if gid is None or not 0 < gid < NOBODY or (not believed and gid < NAMED_GROUPS and _is_group(gid)):
            raise Refused(b"groups", errno.EPERM) from None
        return Account(uid, gid, [gid], str(uid), "/", "/bin/sh")


def _by_name(name: str) -> Account:
    try:
        return _account(getpwnam(name), None)
    except (KeyError, ValueError, UnicodeError):  # the last two: no name of a user can be that
        raise Refused(b"user", errno.ESRCH) from None


def _account(entry: struct_passwd, uid: int | None) -> Account:
    """What a passwd entry says. `uid` is the one that was asked for."""
    if uid not in (None, entry.pw_uid):
        raise Refused(b"user", errno.EINVAL)
    groups = sorted({entry.pw_gid, *getgrouplist(entry.pw_name, entry.pw_gid)})
    home, shell = entry.pw_dir or "/", entry.pw_shell or "/bin/sh"
    return Account(entry.pw_uid, entry.pw_gid, groups, entry.pw_name, home, shell)


def _is_group(gid: int) -> bool:
    try:
        grp.getgrgid(gid)
    except KeyError:
        return False
    return True


def become(account: Account) -> None:
    """Change groups, gid and uid for good, and see that they are. Raises OSError, Refused."""
    own_groups = False
    try:
        setgroups(account.groups)
    except PermissionError:
        # A user namespace of one: root there has the groups that he came with, and may not put them off.
        own_groups = account.uid == os.getuid() == 0 and _groups_are_denied()
        if not own_groups:
            raise Refused(b"groups", errno.EPERM) from None
    setresgid(account.gid, account.gid, account.gid)
    setresuid(account.uid, account.uid, account.uid)
    if account.uid and kernel.capabilities():  # what jobd was started with may have left inheritable ones
        kernel.clear_capabilities()
    if getresgid() != (account.gid,) * 3 or not (own_groups or sorted(getgroups()) == account.groups):
        raise Refused(b"groups", errno.EPERM)
    if getresuid() != (account.uid,) * 3 or (account.uid and kernel.capabilities()):
        raise Refused(b"user", errno.EPERM)


def _groups_are_denied() -> bool:
    try:
        with open("/proc/self/setgroups", "rb", buffering=0) as file:
            return file.read().strip() == b"deny"
    except OSError:
        return False


def own_streams(account: Account, streams: Sequence[int], terminal: bool, tty: int) -> None:
    """Let the user open /dev/stdout and the like: what was made for this job is his. `tty` is that group, or -1."""
    if not account.uid and not terminal:
        return
    for fd in set(streams):
        with suppress(OSError):  # where even root may not: a container without CAP_CHOWN
            fchown(fd, account.uid, tty if terminal else account.gid)
            if terminal:
                os.fchmod(fd, 0o620)  # as login(1) leaves a terminal


def missing(env: Sequence[bytes]) -> list[bytes]:
    """What login(1) would set and nobody has."""
    there = {entry.partition(b"=")[0] for entry in env}
    return [name for name in _USUAL if name not in there]


def login(names: Sequence[bytes], account: Account) -> list[bytes]:
    """The words of an environment that login(1) would set, of those that are named."""
    name = os.fsencode(account.name)
    path = USER_PATH if account.uid else ROOT_PATH
    values = (os.fsencode(account.home), name, name, os.fsencode(account.shell), path)
    return [key + b"=" + value for key, value in zip(_USUAL, values, strict=True) if key in names]
