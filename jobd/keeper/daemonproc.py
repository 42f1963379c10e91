"""The daemon's process: forked, pinged, killed when it stops answering, forked again.

One daemon at a time: the next is forked only after the last was reaped. A daemon that dies on its way up, or soon
after by itself, is forked again more and more slowly; one that somebody killed comes back at once.
"""

from __future__ import annotations

import os
import signal
import sys
from _socket import AF_UNIX, SOCK_SEQPACKET, socketpair

from jobd.host import pidfd
from jobd.keeper import kernel, unprivileged
from jobd.keeper.link import MAX_REQUEST, MAX_UNSENT, Link, LinkCodec
from jobd.keeper.log import Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PING_SEC = 5.0
PONG_SEC = 10.0  # DESIGN.md section 3: without an answer for so long it is killed
LISTEN = 64  # batches that are read for an answer before a daemon is killed; one that floods us does not answer, either
REPLACE_SEC = 5.0  # from SIGTERM to SIGKILL of a daemon that is to be replaced
HEALTHY_SEC = 10.0  # a daemon that lived so long was not part of a crash loop
BACKOFF_MIN_SEC, BACKOFF_MAX_SEC = 0.2, 5.0
UNLINKED_SEC = 1.0  # from a broken link to SIGKILL
LINK_FD = 3


def default_argv() -> list[str]:
    """The command of the daemon, with the code now on disk."""
    return [sys.executable, "-I", "-m", "jobd.daemon", str(LINK_FD)]


class DaemonProcess:
    """At most one daemon. All times are seconds of the monotonic clock."""

    def __init__(self, argv: Sequence[str], user: unprivileged.User | None = None) -> None:
        self.argv = list(argv)
        self.user = user  # None: the keeper's own
        self.pid = 0  # 0: none
        self.pidfd = -1
        self.link: Link | None = None
        self.incarnation = 0
        self.ready = False
        self.failures = 0  # deaths in a row that look like a crash loop
        self.next_at: float | None = 0.0  # when to fork; None while one lives
        self.kill_at: float | None = None  # when to stop waiting for it
        self.born = 0.0
        self.replacing = False
        self.why = ""  # what it said of its end, if it could not serve
        self.final = False  # and neither could the next one: there is no use in trying
        self._killed = False  # by us, so its death is no proof of anybody else's hand

    def fork(self, now: float) -> Link:
        """Fork and execute the daemon. Raises OSError; then it is tried again later."""
        self.next_at = now + BACKOFF_MAX_SEC
        ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
        link = Link(ours, MAX_REQUEST, MAX_UNSENT)  # all that can fail comes before there is somebody to look after
        pid, fd, _ = kernel.clone(None)
        if pid == 0:
            _execute(self.argv, theirs.fileno(), self.user)
        theirs.close()
        self.pid, self.pidfd, self.link = pid, fd, link
        self.incarnation += 1
        self.next_at = self.kill_at = None
        self.ready = self.replacing = self._killed = False
        self.why, self.final = "", False
        self.born = now
        return self.link

    def pinged(self, now: float) -> None:
        """Note that a ping left."""
        if self.kill_at is None:
            self.kill_at = now + PONG_SEC

    def overdue(self, now: float) -> bool:
        """Whether it has had all its time."""
        return self.kill_at is not None and now >= self.kill_at

    def answered(self) -> None:
        """Note that the ping was answered."""
        if not self.replacing:
            self.kill_at = None

    def replace(self, now: float) -> None:
        """Ask it to leave, so that the code now on disk takes its place."""
        if self.pid and not self.replacing:
            self.replacing = True
            self.kill_at = now + REPLACE_SEC
            pidfd.send_signal(self.pidfd, signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL it; a stopped process dies of that too."""
        self.kill_at = None
        if self.pid:
            self._killed = True
            pidfd.send_signal(self.pidfd, signal.SIGKILL)

    def reaped(self, status: int, now: float) -> None:
        """Note its death and decide when the next one is forked."""
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if self.replacing or now - self.born >= HEALTHY_SEC or (self.ready and killed and not self._killed):
            self.failures = 0
        else:
            self.failures += 1
        delay = BACKOFF_MIN_SEC * 2 ** min(self.failures - 2, 10) if self.failures > 1 else 0.0
        self.next_at = now + min(delay, BACKOFF_MAX_SEC)
        os.close(self.pidfd)
        self.pid, self.pidfd = 0, -1
        self.ready = False
        self.kill_at = None

    def close_link(self, now: float) -> None:
        """The link has broken: without it the daemon is of no use, and has a moment to end by itself."""
        if self.link is not None:
            self.link.close()
            self.link = None
            self.kill_at = now + UNLINKED_SEC


def _execute(argv: list[str], link: int, user: unprivileged.User | None) -> None:
    """In the child: become the daemon. Never returns."""
    env: Mapping[str, str] = os.environ
    try:
        os.setsid()  # a Ctrl-C in the keeper's terminal is the keeper's
        if link != LINK_FD:
            os.dup2(link, LINK_FD)
        os.set_inheritable(LINK_FD, True)
        kernel.close_from(LINK_FD + 1)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if user is not None:
            env = _become(user)
        os.execve(argv[0], argv, env)
    except BaseException as e:
        why = f"cannot execute the daemon {argv[0]}: {e}"
        Log()(why, "error")
        for data, _ in LinkCodec().encode([({"op": "start-failed", "why": why}, ())]):
            os.write(LINK_FD, data)  # for whoever waits for the start
    finally:
        os._exit(127)


def _become(user: unprivileged.User) -> dict[str, str]:
    """In the child: be the daemon's user. Returns its environment. Raises OSError, also if he may not read the code."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)  # it may have been root's terminal
    os.close(null)
    env, places = unprivileged.environment(user), unprivileged.code()
    unprivileged.become(user)
    who = f"user {user.name} (uid {user.uid})"
    if place := unprivileged.unreadable(places):
        raise PermissionError(f"{who} may not read {place}; see --daemon-user in jobd(8)")
    if place := unprivileged.closed(user.home):
        raise PermissionError(f"{who} cannot get to the state directory {user.home}, because of {place}")
    return env
