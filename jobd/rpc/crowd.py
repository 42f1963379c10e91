"""Waiting for what many connections of one user bring, at a bounded cost for everybody else.

trio wakes everyone whose socket has something, and five hundred tasks take the loop 15 ms. A user with more than a few
connections gets an epoll of his own, in which the loop sees one descriptor; a few are taken from it in each of his
turns, the others stay where they are.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from jobd.rpc.shares import Share, Turns

FEW: Final = 16  # connections of one uid that trio may wake at once
AT_A_TIME: Final = 8
WAKE_SEC: Final = 0.00003  # what one of them costs before it has asked anything


class Crowd:
    """The waiting connections of one uid. Raises OSError when there is no descriptor for it."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._waiting: dict[int, trio.lowlevel.Task] = {}
        self._scope = trio.CancelScope()

    async def serve(self, share: Share, turns: Turns) -> None:
        """Wake them in the turns of their uid, until `close`."""
        with self._scope, self._epoll:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                await turns.take(share)
                events = self._epoll.poll(0, AT_A_TIME)
                for fd, _ in events:
                    task = self._waiting.pop(fd, None)
                    if task is not None:
                        trio.lowlevel.reschedule(task)
                turns.spend(share, WAKE_SEC * len(events))

    def close(self) -> None:
        """Nobody is left."""
        self._scope.cancel()

    async def wait_readable(self, fd: int) -> None:
        """Return when there is something to be read. Of a descriptor that is closed without a word nothing remains."""
        try:
            self._epoll.modify(fd, select.EPOLLIN | select.EPOLLONESHOT)
        except FileNotFoundError:
            self._epoll.register(fd, select.EPOLLIN | select.EPOLLONESHOT)
        self._waiting[fd] = trio.lowlevel.current_task()

        def leave(_: object) -> trio.lowlevel.Abort:
            self._waiting.pop(fd, None)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(leave)
