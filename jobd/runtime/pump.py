"""The pump: one thread that moves the bytes of all runs' pipes into their log files, by splice. This is its loop side.

The pump owns the pipes' read ends given to it. The loop gives commands through a queue and takes notices from another;
what the thread does is in pump_thread.py. Rules:

- No method waits for the disk, except `start`, `stop` and the two `release`.
- Commands are done in the order in which they were given.
- Notices of one run come in order; "eof" is the last, once for each run (none for a released one).
"""

from __future__ import annotations

import threading
import traceback
from collections import deque
from typing import TYPE_CHECKING

from jobd.runtime.pump_files import Notice, Run, notice
from jobd.runtime.pump_thread import PumpThread

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jobd.runtime.pump_relay import Relay

__all__ = ["Notice", "Pump"]

Pipes = tuple[int | None, int | None]


class Pump:
    """The thread and the two queues."""

    def __init__(self, wake: Callable[[], None], *, relay: Relay | None = None, open_runs: int | None = None) -> None:
        """
        Args:
            wake: called in the pump's thread when notices wait for `take`; once for all that gather meanwhile.
            relay: a way for busy streams (see pump_relay.py); owned from here on.
            open_runs: how many runs' files are open at once; by default as the process's limit allows.
        """
        self._wake = wake
        self._notices: deque[Notice | Run] = deque()
        self._awake = False
        self._commands: deque[tuple[Callable[..., None], tuple[object, ...]]] = deque()
        self._worker = PumpThread(self._commands, self._tell, relay, open_runs)
        self._thread: threading.Thread | None = None

    # --- the loop's side --------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Starts the thread, after what a killed pump left in the relay is in its file."""
        self._worker.empty_relay()
        self._thread = threading.Thread(target=self._main, name="pump", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread and closes every pipe and file. What the pipes hold stays for who else has them open."""
        self._call(self._worker.stop)
        if self._thread is not None:
            self._thread.join()
        self._worker.close()

    def add(
        self,
        run: bytes,
        directory: Path,
        out: int,
        err: int | None,
        *,
        owner: int = 0,
        max_size: int | None = None,
        on_full: str = "block",
        fresh: bool = False,
    ) -> None:
        """Takes over the read ends of a run's pipes. An existing log is recovered and continued.

        Args:
            max_size: bytes of both streams together that are kept; None: no cap.
            on_full: "block" (stop reading, the job waits) or "drop" (the oldest bytes go).
            fresh: the run never had a pump: there is no log to look for.
        """
        made = Run(run, str(directory), out, err, owner)
        made.set_cap(max_size, on_full == "drop")
        made.known = fresh
        self._command(self._worker.add, made)

    def close(self, run: bytes) -> None:
        """Takes what is in the pipes at this instant, then closes them: "eof" follows.

        These last bytes (at most a pipe each) are taken beyond a cap; on a full disk they wait for room first.
        """
        self._command(self._worker.close_run, run)

    def close_out(self, run: bytes) -> None:
        """As `close`, for stdout alone, because nobody wants it: who writes there has no reader from now on."""
        self._command(self._worker.close_out, run)

    def watch(self, run: bytes) -> None:
        """Counted. From now on "bytes" is noticed; once at once, so that nothing is missed between a look and this."""
        self._command(self._worker.watch, run, 1)

    def unwatch(self, run: bytes) -> None:
        """Takes one `watch` back."""
        self._command(self._worker.watch, run, -1)

    def set_cap(self, run: bytes, max_size: int | None, on_full: str = "block") -> None:
        """Changes the cap of a run, which goes on if there is room now."""
        self._command(self._worker.set_cap, run, max_size, on_full)

    def set_owner_room(self, owner: int, room: int | None) -> None:
        """Bounds the logs of all runs of an owner that the pump has, together; None: no bound.

        Beyond it nothing more of his is read, but for runs that lose their oldest bytes instead (`on_full`).
        """
        self._command(self._worker.set_owner_room, owner, room)

    def set_room(self, room: bool) -> None:
        """Stops, or lets go on, the reading of all runs."""
        self._command(self._worker.set_room, room)

    def release(self, run: bytes) -> Pipes | None:
        """Gives the pipes of a run back, unread from here on; None for one at its end. Waits for the pump's turn.

        Returns:
            None if the pump does not have the run (any more).
        """
        return self._released([run]).get(run)

    def release_all(self) -> dict[bytes, Pipes]:
        """As `release`, for all runs."""
        return self._released(None)

    def take(self) -> list[Notice]:
        """The notices since the last call; "bytes" at most once a run."""
        self._awake = False  # first: who adds from now on wakes us again
        taken: list[Notice] = []
        while self._notices:
            item = self._notices.popleft()
            if isinstance(item, Run):
                item.told = False  # before its totals are read: what comes later is told anew
                item = notice(item, "bytes")
            taken.append(item)
        return taken

    # --- the queues -------------------------------------------------------------------------------------------------
    def _command(self, function: Callable[..., None], *arguments: object) -> None:
        self._commands.append((function, arguments))
        self._worker.poke()

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        """As _command, and waits until it was done; without a thread it is done here."""
        if self._thread is None or not self._thread.is_alive():
            self._worker.run_commands()
            function(*arguments)
            return
        done = threading.Event()

        def do() -> None:
            try:
                function(*arguments)
            finally:
                done.set()

        self._command(do)
        while not done.wait(1) and self._thread.is_alive():  # the thread may have ended before it came to it
            pass

    def _released(self, names: list[bytes] | None) -> dict[bytes, Pipes]:
        found: dict[bytes, Pipes] = {}
        self._call(self._worker.release, names, found)
        return found

    def _tell(self, item: Notice | Run) -> None:
        """In the pump's thread. A Run stands for "bytes": its totals are read when the notice is taken."""
        self._notices.append(item)
        if not self._awake:
            self._awake = True
            self._wake()

    def _main(self) -> None:
        try:
            self._worker.run()
        except BaseException:
            self._tell(Notice(b"", "error", 0, 0, f"the pump ended: {traceback.format_exc()}"))
            raise
