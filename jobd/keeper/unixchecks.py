"""Whether somebody listens on a Unix socket: asked by a child that has become the user of the job.

Root would come in anywhere, and a path may lead to a file system that does not answer: so neither the keeper nor the
daemon connects. The exit status of the child is the errno.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from _socket import AF_UNIX, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_SEQPACKET, SOCK_STREAM, socket

from jobd.host import pidfd
from jobd.keeper import become, kernel
from jobd.keeper.spawns import spare_fds
from jobd.wire.grants import unix_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from jobd.keeper.link import Fds, Message
    from jobd.keeper.loop import Keeper

MAX_CHECKS = 256  # under way at once, of all runs
MAX_USER = 64  # as one user who is not root: a path of his may lead to a file system of his that does not answer
CHECK_SEC = 4.0  # a connect takes microseconds; what looks the user up or walks the path may have to be ended
TYPES = (SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM)
_LONGEST = 107  # bytes of a path in struct sockaddr_un


class UnixChecks:
    """The children that look, by pid: whose answer it is, until when, and their pidfds."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._under_way: dict[int, tuple[int, float, int]] = {}
        self._users: dict[int, int | str] = {}  # as whom they look, by pid
        self.handlers: dict[str, Callable[[Message, Fds], None]] = {"check-unix": self._check}

    def _check(self, message: Message, _: Fds) -> None:
        keeper, tag, path = self._keeper, message["tag"], message["path"]
        assert type(tag) is int
        assert isinstance(path, bytes)
        user = message.get("user")
        one = unix_digest(path, user if isinstance(user, str) else "")
        wish = become.wish(message, keeper.base.guarded, keeper.grants is not None and keeper.grants.knows(one))
        if not path.startswith(b"/") or b"\0" in path:
            self._answer(tag, errno.EINVAL)
        elif len(self._under_way) >= MAX_CHECKS or self._has_many(user):
            self._answer(tag, errno.EAGAIN)
        else:
            if wish is not None:
                wish.running = True
            try:
                pid, fd, _placed = kernel.clone(None)
            except OSError as e:
                self._answer(tag, e.errno or errno.EAGAIN)
                return
            if pid == 0:
                _child(path, wish, keeper.base.overflow_uid)
            limit, spare = spare_fds()
            if fd >= limit - spare:  # the next daemon needs room
                pidfd.send_signal(fd, signal.SIGKILL)
            if type(user) is int or isinstance(user, str):
                self._users[pid] = user
            self._under_way[pid] = tag, time.monotonic() + CHECK_SEC, fd

    def _has_many(self, user: object) -> bool:
        return user not in (0, None) and list(self._users.values()).count(user) >= MAX_USER  # type: ignore[arg-type]

    def _answer(self, tag: int, number: int) -> None:
        self._keeper.send({"op": "checked", "tag": tag, "errno": number})

    def reaped(self, pid: int, status: int) -> bool:
        """A child has ended. Returns whether it was one of these."""
        found = self._under_way.pop(pid, None)
        if found is None:
            return False
        self._users.pop(pid, None)
        tag, _, fd = found
        os.close(fd)
        code = os.waitstatus_to_exitcode(status)
        self._answer(tag, code if code >= 0 else errno.ETIMEDOUT)
        return True

    def pids(self) -> set[int]:
        """Our children that look."""
        return set(self._under_way)

    def plain(self) -> list[list[object]]:
        """For the state blob."""
        return [[pid, *found] for pid, found in self._under_way.items()]

    def load(self, listed: list[list[object]]) -> None:
        """From the state blob."""
        for pid, tag, until, fd in listed:
            self._under_way[pid] = tag, until, fd  # type: ignore[index, assignment]  # our own words

    def tick(self, now: float) -> float | None:
        """End those that take too long. Returns when to look again."""
        if not self._under_way:
            return None
        for _, until, fd in self._under_way.values():
            if now >= until:
                pidfd.send_signal(fd, signal.SIGKILL)
        return min((max(until, now + 1) for _, until, _ in self._under_way.values()))


def _child(path: bytes, wish: become.Wish | None, overflow: int) -> NoReturn:
    """In the child: connect, and leave with the errno."""
    number = errno.EIO
    try:
        kernel.close_from(3)
        if wish is not None:
            become.become(become.look_up(wish, overflow))
        number = _connect(path)
    except become.Refused as e:
        number = e.errno
    except OSError as e:
        number = e.errno or errno.EIO
    finally:
        os._exit(number)


def _connect(path: bytes) -> int:
    """Connect to whatever kind of socket it is. Returns an errno."""
    if len(path) > _LONGEST:
        directory, _, path = path.rpartition(b"/")
        os.chdir(directory)
    number = 0
    for kind in TYPES:
        sock = socket(AF_UNIX, kind | SOCK_NONBLOCK)
        try:
            sock.connect(path)
        except OSError as e:
            number = e.errno or errno.EIO
            if number != errno.EPROTOTYPE:
                break
        else:
            return 0
        finally:
            sock.close()
    return 0 if number == errno.EAGAIN else number  # its queue is full: somebody listens, and has not come to it yet
