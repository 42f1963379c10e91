"""The ways in and out of runs: which pump, feeder and keeper hold what of whose, and what their news mean.

The pump has the pipes of a run's output, the feeder its stdin and its terminal; what either closes for good the keeper
closes as well. Owned by the registry, whose live runs it is told.
"""

from __future__ import annotations

import logging
import os
import signal
from typing import TYPE_CHECKING

from jobd.runtime.run import BREAK_PIPE
from jobd.store.logs import RunLog, run_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from jobd.runtime.feeder import Feeder
    from jobd.runtime.keeperlink import KeeperLink
    from jobd.runtime.pump import Notice, Pump
    from jobd.runtime.run import Run

log = logging.getLogger("jobd.runtime")


class Streams:
    """The streams of all live runs. One a daemon."""

    def __init__(
        self, state_dir: Path, pump: Pump, feeder: Feeder, keeper: KeeperLink, runs: Mapping[bytes, Run]
    ) -> None:
        self.pump = pump
        self.feeder = feeder
        self.on_blocked: Callable[[Run], None] = lambda _: None
        self.on_thread_death: Callable[[], None] = lambda: None
        self._state_dir = state_dir
        self._keeper = keeper
        self._runs = runs

    def directory(self, run: Run) -> Path:
        """Where a run's logs are, and what it is fed."""
        return run_dir(self._state_dir, run.row.owner, run.id)

    async def feeding_file(self, run: Run) -> int:
        """The file that is to feed a new run. Raises OSError. Cancelling leaves one for the next attempt."""
        return await self.feeder.create(str(self.directory(run)))

    def capture(self, run: Run) -> None:
        """Hand the run's pipes to the pump, and its stdin and terminal to the feeder."""
        if run.feed is not None:
            held, run.held = run.held, {}
            try:
                told = self.feeder.add(run.id, str(self.directory(run)), held)
            except OSError as error:
                told, run.feed.blocked = None, f"cannot take its input: {error.strerror}"
            run.feed.closed = told is None
            if told is not None:
                run.feed.note(told)
        if run.out is None and run.err is None:
            self.sizes_from_files(run)
            return
        out, err = run.out, run.err
        if err is None and not run.spec.one_stream:
            err = _ended_pipe()
        self.pump.add(
            run.id,
            self.directory(run),
            _ended_pipe() if out is None else out,
            err,
            owner=run.row.owner,
            max_size=run.spec.log_max_size,
            on_full=run.spec.on_full,
        )
        run.out = run.err = None

    def sizes_from_files(self, run: Run) -> None:
        """A run whose pipes are gone (its keeper and daemon died): what was captured is all there is."""
        run.out_bytes, run.err_bytes = RunLog(self.directory(run)).sizes()
        run.eof = True

    def stop(self, run: Run) -> None:
        """Exec failed: nothing can come through the pipes."""
        if run.went:
            self.pump.close(run.id)

    def on_notices(self) -> None:
        """Give the pump's notices to the runs they are for."""
        for notice in self.pump.take():
            if not notice.run:
                log.critical("%s", notice.text)
                self.on_thread_death()
            run = self._runs.get(notice.run)
            if run is not None:
                _note(run, notice)
                if notice.kind == "blocked":
                    self.on_blocked(run)

    def on_fed(self) -> None:
        """Give the feeder's news to the runs they are of. What it has closed, the keeper closes too."""
        for told in self.feeder.take():
            if told.kind == "died":
                log.critical("%s", told.text)
                self.on_thread_death()
            run = self._runs.get(told.run)
            if run is None or run.feed is None:
                continue
            run.feed.note(told)
            if told.kind == "hung-up" or told.closed:
                self._keeper.send("close", run=run.id, what="pty" if told.kind == "hung-up" else "stdin")

    def close_output(self, run: Run) -> None:
        """Nobody wants a run's stdout any more: who writes there gets EPIPE, and all of the run SIGPIPE."""
        if not run.spec.one_stream:
            self.pump.close_out(run.id)
            self._keeper.send("close", run=run.id, what="stdout")
        self._keeper.send("signal", run=run.id, o=BREAK_PIPE, sig=signal.SIGPIPE, whom="all")

    def let_end(self, run: Run) -> None:
        """Nobody will write to a run's output any more: what was held open for its stop command is closed."""
        if run.err_in is not None:
            os.close(run.err_in)
            run.err_in = None
            self._keeper.send("close", run=run.id, what="output")

    def forget(self, run: Run) -> None:
        """A run is over: nothing of it is held any more."""
        run.close_fds()
        if run.feed is not None:
            self.feeder.drop(run.id, str(self.directory(run)))


def _ended_pipe() -> int:
    """What stands for a stream that was at its end before a handover, and is not passed on: a pipe at its end."""
    reader, writer = os.pipe()
    os.close(writer)
    return reader


def _note(run: Run, notice: Notice) -> None:
    match notice.kind:
        case "eof":
            run.eof = True
            run.out_bytes, run.err_bytes = notice.out_bytes, notice.err_bytes
            run.wake.set()
        case "blocked" | "error":
            run.log_error = notice.text
        case "unblocked":
            run.log_error = ""
    run.output_changed.set()
