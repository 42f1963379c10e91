"""The one thread that writes: it takes everything that is queued into one transaction (group commit).

Rules:
- Batches commit in the order in which they were handed in, each whole or not at all.
- A batch is reported once, when it is durable or has failed. Only `may_fail` batches fail for the disk's sake; the
  others are kept and tried again every second. That timer runs only while there is trouble.
- After an I/O error nobody knows what the disk has. All connections are closed (connections.py says why), the log is
  folded into the database (every page is written and synced again), and what is there decides what is still to be.
- A batch that can never be written (a bug of ours) fails alone.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final, TypeVar

from . import schema, wal
from .batch import Batch, StoreError, StoreFenced, StoreFull
from .change import write
from .damage import is_sound
from .errands import Call, Close, Damage
from .trouble import ERRORS, is_full, is_uncertain, kind, primary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .ballast import Ballast
    from .connections import Connections

T = TypeVar("T")

log: Final = logging.getLogger("jobd.store")

RETRY_SEC: Final = 1.0  # DESIGN.md's companion on durability: every 1 to 5 s
MAX_GROUP_ROWS: Final = 4096  # measured, 40 to 120 ms of work: what a caller who comes just too late has to wait
# Times that the log cannot be folded in for a reader of another process, or of ours that does not end; each BUSY_SEC.
LOCKED_TRIES: Final = 2
# A file that is called damaged so often within that time is, whatever a look at it finds. Not at the second time: each
# thread of ours may meet a disk that fails for a moment, and SQLite says the same of that.
BELIEVE_SEC: Final = 60.0
MOST_LOOKS: Final = 5
CLOSE_SEC: Final = 5.0  # how long closing waits for a disk in trouble
NEARLY_FULL: Final = "nearly full: the room kept for emergencies is used up"


class Writer:
    """Owns the writing connection. Its public attributes are written by its thread only, and read by any."""

    def __init__(
        self,
        path: Path,
        conn: sqlite3.Connection,
        epoch: int,
        ballast: Ballast,
        begin_anew: Callable[[str], None],
        is_moving: Callable[[], bool],
        wake: Callable[[], None],
        on_error: Callable[[], None],
        connections: Connections,
    ) -> None:
        self.trouble = ""
        self.generation = 0
        self.completed: deque[Batch] = deque()
        self._path = path
        self._epoch = epoch
        self._ballast = ballast
        self._begin_anew = begin_anew  # raises when it fails
        self._is_moving = is_moving  # it has failed half-way: nothing is to be opened before it went well
        self._wake = wake
        self._connections = connections
        self._on_error = on_error  # an I/O error: the file should be checked
        self._queue: queue.SimpleQueue[Batch | Call[object] | Damage | Close] = queue.SimpleQueue()
        self._pending: list[Batch] = []
        self._calls: deque[Call[object]] = deque()
        self._conn: sqlite3.Connection | None = conn
        self._retry_at = 0.0
        self._committing: list[Batch] = []  # what a commit that has not returned holds, the first of those pending
        self._looks: list[float] = []  # when a look at what was called damaged found it sound
        self._doubtful: tuple[int, int] | None = None  # (batches, last event) of a commit that ended in an I/O error
        self._locked = 0  # tries in a row that a reader was in the way of, since an I/O error
        self._distrusted = False  # all connections are to be closed before one is opened
        self._io_failed = False  # since the last recovery: what locks us may be ours; else it is somebody's session
        self.on_locked: Callable[[], None] = lambda: None  # called when one stays there
        self._refusal: Exception | None = None  # set: nothing is written any more
        self._close_by: float | None = None
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)

    # --- from other threads -------------------------------------------------------------------------------------
    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, batch: Batch) -> None:
        """Queue a batch; never blocks."""
        self._queue.put(batch)

    def call(self, work: Callable[[sqlite3.Connection], T], timeout_sec: float = 60.0) -> T:
        """Run `work` in a transaction in the writer's thread, and wait for it. Raises what it raised, or StoreError."""
        call: Call[T] = Call(work)
        self._queue.put(call)  # type: ignore[arg-type]  # the writer does not look at the result
        if not call.done.wait(timeout_sec):
            raise StoreError("cannot write: the disk does not answer")
        if call.error is not None:
            raise call.error
        return call.result  # type: ignore[return-value]  # T may be None

    def report_damage(self, text: str, generation: int, timeout_sec: float = 10.0) -> bool:
        """Have the damaged file of this generation set aside, and wait. Returns whether there is a new one."""
        damage = Damage(text, generation)
        self._queue.put(damage)
        return damage.done.wait(timeout_sec) and self.generation > generation

    def close(self) -> None:
        """Write what is queued, then end the thread. What a disk in trouble does not take in time fails."""
        self._queue.put(Close())
        self._thread.join()

    # --- the thread ---------------------------------------------------------------------------------------------
    def _run(self) -> None:
        if not self._ballast.restore():
            self._set_trouble(NEARLY_FULL)
        wal.grow(self._path)
        while not self._is_closed():
            try:
                self._gather()
                self._flush()
                self._serve()
            except Exception as error:  # the thread's crash boundary: without it every caller would wait for ever
                log.exception("the writer has failed")
                self._refusal = StoreError(f"cannot write {self._path}: {error!r}")
                self._refuse_pending(lambda _: True, self._refusal)
        last_word = StoreError(self._cannot(self.trouble or "closed"))
        self._refuse_pending(lambda _: True, last_word)
        for call in self._calls:
            call.error = last_word
            call.done.set()
        self._drop_connection()

    def _is_closed(self) -> bool:
        if self._close_by is None:
            return False
        return not self._pending or time.monotonic() >= self._close_by

    def _gather(self) -> None:
        """Wait for something to do, then take all there is, up to a bound."""
        timeout = max(0.0, self._retry_at - time.monotonic()) if self.trouble else None
        rows = 0
        try:
            item = self._queue.get(timeout=timeout)
            while True:
                rows += self._take(item)
                if rows >= MAX_GROUP_ROWS:
                    return
                item = self._queue.get_nowait()
        except queue.Empty:
            return

    def _take(self, item: Batch | Call[object] | Damage | Close) -> int:
        match item:
            case Batch():
                if self._refusal is not None:
                    self._report([item], self._refusal)
                elif self.trouble and item.may_fail:
                    self._report([item], StoreFull(self._cannot(self.trouble)))
                else:
                    self._pending.append(item)
                    return item.rows()
            case Call():
                self._calls.append(item)
            case Damage():
                try:
                    if item.generation == self.generation:
                        self._replace(item.text)
                finally:
                    item.done.set()
            case Close():
                self._close_by = time.monotonic() + CLOSE_SEC
        return 1

    def _flush(self) -> None:
        if self.trouble and (time.monotonic() < self._retry_at or not self._recover()):
            return
        tries, why = 3, ""  # as it is; with the ballast released, or on a new connection; in a new database
        while self._pending and tries:
            tries -= 1
            try:
                self._write(self._pending)
            except Exception as error:
                why = str(error)
                if not self._overcome(error):
                    break
            else:
                self._report(self._pending, None)
                self._pending = []
        if self._pending and not self.trouble:  # each error was overcome, but there were many: the timer is for them
            self._set_trouble(why)
        if self.trouble:
            self._settle()

    def _write(self, batches: list[Batch]) -> None:
        self._transaction(lambda conn: write(conn, batches), batches)

    def _transaction(self, work: Callable[[sqlite3.Connection], T], batches: Sequence[Batch] = ()) -> T:
        conn = self._conn
        if conn is None:
            raise StoreError(self._cannot(self.trouble))
        conn.execute("BEGIN IMMEDIATE")
        try:
            found = schema.get_number(conn, "epoch")
            if found > self._epoch:
                raise StoreFenced(f"cannot write {self._path}: another daemon has taken it over")
            if found < self._epoch:  # there was no room for it when the database was opened
                schema.set_meta(conn, "epoch", str(self._epoch))
            result = work(conn)
            self._committing = list(batches)
            conn.execute("COMMIT")
            self._committing = []
        except BaseException:
            if conn.in_transaction:  # some errors have rolled back by themselves
                conn.execute("ROLLBACK")
            raise
        return result

    # --- trouble ------------------------------------------------------------------------------------------------
    def _overcome(self, error: Exception) -> bool:
        """Deal with an error of a commit. Returns whether to try again at once."""
        if isinstance(error, StoreFenced):
            self._refusal = error
            self._refuse_pending(lambda _: True, error)
            return False
        match kind(error):
            case "damage":
                return self._replace(str(error))
            case "change":
                self._write_one_by_one()
                return False
            case "disk":
                self._fall_into_trouble(error)
                return self._ballast.release() if is_full(error) else self._recover()

    def _write_one_by_one(self) -> None:
        """One of the batches cannot be written: find it, and let the others pass."""
        while self._pending:
            batch = self._pending[0]
            try:
                self._write([batch])
            except Exception as error:
                if kind(error) != "change":
                    self._overcome(error)
                    return
                self._report([batch], StoreError(f"cannot record a change: {error!r}"))
            else:
                self._report([batch], None)
            del self._pending[0]

    def _fall_into_trouble(self, error: Exception) -> None:
        self._retry_at = time.monotonic() + RETRY_SEC
        self._distrusted |= not is_full(error)
        if is_uncertain(error):
            self._io_failed = True
            self._on_error()
            self._note_doubt()
        self._committing = []
        self._set_trouble(str(error))
        if is_full(error):  # nothing was committed: SQLite says so only when a write found no room
            self._refuse_pending(lambda b: b.may_fail, StoreFull(self._cannot(self.trouble)))
        else:
            self._drop_connection()

    def _note_doubt(self) -> None:
        """The error came of a commit: what it was to write may be in the database all the same."""
        if self._committing:
            last = max((e.seq for b in self._committing if not b.void for e in b.events), default=0)
            self._doubtful = (len(self._committing), last)
        self._committing = []

    def _recover(self) -> bool:
        """The retry timer has run out: get a connection that can be trusted."""
        self._retry_at = time.monotonic() + RETRY_SEC
        if self._conn is not None:
            return True
        if self._distrusted:
            self._distrusted = not self._connections.close_all()
        if self._is_moving():
            return self._replace("a damaged database is not yet set aside")
        try:
            self._conn = schema.open_database(self._path)
            schema.fold_log(self._conn)
            self._compare(self._conn)
        except (*ERRORS, OSError, StoreError) as error:
            if kind(error) == "damage":
                return self._replace(str(error))
            self._drop_connection()
            self._distrusted |= is_uncertain(error)
            self._set_trouble(str(error))
            self._locked = self._locked + 1 if self._io_failed and primary(error) == sqlite3.SQLITE_BUSY else 0
            if self._locked >= LOCKED_TRIES:
                self.on_locked()
            return False
        self._locked, self._io_failed = 0, False
        return True

    def _compare(self, conn: sqlite3.Connection) -> None:
        """After an I/O error: if that commit is in the database all the same, it is done."""
        if self._doubtful is None:
            return
        count, last = self._doubtful
        if last and conn.execute("SELECT 1 FROM events WHERE seq = ?", (last,)).fetchone():
            self._report(self._pending[:count], None)
            del self._pending[:count]
        self._doubtful = None  # not before: the question may fail, too

    def _settle(self) -> None:
        """After a try: trouble is over once writing works again and the ballast is back."""
        if self._conn is not None and not self._pending:
            if self._ballast.restore():
                self._set_trouble("")
                return
            self._set_trouble(NEARLY_FULL)
        self._retry_at = time.monotonic() + RETRY_SEC
        if self._doubtful is None:  # else they may be in the database, and nobody may be told that they are not
            self._refuse_pending(lambda b: b.may_fail, StoreFull(self._cannot(self.trouble)))

    def _replace(self, text: str) -> bool:
        """Set the damaged database aside and begin a new one; or open it anew, if a second look finds it sound."""
        self._note_doubt()
        self._drop_connection()
        self._looks = [at for at in self._looks if time.monotonic() < at + BELIEVE_SEC]
        try:
            if not self._is_moving() and len(self._looks) < MOST_LOOKS and is_sound(self._path, text):
                self._looks.append(time.monotonic())  # not before: a look may fail, too
            else:
                self._doubtful = None
                self._begin_anew(text)
            self.generation += 1  # even if it cannot be opened now: what others have opened is another file
            self._wake()
            self._conn = schema.open_database(self._path)
            self._compare(self._conn)
        except (*ERRORS, OSError, StoreError) as error:
            self._retry_at = time.monotonic() + RETRY_SEC
            self._drop_connection()
            self._set_trouble(f"{text}; {error}")
            if is_full(error):
                self._ballast.release()
            return False
        return True

    # --- calls --------------------------------------------------------------------------------------------------
    def _serve(self) -> None:
        while self._calls:
            call = self._calls.popleft()
            try:
                call.result = self._call_result(call)
            except Exception as error:
                call.error = error
            call.done.set()

    def _call_result(self, call: Call[object]) -> object:
        if self._refusal is not None:
            raise self._refusal
        try:
            return self._transaction(call.work)
        except ERRORS as error:
            if kind(error) == "change" or not self._overcome(error):
                raise
        return self._transaction(call.work)

    # --- reports ------------------------------------------------------------------------------------------------
    def _report(self, batches: list[Batch], error: Exception | None) -> None:
        for batch in batches:
            batch.error = error
        self.completed.extend(batches)
        if batches:
            self._wake()

    def _refuse_pending(self, which: Callable[[Batch], bool], error: Exception) -> None:
        refused = [b for b in self._pending if which(b)]
        self._pending = [b for b in self._pending if not which(b)]
        self._report(refused, error)

    def _set_trouble(self, text: str) -> None:
        if self.trouble != text:
            self.trouble = text
            self._wake()

    def _cannot(self, why: str) -> str:
        return f"cannot write {self._path}: {why}"

    def _drop_connection(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None
