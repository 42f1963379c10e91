"""The store: everything that survives is written and asked for here.

One object per daemon. Writing goes through `submit` and comes back through `completions`; questions are answered at
once (Reader). All of it belongs to the loop's thread, but for `submit`, which may be called from anywhere.

    store = Store.open(state_dir)
    store.start(wake)                      # wake() is called from the writer's thread
    store.submit(Batch(...))
    for batch in store.completions(): ...  # after a wake
    store.close()
"""

from __future__ import annotations

import itertools
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from . import removed, schema, seal, wal
from .background import Background
from .ballast import Ballast
from .batch import Batch, Removal, StoreError, StoreFenced, StoreFull, StoreTooNew
from .connections import Connections
from .damage import begin_move, finish_move, fresh_path, keep_copy
from .reader import Counts, Reader
from .removal import PURGES, highest_purged
from .retention import Policy
from .rows import QUEUE_COLUMNS, queue_row
from .salvage import Salvaged, salvage
from .trouble import ERRORS, kind
from .writer import Writer

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from jobd.core.records import QueueRow

__all__ = [
    "Batch", "Counts", "Policy", "Removal", "Store", "StoreError", "StoreFenced", "StoreFull", "StoreTooNew",
    "read_boot_id",
]  # fmt: skip

log: Final = logging.getLogger("jobd.store")

FILE: Final = "state.db"
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def read_boot_id() -> str:
    """The kernel's id of this boot."""
    return BOOT_ID.read_text("ascii").strip()


class Store(Reader):
    """state.db of one state directory.

    `notices`: what a person should know (a damaged database was set aside); with any, the daemon is *degraded*.
    `boot_id`, `last_boot_id`: this boot's, and that of whoever wrote last ("" in a new database).
    `generation`: grows when a damaged database was replaced while open; the owner of live rows submits them once more.
    """

    def __init__(self, state_dir: Path, path: Path, boot_id: str) -> None:
        super().__init__(path, lambda: self.generation, self._damaged, Connections())
        self.state_dir = state_dir
        self.boot_id = boot_id
        self.last_boot_id = ""
        self.notices: list[str] = []
        self.on_locked: Callable[[], None] = lambda: None  # called by the writer's thread, see there; set before start
        self._ballast = Ballast(state_dir)
        self._epoch = 0
        self._conn: sqlite3.Connection | None = None  # the writer's, until it starts
        self._writer: Writer | None = None
        self._background: Background | None = None
        self._witness: wal.Witness | None = None
        self._moving = ""  # what to tell when the damaged database, which is being set aside, has moved
        self._doubtful = False  # what is in the database is not what was written: the whole file is to be checked
        self._event_seqs = itertools.count(2, 2)
        self._run_seqs = itertools.count(1)

    # --- life ---------------------------------------------------------------------------------------------------
    @classmethod
    def open(cls, state_dir: Path, *, boot_id: str | None = None) -> Store:
        """Open the database in `state_dir` (which is there), or make it; a damaged one is set aside.

        From here on an earlier Store on the same file can write no more (StoreFenced).
        Raises StoreTooNew, or StoreError when the disk does not let us.
        """
        path = state_dir / FILE
        store = cls(state_dir, path, read_boot_id() if boot_id is None else boot_id)
        try:
            finish_move(path)
            noted = seal.look(path)
            store._witness = wal.Witness(path)
            try:
                conn = schema.open_database(path)
                store._compare(conn, noted)
                seal.remove(path)  # not before: a newer jobd's database is left as it is
                conn = store._take(conn)
            except ERRORS as error:
                if kind(error) != "damage":
                    raise
                seal.remove(path)
                store._begin_anew(str(error))
                conn = schema.open_database(path)
        except (*ERRORS, OSError, StoreError) as error:
            store._close_witness()
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"cannot open {path}: {error}") from error
        store._conn = conn  # not closed in between: the last one to close folds the log in, with several syncs
        return store

    def start(self, wake: Callable[[], None]) -> None:
        """Start writing. `wake` is called from the writer's thread when completions wait, or trouble comes or goes."""
        assert self._writer is None
        assert self._conn is not None
        self._writer = Writer(
            self._path, self._conn, self._epoch, self._ballast, self._begin_anew, lambda: bool(self._moving), wake,
            self._want_check, self._connections,
        )  # fmt: skip
        self._conn = None
        self._writer.on_locked = self.on_locked
        self._background = Background(self._path, self.boot_id, self._writer, wake, self._connections)
        self._writer.start()
        if self._doubtful or self.last_boot_id != self.boot_id:
            self._background.check()

    def close(self) -> None:
        """Write what is queued (a disk in trouble gets 5 s), and end. `completions` may be asked once more."""
        self.close_reader()
        if self._background is not None:
            self._background.stop()
        if self._writer is not None:
            self._writer.close()
        if self._conn is not None:
            self._conn.close()
        self._close_witness()
        if self._epoch:
            seal.apply(self._path, self._epoch)

    def queues(self) -> list[QueueRow]:
        """All queues that somebody has set."""
        return [queue_row(v) for v in self.fetch(f"SELECT {QUEUE_COLUMNS} FROM queues ORDER BY owner, name")]

    def another_reader(self) -> Reader:
        """For a thread that asks much: it is slow alone, and closes it when it is done."""
        return Reader(self._path, lambda: self.generation, self._damaged, self._connections)

    # --- writing ------------------------------------------------------------------------------------------------
    def next_event_seq(self) -> int:
        """The next event's number. Even: the odd one behind a job's last event is retention's summary of that job."""
        return next(self._event_seqs)

    def next_run_seq(self) -> int:
        """The next run's number."""
        return next(self._run_seqs)

    def submit(self, batch: Batch) -> None:
        """Hand in a change; never blocks. Batches commit in the order of submission."""
        assert self._writer is not None
        self._writer.submit(batch)

    def completions(self) -> list[Batch]:
        """Batches that are durable, or have failed (`error`), in order; each once."""
        assert self._writer is not None
        done = self._writer.completed
        return [done.popleft() for _ in range(len(done))]

    @property
    def trouble(self) -> str:
        """Why the disk takes no writes now; "" when it does."""
        return "" if self._writer is None else self._writer.trouble

    @property
    def generation(self) -> int:
        """How many times the database was replaced since it was opened."""
        return 0 if self._writer is None else self._writer.generation

    # --- keeping it small -----------------------------------------------------------------------------------------
    def retain(self, policy: Policy | None = None, now: int | None = None) -> None:
        """Begin a pass of retention in the background, if none is under way or wanted. Returns at once.

        `now`: the wall clock in ns, for tests.
        """
        assert self._background is not None
        self._background.retain(policy or Policy(), time.time_ns() if now is None else now)

    def purge(self, now: int | None = None) -> None:
        """Go on with taking away what is left of jobs that were removed for good, in the background. Returns at once.

        `is_purging` tells, after a wake, what is still there.
        """
        if self._background is not None and self.fetch(f"{PURGES} LIMIT 1"):
            self._background.purge(time.time_ns() if now is None else now)

    def busy_in_background(self) -> bool:
        """Whether a check or a pass of retention is under way."""
        return self._background is not None and self._background.busy()

    # --- inside -------------------------------------------------------------------------------------------------
    def _compare(self, conn: sqlite3.Connection, noted: tuple[seal.Seal, seal.Seal] | None) -> None:
        """Say if the database, or its log, is not what was written last. It is used all the same: what else is there?

        The connection is closed if that cannot be found out.
        """
        try:
            epoch = schema.get_number(conn, "epoch")
            lost = 0 if self._witness is None else self._witness.lost(schema.get_meta(conn, "boot_id") == self.boot_id)
        except BaseException:
            conn.close()
            raise
        if noted is not None and noted[0].epoch == epoch and noted[0] != noted[1]:
            self._doubtful = True
            self._tell("the database is not as it was when it was closed: what it says of the past may be wrong")
        if lost:
            self._doubtful = True
            kept = keep_copy(self._path.with_name(f"{self._path.name}-wal"))
            self._tell(
                f"the log of the database was damaged: its last changes ({lost} pages) are lost, so that what it says"
                f" may be older than what was answered{f'; the log was kept as {kept}' if kept else ''}"
            )

    def _take(self, conn: sqlite3.Connection) -> sqlite3.Connection:
        """Learn where the database's numbers stand, and make it ours. The connection is closed if that fails."""
        try:
            self._epoch = max(self._epoch, schema.get_number(conn, "epoch")) + 1
            self.last_boot_id = schema.get_meta(conn, "boot_id")
            events, runs = conn.execute("SELECT (SELECT max(seq) FROM events), (SELECT max(seq) FROM runs)").fetchone()
            self._count_from(max(events or 0, removed.highest(conn)), max(runs or 0, highest_purged(conn)))
            try:
                schema.set_meta(conn, "epoch", str(self._epoch))
            except ERRORS as error:
                if kind(error) != "disk":
                    raise
                # A full disk keeps no daemon from starting: the writer makes the database ours with its first change.
        except BaseException:
            conn.close()
            raise
        return conn

    def _count_from(self, last_event: int, last_run: int) -> None:
        self._event_seqs = itertools.count((last_event // 2 + 1) * 2, 2)
        self._run_seqs = itertools.count(last_run + 1)

    def _begin_anew(self, text: str) -> None:
        """Make a new database that is ours, and put it into the place of the damaged one; or go on with that."""
        if not self._moving:
            saved = self._make_new()
            aside = begin_move(self._path)
            # From here on there is no way back: what is at `path` is no whole database until the move is finished.
            self._moving = (
                f"the database was damaged ({text}): it was set aside as {aside}; the new one has taken over"
                f" {saved.runs} live runs and {saved.jobs} jobs, and no history"
            )
            if self._writer is None:  # the counters are not in use yet
                self._count_from(saved.last_event, saved.last_run)
        finish_move(self._path)
        self._tell(self._moving)
        self._moving = ""

    def _make_new(self) -> Salvaged:
        """Make a new database beside the damaged one, with what can be taken over."""
        fresh = fresh_path(self._path)
        conn = schema.open_database(fresh)
        try:
            schema.set_meta(conn, "epoch", str(self._epoch))
            schema.set_meta(conn, "boot_id", self.boot_id)  # a new file needs no check in this boot
            saved = salvage(self._path, conn, time.time_ns())
            removed.note(conn, None, saved.last_event)
            schema.fold_log(conn)
        finally:
            conn.close()
        return saved

    def _close_witness(self) -> None:
        if self._witness is not None:
            self._witness.close()

    def _tell(self, text: str) -> None:
        self.notices.append(text)
        log.error("%s", text)

    def _damaged(self, text: str, generation: int) -> bool:
        return self._writer is not None and self._writer.report_damage(text, generation)

    def _want_check(self) -> None:
        if self._background is not None:
            self._background.check()
