"""What the service manager is told, in the words of sd_notify(3): ready, reloading, stopping, and alive.

The keeper speaks for both processes. It is alive as long as its loop turns: a daemon that hangs is the keeper's own
business, who kills and replaces it, and to be restarted over that would cost the jobs their keeper. Nothing here waits:
a manager that is slow is told again when the loop comes round.
"""

from __future__ import annotations

import errno
import os
import time
from _socket import AF_UNIX, MSG_DONTWAIT, SOCK_CLOEXEC, SOCK_DGRAM, socket
from contextlib import closing

from jobd.keeper.link import SHORTAGES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

EXTEND_EVERY_SEC = 5.0  # while starting or stopping …
EXTEND_SEC = 30.0  # … the manager is told that it may take so much longer, which is how soon a hang is noticed
START_SEC = 600.0  # without jobs a start may take no longer; with jobs there is no end, as their keeper must not go
RETRY_SEC = 0.5  # until the next attempt where the manager's queue was full, or the kernel short of something
BEATS = 3  # pings in the time after which the manager takes us for dead: one may come late

STARTING, UP, RELOADING, STOPPING = "starting", "up", "reloading", "stopping"


class Notifier:
    """The socket of the manager, and what it was told. Without a manager nothing happens.

    Attributes:
        stage: starting, up, reloading or stopping.
    """

    def __init__(self, path: str = "", watchdog_sec: float = 0.0, stage: str = STARTING) -> None:
        self.path = path
        self.watchdog_sec = watchdog_sec
        self.stage = stage
        self.error = ""  # why the last attempt failed, for the log
        self._born = time.monotonic()
        self._unsent: list[bytes] = []
        self._status = ""
        self._heard = False  # the manager, from us
        self._next = self._born + EXTEND_EVERY_SEC  # before that the unit's own TimeoutStartSec= is enough

    @classmethod
    def from_environment(cls, environment: dict[str, str] | os._Environ[str] = os.environ) -> Notifier:
        """What the manager has set for this process. The variables are taken away: they are not for our children."""
        path = environment.pop("NOTIFY_SOCKET", "")
        usec, pid = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
        ours = not pid or pid == str(os.getpid())
        return cls(path, int(usec) / 1e6 if usec.isdigit() and ours else 0.0)

    @property
    def present(self) -> bool:
        """Whether somebody wants to know, who will also start us again."""
        return bool(self.path)

    def plain(self) -> dict[str, object]:
        """As plain values, for the next code of this same process."""
        return {"path": self.path, "watchdog_sec": self.watchdog_sec, "stage": self.stage}

    @classmethod
    def load(cls, fields: Mapping[str, object] | None) -> Notifier:
        """From `plain`; an older keeper has none, and has given READY with a variable that is gone."""
        if not fields:
            return cls()
        again = cls(str(fields["path"]), float(fields["watchdog_sec"]), str(fields["stage"]))  # type: ignore[arg-type]
        again._next = 0.0  # the manager has been counting
        return again

    # --- what there is to say ---------------------------------------------------------------------------------------
    def ready(self) -> None:
        """A daemon serves."""
        if self.stage in (STARTING, RELOADING):
            self.stage = UP
            self._say(b"READY=1")
            self._next = 0.0  # from here on the manager counts

    def reloading(self) -> None:
        """The daemon is being replaced because somebody asked for that; `ready` follows."""
        if self.stage == UP:
            self.stage = RELOADING
            self._say(b"RELOADING=1\nMONOTONIC_USEC=%d" % (time.monotonic_ns() // 1000))

    def stopping(self) -> None:
        """The end has begun; it takes as long as the jobs' own stop timeouts."""
        if self.stage != STOPPING:
            self.stage = STOPPING
            self._say(b"STOPPING=1\n" + _EXTEND)
            self._next = 0.0

    def tick(self, now: float, runs: int, hopeless: bool) -> float | None:
        """Say what is due. Returns when to come again; None if there is nobody to speak to.

        Args:
            now: on the monotonic clock.
            runs: how many there are.
            hopeless: daemon after daemon dies on its way up: with no job to protect, a start may then be given up.
        """
        if not self.path:
            return None
        if self._unsent:
            self._flush()
        if now >= self._next or (runs and not self._heard):  # who has taken runs over may not run out of time
            words = [b"WATCHDOG=1"] if self.watchdog_sec else []
            if self.stage == STOPPING or (self.stage == STARTING and (runs or self._may_take(now, hopeless))):
                words.append(_EXTEND)
            if self.stage != STARTING:
                status = "1 run" if runs == 1 else f"{runs} runs"
                if status != self._status:
                    words.append(b"STATUS=%s" % status.encode())
                    self._status = status
            if words:
                self._say(b"\n".join(words))
            self._next = now + self._interval()
        return min(self._next, now + RETRY_SEC) if self._unsent else self._next

    def _may_take(self, now: float, hopeless: bool) -> bool:
        return not hopeless and now - self._born < START_SEC

    def _interval(self) -> float:
        beat = self.watchdog_sec / BEATS or EXTEND_EVERY_SEC * 12
        return beat if self.stage in (UP, RELOADING) else min(beat, EXTEND_EVERY_SEC)

    # --- the socket -------------------------------------------------------------------------------------------------
    def _say(self, words: bytes) -> None:
        if self.path:
            self._heard = True
            self._unsent.append(words)
            self._flush()

    def _flush(self) -> None:
        address = b"\0" + os.fsencode(self.path[1:]) if self.path.startswith("@") else os.fsencode(self.path)
        try:
            with closing(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC)) as sock:
                while self._unsent:
                    sock.sendto(self._unsent[0], MSG_DONTWAIT, address)
                    del self._unsent[0]
            self.error = ""
        except OSError as e:
            if e.errno in (errno.EAGAIN, *SHORTAGES):
                del self._unsent[:-_MAX_UNSENT]
                return
            self._unsent.clear()
            self.error = f"cannot tell {self.path} how jobd is: {e.strerror}"


_EXTEND = b"EXTEND_TIMEOUT_USEC=%d" % int(EXTEND_SEC * 1e6)
_MAX_UNSENT = 16
