"""What runs in the foreground are fed, and their terminals: the loop's side. The work is done in feeder_thread.py.

The thread is started with the first such run; a daemon without any has none. `Feed` is one run's stdin as the loop
knows it: who feeds it (one client at a time), what was taken from him, and how far it has come.
"""

from __future__ import annotations

import os
import threading
import traceback
from collections import deque
from typing import TYPE_CHECKING, Final

import trio

from jobd.runtime import feeder_thread, inlet
from jobd.runtime.wake import Changed

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobd.runtime.feeder_thread import Fed

# What may be sent ahead of what the run has read: it is on disk, and in the memory of the client, at most this much.
WINDOW_BYTES: Final = 4 << 20
GATHER_BYTES: Final = 64 << 10  # of what waits for the thread in small pieces: more are put together anew
STOP_SEC: Final = 10.0  # for the thread to come to its end: it never waits but for one write to a slow disk


class Feed:
    """One run's stdin."""

    __slots__ = (
        "blocked", "changed", "client", "closed", "delivered", "ended", "ending", "next", "received", "was_fed",
    )  # fmt: skip

    def __init__(self) -> None:
        self.closed = False  # the run takes nothing any more: it has had the end, or has closed its own
        self.ending = False  # the client has said that nothing follows what it has sent
        self.ended = False  # and that is on disk: until then it may have to be said again
        self.next = 0  # offset of the byte that is taken next
        self.received = 0  # bytes that are on disk
        self.delivered = 0  # bytes that the run's end of the pipe has had
        self.blocked = ""  # why nothing goes on
        self.client: object | None = None  # who feeds it
        self.was_fed = False  # a client has been there before
        self.changed = Changed()

    @property
    def open(self) -> bool:
        """Whether more is wanted: it has not ended for certain."""
        return not (self.ended or self.closed)

    @property
    def limit(self) -> int:
        """No byte at or after this offset is taken yet."""
        return self.delivered + WINDOW_BYTES

    @property
    def settled(self) -> bool:
        """Whether all that was taken is on disk, or is not wanted any more."""
        return self.received >= self.next or self.closed

    def note(self, told: Fed) -> None:
        """The thread's news."""
        self.blocked = told.text
        if told.kind == "fed":
            self.received, self.delivered = told.received, told.delivered
            self.next = max(self.next, self.received)
            self.ended = self.ended or told.ended
            self.closed = self.closed or told.closed
        self.changed.set()


class Feeder:
    """The thread and its two queues. All methods are the loop's, and only `stop` and `release_all` wait for it."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """`wake` is called in the thread when something waits for `take`."""
        self._wake = wake
        self._commands: deque[tuple[Callable[..., None], tuple[object, ...]]] = deque()
        self._news: deque[Fed | inlet.Inlet] = deque()
        self._told: set[inlet.Inlet] = set()  # whose news wait there already
        self._thread: threading.Thread | None = None
        self._worker = feeder_thread.FeederThread(self._commands, self._tell)

    # --- runs -------------------------------------------------------------------------------------------------------
    async def create(self, directory: str) -> int:
        """The file that is to feed a run. Raises OSError. Cancelling leaves an empty file for the next attempt."""
        return await trio.to_thread.run_sync(inlet.create, directory)

    def add(self, run: bytes, directory: str, held: dict[str, int]) -> Fed | None:
        """Take over what the keeper holds for a run's stdin and terminal, by its names; it may be nothing any more.

        Returns:
            How its stdin stands, which must be noted before anybody feeds it; None when it is closed.

        Raises OSError: the file is not to be used; all descriptors are closed then.
        """
        told = None
        tty = "pty" in held
        try:
            if "input" in held and (tty or "stdin" in held):
                if tty:
                    os.set_blocking(held["pty"], False)
                if tty:
                    held = {**held, "stdin": os.dup(held["pty"])}
                made = inlet.Inlet(run, directory, held["stdin"], held["input"], tty)
                told = feeder_thread.fed(made)
                self._command(self._worker.add_inlet, made)
                held = {name: fd for name, fd in held.items() if name not in ("input", "stdin")}
            if tty and "pty_out" in held:
                tap = feeder_thread.Tap(run, held.pop("pty"), held.pop("pty_out"))
                self._command(self._worker.add_tap, tap)
        finally:
            for fd in held.values():
                os.close(fd)
        return told

    def feed(self, run: bytes, data: inlet.Data) -> None:
        """More for a run; b"" is its end. While the thread hangs in the disk, a byte costs a byte here too."""
        is_small = 0 < len(data) < inlet.SMALL_BYTES
        gathering = self._worker.gathering
        with self._worker.lock:
            last = gathering.pop(run, None)
            if is_small and last is not None and len(last) < GATHER_BYTES:
                last += data
                gathering[run] = last
                return
            if is_small:
                data = gathering[run] = bytearray(data)
            self._command(self._worker.feed, run, data)

    def resize(self, run: bytes, rows: int, columns: int) -> None:
        """A run's terminal has another size now: its programs get SIGWINCH."""
        self._command(self._worker.resize, run, rows, columns)

    def drop(self, run: bytes, directory: str) -> None:
        """The run has ended: nothing is fed any more, and its files go."""
        self._command(self._worker.drop, run, directory)

    def release_all(self) -> dict[bytes, dict[str, int]]:
        """Give everything back, by the keeper's names, untouched from here on. Waits for the thread's turn."""
        found: dict[bytes, dict[str, int]] = {}
        if self._thread is not None:
            done = threading.Event()
            self._command(self._worker.release_all, found)
            self._command(done.set)
            while not done.wait(1) and self._thread.is_alive():  # the thread may have ended before it came to it
                pass
        return found

    def take(self) -> list[Fed]:
        """The news since the last call; how a stdin stands at most once for each."""
        news: list[Fed] = []
        while self._news:
            item = self._news.popleft()
            if isinstance(item, inlet.Inlet):
                self._told.discard(item)  # before it is read: what comes later is told anew
                item = feeder_thread.fed(item)
            news.append(item)
        return news

    def stop(self) -> None:
        """End the thread, closing everything; what runs have not been fed stays in their files."""
        if self._thread is not None:
            self._command(self._worker.stop)
            self._thread.join(STOP_SEC)
            if self._thread.is_alive():
                return
        self._worker.close()

    # --- the queues -------------------------------------------------------------------------------------------------
    def _command(self, function: Callable[..., None], *arguments: object) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._main, name="feeder", daemon=True)
            self._thread.start()
        self._commands.append((function, arguments))
        self._worker.poke()

    def _tell(self, item: Fed | inlet.Inlet) -> None:
        """In the thread."""
        if isinstance(item, inlet.Inlet):
            if item in self._told:
                return
            self._told.add(item)
        self._news.append(item)
        self._wake()

    def _main(self) -> None:
        try:
            self._worker.run()
        except BaseException:
            self._tell(feeder_thread.Fed(b"", "died", text=f"the feeder ended: {traceback.format_exc()}"))
            raise
