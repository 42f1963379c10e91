"""The listening socket: taking connections from the kernel's queue, as fast as they come.

The queue is one for all users, so whoever connects in a flood stands before the others there. Taking a connection out
is therefore cheap and done first; what it costs to serve one is paid in turns (shares.py). A descriptor is kept in
reserve: without any, nobody could be told why he is not served.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

# Descriptors or memory are short: who accepts waits, or the loop would spin; who asks may ask again.
SHORT: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
DRAIN: Final = 16  # connections taken before those who are connected get their turn: 15 to 30 µs each
PAUSE_SEC: Final = 0.1
# In a flood the kernel's queue is kept short. Who finds it full waits in connect(2), in line as he would in the queue,
# and nobody is before him there who has left already. Else it is as long as keeper.sockets.BACKLOG made it.
FLOOD_BACKLOG: Final = 16
BACKLOG: Final = 4096
CALM_SEC: Final = 1.0  # without a full turn: the flood is over


class Door:
    """Owns the listening socket.

    Args:
        admit: takes a connection; it is the taker's to close.
        turn_away: takes one that there are no descriptors for, says so, and closes it.
        complain: logs a line.
        resize: makes the kernel's queue of a listening socket as long as that.
    """

    def __init__(
        self,
        admit: Callable[[socket.socket], None],
        turn_away: Callable[[socket.socket], None],
        complain: Callable[[str], None],
        resize: Callable[[socket.socket, int], None] = socket.socket.listen,
    ) -> None:
        self._admit = admit
        self._turn_away = turn_away
        self._complain = complain
        self._resize = resize
        self._listener: socket.socket | None = None
        self._spent = False  # the listener takes nobody any more
        self._accepting: trio.CancelScope | None = None
        self._spare = _spare()
        self._flood_until = 0.0  # 0: there is none

    async def accept(self, listener: socket.socket, task_status: trio.TaskStatus[None]) -> None:
        """Accept until cancelled."""
        self._take(listener)
        task_status.started()
        try:
            while True:
                with trio.CancelScope() as self._accepting:
                    await self._accept_all()
        finally:
            if self._spare >= 0:
                os.close(self._spare)
                self._spare = -1

    def replace(self, listener: socket.socket) -> None:
        """Go on with another socket: the path of the old one had vanished."""
        old, self._spent = self._listener, False
        self._take(listener)
        if self._accepting is not None:
            self._accepting.cancel()
        if old is not None:
            old.close()

    def _take(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._flood_until = 0.0
        self._set_backlog(BACKLOG)  # a daemon before us may have died in a flood

    def shut(self) -> None:
        """From here on connect(2) is refused. What was in the queue before is there, and is admitted."""
        assert self._listener is not None
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RD)
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                break
            self._admit(sock)
        self.leave()

    def leave(self) -> None:
        """Take nobody any more: who is in the queue is for the next daemon, if the socket has one."""
        self._spent = True  # accepting goes on with the next listener: this one is ready for ever, and gives nothing
        if self._accepting is not None:
            self._accepting.cancel()

    async def _accept_all(self) -> None:
        if self._spent:
            await trio.sleep_forever()
        assert self._listener is not None
        taken = 0
        while True:
            if taken >= DRAIN:
                taken = 0
                self._note_flood()
                await trio.lowlevel.checkpoint()
            taken += 1
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                taken = 0
                await self._until_somebody()
                continue
            except OSError as error:
                if error.errno in SHORT:
                    await self._in_need(error)
                continue  # or the client went away between connect and accept
            self._admit(sock)

    def _note_flood(self) -> None:
        if not self._flood_until:
            self._set_backlog(FLOOD_BACKLOG)
        self._flood_until = trio.current_time() + CALM_SEC

    async def _until_somebody(self) -> None:
        """Return when somebody is in the queue, which is made long again when a flood is over."""
        assert self._listener is not None
        while self._flood_until:
            with trio.move_on_at(self._flood_until):
                await trio.lowlevel.wait_readable(self._listener)
                return
            self._flood_until = 0.0
            self._set_backlog(BACKLOG)
        await trio.lowlevel.wait_readable(self._listener)

    def _set_backlog(self, length: int) -> None:
        assert self._listener is not None
        with contextlib.suppress(OSError):
            self._resize(self._listener, length)

    async def _in_need(self, error: OSError) -> None:
        """There is no descriptor for who waits: he gets the spare one, to be told so."""
        assert self._listener is not None
        self._complain(f"cannot accept a connection: {error.strerror}")
        if self._spare >= 0:
            os.close(self._spare)
            with contextlib.suppress(OSError):
                sock, _ = self._listener.accept()
                self._turn_away(sock)
        self._spare = _spare()
        await trio.sleep(PAUSE_SEC)


def _spare() -> int:
    """A descriptor to be given up; -1 when there is none."""
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1
