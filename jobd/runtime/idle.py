"""The end of a daemon that nobody needs: a user's own leaves after a while without jobs and clients.

Nothing here is woken by a job or a client: whoever ends, ends with a note of when. The task sleeps until the earliest
moment at which the daemon could have been idle for long enough, and looks then. So it wakes once in that time, and
the exit is neither early nor late.

Leaving loses nobody (`Server.close_door`). The listening socket is shut down for reading: from then on the kernel
refuses connect(2), and what is in the backlog can still be accepted. Is somebody there, he is served, and the keeper
binds the path anew. Is nobody, nobody can come: who is refused starts a jobd as usual, which waits for the lock of the
one that leaves. A client that was told of a shutdown does not start it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable


# Whoever had the first daemon started is on his way to it, on a machine so busy that he is late. A later one, in the
# place of one that was killed, has nobody to wait for.
FIRST_CLIENT_SEC: Final = 10.0


def due_in(now: float, idle_since: float | None, limit_sec: float) -> float:
    """In how many seconds to look again whether the daemon is to leave; 0 or less: it is.

    Args:
        now: on the clock of `idle_since`.
        idle_since: when the last job or client left, or will have left; None while there is one.
        limit_sec: how long it has to be idle.
    """
    return limit_sec if idle_since is None else min(idle_since - now, 0.0) + limit_sec


class IdleExit:
    """The task. Without a limit it ends at once."""

    def __init__(self, limit_sec: float, idle_since: Callable[[], float | None], leave: Callable[[], bool]) -> None:
        """`leave` has the daemon leave, and answers False if somebody has come this very moment."""
        self._limit_sec = limit_sec
        self._idle_since = idle_since
        self._leave = leave

    async def run(self) -> None:
        """Wait for the time to leave, and leave."""
        while self._limit_sec > 0:
            wait_sec = due_in(trio.current_time(), self._idle_since(), self._limit_sec)
            if wait_sec <= 0:
                if self._leave():
                    return
                wait_sec = self._limit_sec
            await trio.sleep(wait_sec)
