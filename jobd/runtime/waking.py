"""Waking the loop from a thread of ours.

The kernel may have no memory for the byte that wakes it. A thread that died of that, or did not try again, would leave
everybody waiting for what it has done.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

AGAIN_SEC: Final = 0.05  # as the link does when the kernel is short of something


def wake(token: trio.lowlevel.TrioToken, act: Callable[[], object]) -> None:
    """Have the loop call `act`, once for all who ask before it does. Returns when that is sure, or the loop has ended.

    Args:
        token: of the loop.
        act: the same object each time, else it is called more than once.
    """
    while True:
        try:
            token.run_sync_soon(act, idempotent=True)
        except trio.RunFinishedError:
            return  # the thread outlives the loop by a moment
        except OSError:
            time.sleep(AGAIN_SEC)
        else:
            return
