"""Slow work on the database in a thread of its own, which is there only while there is some: checks and retention.

It asks through its own connection, and changes through the writer, like everybody else.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from . import schema
from .batch import StoreError
from .damage import Check
from .reader import Reader
from .retention import Policy, Purge, Retention
from .trouble import ERRORS, UNREADABLE, kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .connections import Connections
    from .writer import Writer

log: Final = logging.getLogger("jobd.store")

RETRY_SEC: Final = 1.0  # as the writer's own
PAUSE_SEC: Final = 0.01  # between two steps: retention never takes more than half of the writer's time


class Background:
    """Does what it is asked for, in order."""

    def __init__(
        self, path: Path, boot_id: str, writer: Writer, wake: Callable[[], None], connections: Connections
    ) -> None:
        self._path = path
        self._connections = connections
        self._boot_id = boot_id
        self._writer = writer
        self._wake = wake
        self._lock = threading.Lock()
        self._wanted: dict[str, Callable[[], None]] = {}
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._check: Check | None = None
        self._said = ""  # the last trouble that was told

    def check(self) -> None:
        """Look through the whole file; a damaged one is set aside."""
        self._want("check", self._run_check)

    def retain(self, policy: Policy, now: int) -> None:
        """Do one pass of retention. A pass that is wanted already is not wanted twice."""
        self._want("retain", lambda: self._run_steps(Retention, policy, now))

    def purge(self, now: int) -> None:
        """Take away what is left of jobs that were removed for good. `wake` is called when that is done."""
        self._want("purge", lambda: self._run_steps(Purge, Policy(), now))

    def busy(self) -> bool:
        """Whether it has something to do."""
        with self._lock:
            return self._thread is not None

    def stop(self) -> None:
        """End soon, whatever it does; what is whole stays, the rest will be done another time."""
        self._stopping.set()
        with self._lock:
            thread, check = self._thread, self._check
            self._wanted.clear()
        if check is not None:
            check.stop()
        if thread is not None:
            thread.join()

    def _want(self, what: str, work: Callable[[], None]) -> None:
        with self._lock:
            if self._stopping.is_set():
                return
            self._wanted[what] = work
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="store-background", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._wanted:
                    self._thread = None
                    return
                what = next(iter(self._wanted))
                work = self._wanted.pop(what)
            try:
                work()
            except (StoreError, *ERRORS, *UNREADABLE, ValueError, OSError) as error:  # a number that is none, too
                self._put_off(what, work, str(error))

    def _put_off(self, what: str, work: Callable[[], None], why: str) -> None:
        """The disk is in trouble, or was for an instant: begin it anew a little later. Somebody may wait for it."""
        if why != self._said and not self._stopping.is_set():
            self._said = why
            log.warning("cannot go on with work on %s: %s", self._path, why)
        self._stopping.wait(RETRY_SEC)
        with self._lock:
            if not self._stopping.is_set():
                self._wanted.setdefault(what, work)

    def _run_check(self) -> None:
        generation = self._writer.generation
        check = Check(self._path, self._connections)
        with self._lock:
            self._check = check
        if self._stopping.is_set():
            check.stop()
        try:
            found = check.run()
        except ERRORS as error:
            if self._stopping.is_set():
                return
            if kind(error) != "damage":  # the disk or the memory, or interrupted: that says nothing of the file
                raise
            found = str(error)
        finally:
            with self._lock:
                self._check = None
        if found:
            self._writer.report_damage(found, generation)
        else:
            self._writer.call(lambda conn: schema.set_meta(conn, "boot_id", self._boot_id))

    def _run_steps(self, what: type[Retention], policy: Policy, now: int) -> None:
        reader = Reader(self._path, lambda: self._writer.generation, self._writer.report_damage, self._connections)
        pass_ = what(reader.fetch, self._writer.call, self._path.parent, policy, now)
        try:
            while not self._stopping.is_set() and pass_.step():
                pass_.removed.clear()  # nobody asks, and it may be a million
                time.sleep(PAUSE_SEC)
        finally:
            reader.close_reader()
            self._wake()  # somebody may wait for what is gone
