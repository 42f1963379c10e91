"""The pump's thread: its epoll, its runs, and what is done with each event. Everything here happens in that thread.

- No byte is ever only in this process: a splice moves it from the pipe to the file, so a kill loses none and doubles
  none. What cannot be written stays in the pipe, and the job waits.
- A silent run costs nothing: no timer, no wake-up. A run that nobody watches wakes the loop only when it ends or is
  blocked. The one timer (a retry each second) exists only while a run waits for the disk.
- One bounded splice a stream and turn, so that a flood does not starve the others.
- Whatever goes wrong with one run blocks that run, with a notice, and is tried again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import termios
import time
import traceback
from typing import TYPE_CHECKING

from jobd.runtime.pump_disk import BigPipes, Disk
from jobd.runtime.pump_files import Notice, Run, Stream, notice

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from jobd.runtime.pump_relay import Relay

# Bytes of one stream and turn: the largest pipe an ordinary user may have.
_TURN_BYTES = 1024 * 1024
# Waiting for the disk: one try a second is soon for people and nothing for the machine.
_RETRY_NS = 1_000_000_000
_EVENTS = 256  # a turn; what remains comes first in the next


class PumpThread:
    """The state of the thread. `poke` and `run_commands` (before start, after the end) are for the loop side."""

    def __init__(
        self,
        commands: deque[tuple[Callable[..., None], tuple[object, ...]]],
        tell: Callable[[Notice | Run], None],
        relay: Relay | None,
        open_runs: int | None,
    ) -> None:
        self._commands = commands
        self._tell = tell
        self._poke_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poked = False
        self._epoll = select.epoll()
        self._epoll.register(self._poke_fd, select.EPOLLIN)
        self._running = True
        self._runs: dict[bytes, Run] = {}
        self._streams: dict[int, Stream] = {}
        self._relay = relay
        self._disk = Disk(open_runs)
        self._big = BigPipes()
        self._left: dict[int, int] = {}  # bytes that an owner's runs may still write, where that is bounded
        self._room = True
        self._waiting: dict[Run, None] = {}  # for the disk
        self._retry_at = 0

    def poke(self) -> None:
        """Makes the thread look at its commands."""
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
            self._turn()

    def run_commands(self) -> None:
        while self._commands:
            function, arguments = self._commands.popleft()
            function(*arguments)

    def close(self) -> None:
        """After the end of the thread."""
        if self._relay is not None:
            self._relay.close()
        self._epoll.close()
        os.close(self._poke_fd)

    # --- events -----------------------------------------------------------------------------------------------------
    def _turn(self) -> None:
        timeout = max(0.0, (self._retry_at - time.monotonic_ns()) / 1e9) if self._waiting else None
        gather = 0.0
        poked = False
        for fd, mask in self._epoll.poll(timeout, _EVENTS):
            if fd == self._poke_fd:
                poked = True  # later: a command may bring in a descriptor that this turn still knows as another
            elif (stream := self._streams.get(fd)) is not None:
                pause = self._serve(stream, mask)
                if pause and (not gather or pause < gather):
                    gather = pause
        if poked:
            with contextlib.suppress(OSError):  # it is told again, then
                os.eventfd_read(self._poke_fd)
            self._poked = False  # before the queue is looked at: a later command pokes again
            self.run_commands()
        if self._waiting and time.monotonic_ns() >= self._retry_at:
            self._retry()
        if gather:
            time.sleep(gather)

    def _serve(self, stream: Stream, mask: int) -> float:
        """One turn of one stream. Returns how many seconds to wait for more of it, 0 for none."""
        run = stream.run
        try:
            relay = self._relay
            if relay is not None and relay.pending and relay.holds(stream):  # a write failed: these come first
                self._from_relay(stream, relay)
            # Hung up and empty is the end; asked again because poll looks without a lock.
            if stream.left == 0 or (not mask & select.EPOLLIN and _in_pipe(stream.fd) == 0):
                self._end(stream)
                return 0
            limit = self._limit(stream)
            if limit <= 0:
                return 0
            before = stream.last_mono
            try:
                free = relay is not None and not relay.pending
                moved = run.move(stream, limit, relay if free and stream.big else None)
            except BlockingIOError:
                if stream.left >= 0:  # somebody else took what was there
                    self._end(stream)
                return 0
            self._moved(stream, moved)
        except OSError as error:  # open the files anew, each second
            self._disk.close_files(run)
            self._park(stream, f"cannot write the log: {error.strerror}", wait=True)
            return 0
        except Exception:
            self._tell(notice(run, "error", f"cannot write the log: {traceback.format_exc()}"))
            self._park(stream, "cannot write the log: an error of the program", wait=True)
            return 0
        return stream.pause(moved, limit, stream.last_mono - before)

    def _limit(self, stream: Stream) -> int:
        """How many bytes the stream may move now; 0 after it was parked. Raises: OSError."""
        run = stream.run
        if not run.known:
            run.recover()
        limit = _TURN_BYTES if stream.left < 0 else min(stream.left, _TURN_BYTES)
        if not self._room:
            return self._park(stream, "there is no room for logs")
        if run.max_size and (run.drop or not run.closing):
            kept = run.kept
            limit = min(limit, run.room())
            self._freed(run, kept - run.kept)
            if limit <= 0:
                return self._park(stream, f"the log is full: max_size of {run.max_size} bytes is reached")
        if run.owner in self._left and not run.closing:
            limit = min(limit, self._room_of_owner(run))
            if limit <= 0:
                why = f"the logs of uid {run.owner} have as many bytes as a user's may; old ones have to be removed"
                return self._park(stream, why)
        if stream.file < 0:
            self._disk.open_files(stream)
        limit = self._disk.room(stream, limit)
        return limit if limit > 0 else self._park(stream, "the file system of the logs is full", wait=True)

    def _room_of_owner(self, run: Run) -> int:
        """What an owner's runs may still write. A run that may lose its oldest bytes makes room. Raises: OSError."""
        if self._left[run.owner] <= 0 and run.drop:
            kept = run.kept
            run.lose_oldest()
            self._freed(run, kept - run.kept)
        return self._left[run.owner]

    def _freed(self, run: Run, count: int) -> None:
        if count and run.owner in self._left:
            self._left[run.owner] += count

    def _moved(self, stream: Stream, moved: int) -> None:
        """Takes note of what was moved; 0 is the end. Raises: OSError."""
        run = stream.run
        if moved == 0:
            self._end(stream)
            return
        self._wrote(run, moved)
        if stream.left < 0:
            self._big.moved(stream, moved)
            return
        stream.left -= moved
        if stream.left <= 0:
            self._end(stream)

    def _wrote(self, run: Run, moved: int) -> None:
        self._disk.used(moved)
        if run.owner in self._left:
            self._left[run.owner] -= moved
        if run.blocked:
            run.blocked = ""
            self._tell(notice(run, "unblocked"))
        if run.watchers > 0 and not run.told:
            run.told = True
            self._tell(run)

    def _from_relay(self, stream: Stream, relay: Relay) -> None:
        """Writes what the relay holds of this stream: even beyond a cap. Raises: OSError."""
        run = stream.run
        if not run.known:
            run.recover()
        if stream.file < 0:
            self._disk.open_files(stream)
        self._wrote(run, run.move(stream, 0, relay))

    def empty_relay(self) -> None:
        """Before the start: writes what the relay held when its last owner was killed to the log that it belongs to."""
        relay = self._relay
        if relay is None or not relay.pending or not relay.directory:
            return
        run = Run(relay.run, relay.directory, -1, -1, 0)
        try:
            run.recover()
            for stream in run.streams():
                if relay.holds(stream):
                    run.move(stream, 0, relay)
        except OSError as error:  # tried again when that run is added
            self._tell(notice(run, "error", f"cannot write the log: {error.strerror}"))
        finally:
            run.close_files()

    # --- waiting ----------------------------------------------------------------------------------------------------
    def _park(self, stream: Stream, reason: str, *, wait: bool = False) -> int:
        """Stops listening to a stream; `wait`: for the disk, with a retry each second. Returns 0."""
        run = stream.run
        if not stream.parked:
            stream.parked = True
            self._epoll.unregister(stream.fd)
        if wait:
            if not self._waiting:
                self._retry_at = time.monotonic_ns() + _RETRY_NS
            self._waiting[run] = None
        if run.blocked != reason:
            run.blocked = reason
            self._tell(notice(run, "blocked", reason))
        return 0

    def _unpark(self, run: Run) -> None:
        for stream in run.streams():
            if stream.parked:
                try:
                    self._epoll.register(stream.fd, select.EPOLLIN)
                except OSError as error:  # no memory, or as many as a user may watch (fs.epoll.max_user_watches)
                    self._park(stream, f"cannot listen to the output: {error.strerror}", wait=True)
                else:
                    stream.parked = False

    def _retry(self) -> None:
        self._disk.ask_again()
        waiting, self._waiting = self._waiting, {}
        for run in waiting:
            self._unpark(run)

    # --- ends -------------------------------------------------------------------------------------------------------
    def _end(self, stream: Stream) -> None:
        """A stream is at its end, or was taken as far as asked. Raises: OSError."""
        run = stream.run
        if not run.known:
            run.recover()
        if stream.covered < stream.end:
            if run.index < 0:
                self._disk.open_files(stream)
            run.record(stream)
        self._forget(stream)
        os.close(stream.fd)
        stream.fd = -1
        if all(other.fd < 0 for other in run.streams()):
            self._remove(run)
            self._tell(notice(run, "eof"))
        elif stream.end and run.index >= 0 and not run.closing:
            with contextlib.suppress(OSError):  # only a help to readers
                run.record_end(stream)

    def _forget(self, stream: Stream) -> None:
        """Stops listening; the pipe has other holders, so closing alone would not do it."""
        if not stream.parked:
            self._epoll.unregister(stream.fd)
        stream.parked = False
        del self._streams[stream.fd]
        self._big.forget(stream)

    def _remove(self, run: Run) -> None:
        self._disk.close_files(run)
        self._waiting.pop(run, None)
        del self._runs[run.id]

    # --- commands ---------------------------------------------------------------------------------------------------
    def add(self, run: Run) -> None:
        if run.id in self._runs:
            for stream in run.streams():
                os.close(stream.fd)
            self._tell(notice(run, "error", f"cannot add run {run.id.hex()}: the pump has it"))
            return
        self._runs[run.id] = run
        for stream in run.streams():
            self._streams[stream.fd] = stream
            stream.parked = True
        with contextlib.suppress(OSError):  # tried again with the first bytes, and told then
            if not run.known:
                run.recover()
        self._unpark(run)
        for stream in run.streams():
            if self._relay is not None and self._relay.holds(stream):
                self._serve(stream, select.EPOLLIN)

    def close_run(self, name: bytes) -> None:
        run = self._runs.get(name)
        if run is None:
            return
        run.closing = True
        self._close_streams(run.streams())

    def close_out(self, name: bytes) -> None:
        run = self._runs.get(name)
        if run is not None:
            self._close_streams((run.out,))

    def _close_streams(self, streams: tuple[Stream, ...]) -> None:
        for stream in streams:
            if stream.fd >= 0:
                stream.left = _in_pipe(stream.fd)
        self._unpark(streams[0].run)
        for stream in streams:
            while stream.fd >= 0 and not stream.parked:
                self._serve(stream, select.EPOLLIN)

    def watch(self, name: bytes, by: int) -> None:
        run = self._runs.get(name)
        if run is None:
            return
        run.watchers += by
        if by > 0 and not run.told:
            run.told = True
            self._tell(run)

    def set_cap(self, name: bytes, max_size: int | None, on_full: str) -> None:
        run = self._runs.get(name)
        if run is not None:
            run.set_cap(max_size, on_full == "drop")
            self._unpark(run)

    def set_owner_room(self, owner: int, room: int | None) -> None:
        runs = [run for run in self._runs.values() if run.owner == owner]
        if room is None:
            self._left.pop(owner, None)
        else:
            self._left[owner] = room - sum(run.kept for run in runs)
        for run in runs:
            self._unpark(run)

    def set_room(self, room: bool) -> None:
        self._room = room
        if room:
            for run in self._runs.values():
                self._unpark(run)

    def release(self, names: list[bytes] | None, found: dict[bytes, tuple[int | None, int | None]]) -> None:
        for name in list(self._runs) if names is None else names:
            run = self._runs.get(name)
            if run is None:
                continue
            fds = []
            for stream in run.streams():
                if self._relay is not None and self._relay.holds(stream):
                    with contextlib.suppress(OSError):  # it stays in the relay, and the note says whose it is
                        self._from_relay(stream, self._relay)
                fds.append(stream.fd if stream.fd >= 0 else None)
                if stream.fd >= 0:
                    self._forget(stream)
            found[name] = fds[0], fds[1] if len(fds) > 1 else None
            self._remove(run)

    def stop(self) -> None:
        self._running = False
        for run in list(self._runs.values()):
            for stream in run.streams():
                if stream.fd >= 0:
                    self._forget(stream)
                    os.close(stream.fd)
            self._remove(run)


def _in_pipe(fd: int) -> int:
    """How many bytes a pipe holds."""
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, b"\0\0\0\0"), "little")
