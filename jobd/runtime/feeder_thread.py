"""The feeder's thread: stdin of runs from its files, and terminals into the pipes that the pump reads.

Its epoll has the targets of stdin (a pipe whose reader went away tells so by itself) and the masters of terminals. As
in the pump's thread nothing is polled, no byte is only in this process, and what goes wrong with one run is that
run's trouble alone. A full disk is tried again each second, while something waits for it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import select
import struct
import termios
import threading
import time
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from jobd.runtime.inlet import Inlet, remove

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from jobd.runtime.inlet import Data

log = logging.getLogger("jobd.runtime")

RETRY_SEC: Final = 1.0  # as the pump's
TAP_BYTES: Final = 64 << 10  # of a terminal at a time; the kernel's own buffer for one holds less
# In a flood the loop is told of every so many bytes, and when nothing has happened for a moment: a wake-up of the loop
# costs as much as moving 64 KiB. Less than FLOOD_BYTES is no flood.
FLOOD_BYTES: Final = 64 << 10
NEWS_BYTES: Final = 512 << 10
UNTOLD_SEC: Final = 0.001
_FLAGS: Final = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE
_EVENTS: Final = 64

Kind = Literal["fed", "hung-up", "died"]


class Fed(NamedTuple):
    """What the loop is told of a run: how its stdin stands now, or (`hung-up`) that its terminal has ended.

    `died` is of no run: the thread has ended by an error of ours.
    """

    run: bytes
    kind: Kind
    received: int = 0
    delivered: int = 0
    closed: bool = False
    ended: bool = False  # by the client
    text: str = ""


class Tap:
    """The way from a terminal's master to the pipe of the run's output. Both descriptors are the tap's."""

    __slots__ = ("full", "master", "pipe", "run")

    def __init__(self, run: bytes, master: int, pipe: int) -> None:
        self.run = run
        self.master = master
        self.pipe = pipe
        self.full = False  # the pipe is: it is listened to instead of the master

    def close(self) -> None:
        os.close(self.master)
        os.close(self.pipe)


class FeederThread:
    """The state of the thread; everything but `poke` and `close` happens in it."""

    def __init__(
        self, commands: deque[tuple[Callable[..., None], tuple[object, ...]]], tell: Callable[[Fed | Inlet], None]
    ) -> None:
        self._commands = commands
        self._tell = tell
        self._epoll = select.epoll()
        self._poke_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._poke_fd, select.EPOLLIN)
        self._running = True
        self._inlets: dict[bytes, Inlet] = {}
        self._taps: dict[bytes, Tap] = {}
        self._by_fd: dict[int, Inlet | Tap] = {}
        self._poked = False
        self.lock = threading.Lock()  # to take a command, or to add to one; never held for the disk
        self.gathering: dict[bytes, bytearray] = {}  # by run, what is fed by its last command, and may grow
        self._fed: dict[Inlet, None] = {}  # have taken something that is not in their files yet
        self._untold: dict[Inlet, None] = {}  # have news that may wait a moment
        self._waiting: set[Inlet] = set()  # for the disk
        self._retry_at = 0.0

    def poke(self) -> None:
        """Make the thread look at its commands."""
        if not self._poked:
            self._poked = True
            try:
                os.eventfd_write(self._poke_fd, 1)
            except OSError:
                self._poked = False  # or nobody would poke it again
                raise

    def run(self) -> None:
        """The thread's work, until `stop`."""
        while self._running:
            timeout = max(0.0, self._retry_at - time.monotonic()) if self._waiting else None
            if self._untold:
                timeout = UNTOLD_SEC
            events = self._epoll.poll(timeout, _EVENTS)
            if not events:
                self._tell_all()
            for fd, mask in events:
                if fd == self._poke_fd:
                    os.eventfd_read(fd)
                    self._poked = False  # before the queue is looked at: a later command pokes again
                else:
                    self._on_event(fd, mask)
            while self._commands:
                with self.lock:
                    function, arguments = self._commands.popleft()
                    self.gathering.clear()
                if function != self.feed:  # which may take from an inlet what it has
                    self.serve_fed()
                function(*arguments)
            self.serve_fed()
            if self._waiting and time.monotonic() >= self._retry_at:
                waiting, self._waiting = self._waiting, set()
                for inlet in waiting:
                    self._serve(inlet)

    def close(self) -> None:
        """After the thread's end, by whoever pokes it: its descriptor may be somebody else's from here on."""
        self._epoll.close()
        os.close(self._poke_fd)

    def _on_event(self, fd: int, mask: int) -> None:
        who = self._by_fd.get(fd)  # an event before it may have closed it
        if isinstance(who, Tap):
            self._drain(who)
        elif who is not None:
            if mask & (select.EPOLLERR | select.EPOLLHUP):
                who.closed = True  # the run has closed its stdin; the terminal has ended
            self._serve(who)

    # --- stdin ------------------------------------------------------------------------------------------------------
    def add_inlet(self, inlet: Inlet) -> None:
        self._inlets[inlet.run] = inlet
        self._by_fd[inlet.target] = inlet
        self._epoll.register(inlet.target, 0)  # errors are always told
        self._serve(inlet)
        self._tell(inlet)

    def feed(self, run: bytes, data: Data) -> None:
        inlet = self._inlets.get(run)
        if inlet is not None:
            inlet.take(data)
            self._fed[inlet] = None

    def serve_fed(self) -> None:
        """All that has come for a run meanwhile is written at once."""
        while self._fed:
            self._serve(self._fed.popitem()[0])

    def _serve(self, inlet: Inlet) -> None:
        """Bring on what can be, and listen for what is waited for."""
        received, trouble, moved = inlet.received, inlet.trouble, False
        try:
            try:
                if inlet not in self._waiting:
                    inlet.write()
            finally:
                moved = inlet.deliver()  # what is in the file is the run's, also while no more goes there
        except OSError as error:
            inlet.trouble = f"cannot take its input: {error.strerror}"
            if not self._waiting:
                self._retry_at = time.monotonic() + RETRY_SEC
            self._waiting.add(inlet)
        else:
            if inlet not in self._waiting:
                inlet.trouble = ""
        if inlet.closed:
            self._tell(self._drop_inlet(inlet))
            return
        if inlet.full != inlet.listening:
            inlet.listening = inlet.full
            self._epoll.modify(inlet.target, select.EPOLLOUT if inlet.full else 0)
        if moved or inlet.received != received or inlet.ended or inlet.trouble != trouble:
            self._untold[inlet] = None
            step = max(inlet.received - inlet.told[0], inlet.delivered - inlet.told[1])
            if not FLOOD_BYTES <= step < NEWS_BYTES or inlet.ended or inlet.trouble != trouble:
                self._tell_now(inlet)

    def _tell_now(self, inlet: Inlet) -> None:
        self._untold.pop(inlet, None)
        inlet.told = inlet.received, inlet.delivered
        self._tell(inlet)

    def _tell_all(self) -> None:
        while self._untold:
            self._tell_now(next(iter(self._untold)))

    def _drop_inlet(self, inlet: Inlet) -> Fed:
        self._forget_inlet(inlet)
        told = fed(inlet)
        inlet.close()
        return told

    def _forget_inlet(self, inlet: Inlet) -> None:
        self._epoll.unregister(inlet.target)
        del self._by_fd[inlet.target], self._inlets[inlet.run]
        self._waiting.discard(inlet)
        self._fed.pop(inlet, None)
        self._untold.pop(inlet, None)

    # --- terminals --------------------------------------------------------------------------------------------------
    def add_tap(self, tap: Tap) -> None:
        self._taps[tap.run] = tap
        self._by_fd[tap.master] = self._by_fd[tap.pipe] = tap
        self._epoll.register(tap.master, select.EPOLLIN)

    def resize(self, run: bytes, rows: int, columns: int) -> None:
        tap = self._taps.get(run)
        if tap is not None:
            with contextlib.suppress(OSError):  # it has hung up this moment
                fcntl.ioctl(tap.master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def _drain(self, tap: Tap) -> None:
        """Bring what the terminal shows into the pipe."""
        try:
            os.splice(tap.master, tap.pipe, TAP_BYTES, flags=_FLAGS)
        except BlockingIOError:
            self._listen(tap, not tap.full and _has_input(tap.master))
            return
        except OSError as error:
            if error.errno == errno.EINTR:
                return
            self._tell(Fed(tap.run, "hung-up"))  # EIO: nobody has the terminal open any more
            self._forget_tap(tap)
            tap.close()
            return
        self._listen(tap, False)

    def _listen(self, tap: Tap, full: bool) -> None:
        if tap.full != full:
            tap.full = full
            self._epoll.unregister(tap.master if full else tap.pipe)  # a hang-up cannot be masked
            self._epoll.register(*((tap.pipe, select.EPOLLOUT) if full else (tap.master, select.EPOLLIN)))

    def _forget_tap(self, tap: Tap) -> None:
        self._epoll.unregister(tap.pipe if tap.full else tap.master)
        del self._by_fd[tap.master], self._by_fd[tap.pipe]
        del self._taps[tap.run]

    # --- the end ----------------------------------------------------------------------------------------------------
    def drop(self, run: bytes, directory: str) -> None:
        """The run has ended: close what is left, and take its files away."""
        if run in self._inlets:
            self._drop_inlet(self._inlets[run])
        tap = self._taps.get(run)
        if tap is not None:
            self._forget_tap(tap)
            tap.close()
        remove(directory)

    def release_all(self, found: dict[bytes, dict[str, int]]) -> None:
        """Give all descriptors back, unread from here on, by the keeper's names."""
        for inlet in list(self._inlets.values()):
            held = found.setdefault(inlet.run, {})
            held["input"] = inlet.file
            self._forget_inlet(inlet)
            if inlet.tty:
                os.close(inlet.target)  # a copy of the master
            else:
                held["stdin"] = inlet.target
        for tap in list(self._taps.values()):
            found.setdefault(tap.run, {}).update(pty=tap.master, pty_out=tap.pipe)
            self._forget_tap(tap)

    def stop(self) -> None:
        self._running = False
        for inlet in list(self._inlets.values()):
            self._drop_inlet(inlet)
        for tap in list(self._taps.values()):
            self._forget_tap(tap)
            tap.close()


def fed(inlet: Inlet) -> Fed:
    """How a stdin stands at this moment."""
    return Fed(inlet.run, "fed", inlet.received, inlet.delivered, inlet.closed, inlet.ended, inlet.trouble)


def _has_input(fd: int) -> bool:
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, b"\0\0\0\0"), "little") > 0
