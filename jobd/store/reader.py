"""Questions to the database: each is answered from an index, in well under a millisecond, however many runs there are.

A Reader has its own connection and belongs to one thread. It never holds a snapshot from one question to the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from jobd.core import globs
from jobd.core.records import REMOVED
from jobd.core.runfilter import EVERY, RunFilter

from . import changes, pages, removed
from .batch import StoreError
from .blobs import Blobs
from .connections import Asker
from .removal import purge_key
from .rows import EVENT_COLUMNS, JOB_COLUMNS, RUN_COLUMNS, Value, Values, are_sound, event_of, job_row, run_row, tail_of
from .schema import LISTED, LIVE, garbled
from .trouble import ERRORS, UNREADABLE, kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from jobd.core.records import Event, JobRow, RunRow

    from .connections import Connections

SCAN_JOBS: Final = 2000  # measured among 20,000: 3 ms, so that the daemon's loop hardly notices
MAX_FAILED: Final = 100  # definitions that are told of; who has more knows that something is wrong
MAX_DEFINED: Final = 10_000  # definitions of one owner: reading them takes 50 ms
_NONE: Final[tuple[Value, ...]] = ()
HEX: Final = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Counts:
    """`queued` … `stopping`: runs in that state; `closing`: finished, output still open."""

    queued: int = 0
    starting: int = 0
    running: int = 0
    stopping: int = 0
    closing: int = 0
    database_bytes: int = 0


class Reader(Blobs):
    """Reads state.db at `path`.

    `generation()` grows when the file was replaced; `damaged(text)` is told of a damaged file and says whether it has
    been replaced, so that asking again makes sense.
    """

    def __init__(
        self, path: Path, generation: Callable[[], int], damaged: Callable[[str, int], bool], connections: Connections
    ) -> None:
        self._path = path
        self._connections = connections
        self._asker = Asker(path, generation, connections)
        self._report_damage = damaged

    def fetch(self, sql: str, args: Sequence[Value] = ()) -> list[Values]:
        """Ask. Raises StoreError."""
        try:
            found = self._asker.ask(sql, args)
            if are_sound(sql, found):
                return found
            raise garbled("a row has values that no row can have")
        except ERRORS as error:
            if kind(error) != "damage" or not self.damage(str(error)):
                raise StoreError(f"cannot read {self._path}: {error}") from error
        try:
            return self._asker.ask(sql, args)
        except ERRORS as error:
            raise StoreError(f"cannot read {self._path}: {error}") from error

    def damage(self, text: str) -> bool:
        return self._report_damage(text, self._asker.generation)

    def close_reader(self) -> None:
        """Close the connection; the next question opens another."""
        self._asker.close()

    # --- jobs ---------------------------------------------------------------------------------------------------
    def job(self, owner: int, name: str) -> JobRow | None:
        """The job, if there is one of that name."""
        found = self.fetch(f"SELECT {JOB_COLUMNS} FROM jobs WHERE owner = ? AND job = ?", (owner, name))
        return job_row(found[0]) if found else None

    def is_purging(self, owner: int, name: str) -> bool:
        """Whether runs of a job of this name, which was removed for good, are still to be taken away."""
        return bool(self.fetch("SELECT 1 FROM meta WHERE key = ?", (purge_key(owner, name),)))

    def last_removal(self, owner: int, name: str) -> int:
        """The number of the last event by which a job of this name was removed; 0: none is known."""
        where = "INDEXED BY events_by_run WHERE owner = ? AND job = ? AND run IS NULL AND kind = ?"
        return self._number(f"SELECT max(seq) FROM events {where}", (owner, name, REMOVED))

    def highest_number(self, owner: int, name: str) -> int:
        """The highest number that a run of a job of this name has, of one that was removed too; 0: there is none."""
        where = "INDEXED BY runs_by_number WHERE owner = ? AND job = ?"
        return self._number(f"SELECT max(number) FROM runs {where}", (owner, name))

    def is_used(self, owner: int, name: str) -> bool:
        """Whether there is a job of this name, or runs of one that was removed; or elements of an array called so."""
        places = [
            f"EXISTS (SELECT 1 FROM {source} WHERE owner = ? AND job {which})"
            for source in ("jobs", "runs INDEXED BY runs_by_job")
            for which in ("= ?", ">= ? AND job < ?")
        ]
        args = (owner, name, owner, f"{name}@", f"{name}A")  # "A" follows "@"
        return bool(self.fetch(f"SELECT {' OR '.join(places)}", (*args, *args))[0][0])

    def defined(self, owner: int, prefix: str = "", after: str = "", limit: int = MAX_DEFINED) -> list[JobRow]:
        """Jobs of an owner that are not transient, by name, from behind `after`; those that begin with `prefix`."""
        sql = f"SELECT {JOB_COLUMNS} FROM jobs INDEXED BY jobs_defined WHERE transient = 0 AND owner = ?"
        where = "job >= ? AND job < ? AND job > ? ORDER BY job LIMIT ?"
        return [
            job_row(v) for v in self.fetch(f"{sql} AND {where}", (owner, prefix, prefix + "\U0010ffff", after, limit))
        ]

    def count_defined(self, owner: int) -> int:
        """How many jobs of an owner are not transient: 0.1 µs each (measured)."""
        sql = "SELECT count(*) FROM jobs INDEXED BY jobs_defined WHERE transient = 0 AND owner = ?"
        return self._number(sql, (owner,))

    def defining_owners(self) -> list[int]:
        """All who have such jobs, in order."""
        return self._steps("SELECT min(owner) FROM jobs INDEXED BY jobs_defined WHERE transient = 0 AND owner > ?")

    def failed_definitions(self) -> list[JobRow]:
        """Jobs that are not transient and have failed, of all owners."""
        sql = (
            f"SELECT {JOB_COLUMNS} FROM jobs INDEXED BY jobs_defined WHERE transient = 0 AND active = 'failed' LIMIT ?"
        )
        return [job_row(v) for v in self.fetch(sql, (MAX_FAILED,))]

    def enabled(self) -> list[JobRow]:
        """Jobs that are to be started with the daemon, of all owners."""
        source = "jobs INDEXED BY jobs_listed"
        sql = f"SELECT {JOB_COLUMNS} FROM {source} WHERE {LISTED} AND enabled = 1 ORDER BY owner, job"
        return [job_row(v) for v in self.fetch(sql, ())]

    def jobs_to_restart(self) -> list[JobRow]:
        """Jobs between two runs, of which the next is to begin by itself."""
        where = "INDEXED BY jobs_to_restart WHERE restart_at IS NOT NULL ORDER BY restart_at"
        return [job_row(v) for v in self.fetch(f"SELECT {JOB_COLUMNS} FROM jobs {where}", ())]

    def armed(self) -> list[JobRow]:
        """All jobs that a schedule is to start, the next first."""
        sql = f"SELECT {JOB_COLUMNS} FROM jobs INDEXED BY jobs_armed WHERE elapse_next IS NOT NULL ORDER BY elapse_next"
        return [job_row(v) for v in self.fetch(sql)]

    def owners(self) -> list[int]:
        """All who have jobs, in order."""
        return self._steps("SELECT min(owner) FROM jobs WHERE owner > ?")

    def highest_suffix(self, owner: int, base: str) -> int:
        """The greatest N of this owner's jobs called `base-N`; 0 if there is none."""
        where = "INDEXED BY jobs_by_suffix WHERE owner = ? AND base = ? AND suffix IS NOT NULL"
        return self._number(f"SELECT max(suffix) FROM jobs {where}", (owner, base))

    def jobs_page(
        self,
        *,
        owner: int | None = None,
        every: bool = False,
        scope: globs.Globs | None = None,
        prefix: str = "",
        after: tuple[int, str] | None = None,
        limit: int = 1000,
        at_rest: bool = False,
    ) -> list[JobRow]:
        """Jobs sorted by (owner, name), from behind the key `after`: those that `list` shows, or `every` one.

        `owner`: only his. `scope`: only those that one of its pairs fits. `prefix`: only names that begin so (a glob's
        literal beginning). `at_rest`: none with a live run, of which the registry knows more; but arrays.
        """
        source, listed = ("jobs", "1") if every else ("jobs INDEXED BY jobs_listed", LISTED)
        if at_rest:
            listed += " AND (active IN ('inactive', 'failed') OR array <> '')"
        base = f"SELECT {JOB_COLUMNS} FROM {source} WHERE {listed} AND owner = ? AND job > ? AND job < ?"
        order = "ORDER BY owner, job LIMIT ?"
        end = prefix + "\U0010ffff"
        rows: list[JobRow] = []
        for uid in self.owners() if owner is None else [owner]:
            sql, args = base, _NONE
            seen = None if scope is None else globs.of_owner(scope, uid)
            if seen is not None:
                if not seen:
                    continue
                text, args = globs.condition(seen)
                sql = f"{base} AND {text}"
            start = prefix
            if after is not None:
                if uid < after[0]:
                    continue
                if uid == after[0]:
                    start = max(prefix, after[1])
            same = start == prefix and (after is None or (uid, prefix) != after)
            this = sql.replace("job > ?", "job >= ?") if same else sql
            rows += [job_row(v) for v in self.fetch(f"{this} {order}", (uid, start, end, *args, limit - len(rows)))]
            if len(rows) >= limit:
                break
        return rows

    def jobs_seen(
        self, *, owner: int, every: bool, scope: globs.Globs, after: str, limit: int
    ) -> tuple[list[JobRow], str | None]:
        """Of the next SCAN_JOBS jobs of an owner, from behind the name `after`, up to `limit` that the scope fits.

        Returns them, and up to which name all were examined if there may be more behind it.
        """
        source, listed = ("jobs", "1") if every else ("jobs INDEXED BY jobs_listed", LISTED)
        where = f"FROM {source} WHERE {listed} AND owner = ? AND job > ?"
        order = "ORDER BY owner, job LIMIT"
        edge = self.fetch(f"SELECT job {where} {order} 1 OFFSET ?", (owner, after, SCAN_JOBS - 1))
        end = str(edge[0][0]) if edge else None
        text, args = globs.condition(scope)
        sql = f"SELECT {JOB_COLUMNS} {where} AND job <= ? AND {text} {order} ?"
        found = self.fetch(sql, (owner, after, end or "\U0010ffff", *args, limit))
        rows = [job_row(values) for values in found]
        return rows, rows[-1].job if len(rows) == limit else end

    # --- runs ---------------------------------------------------------------------------------------------------
    def run(self, owner: int, run: bytes) -> RunRow | None:
        """The run with that id, if it is this owner's."""
        found = self.fetch(
            f"SELECT {RUN_COLUMNS} FROM runs INDEXED BY runs_by_id WHERE owner = ? AND tail = ? AND run = ?",
            (owner, tail_of(run), run),
        )
        return run_row(found[0]) if found else None

    def live_runs(self) -> list[RunRow]:
        """All runs that are not finished, or whose output is not closed, in the order of acceptance."""
        sql = f"SELECT {RUN_COLUMNS} FROM runs INDEXED BY runs_live WHERE {LIVE} ORDER BY seq"
        return [run_row(v) for v in self.fetch(sql)]

    def run_number(self, owner: int, job: str, n: int) -> RunRow | None:
        """A run of a job: 1, 2, … by its number; 0 the newest, -1 the one before."""
        if n > 0:
            where = "INDEXED BY runs_by_number WHERE owner = ? AND job = ? AND number = ? ORDER BY seq DESC LIMIT 1"
            found = self.fetch(f"SELECT {RUN_COLUMNS} FROM runs {where}", (owner, job, n))
        else:
            where = "INDEXED BY runs_by_job WHERE owner = ? AND job = ? ORDER BY seq DESC LIMIT 1 OFFSET ?"
            found = self.fetch(f"SELECT {RUN_COLUMNS} FROM runs {where}", (owner, job, -n))
        return run_row(found[0]) if found else None

    def last_runs(self, owner: int, job: str, count: int) -> list[bytes]:
        """The ids of a job's newest runs, the newest first."""
        where = "INDEXED BY runs_by_job WHERE owner = ? AND job = ? ORDER BY seq DESC LIMIT ?"
        return [run for (run,) in self.fetch(f"SELECT run FROM runs {where}", (owner, job, count))]  # type: ignore[misc]  # a blob column

    def runs_by_suffix(
        self, scope: globs.Globs | None, suffix: str, job: str | None = None, limit: int = 2
    ) -> list[RunRow]:
        """Up to `limit` runs whose id ends so (hex digits, dashes do not count); two are enough to say *ambiguous*.

        `scope`: only of jobs that one of its pairs fits.
        """
        digits = suffix.replace("-", "").lower()
        if not digits or len(digits) > 32 or not HEX.issuperset(digits):
            return []
        low = int(digits[:-9:-1].ljust(8, "0"), 16)
        high = int(digits[:-9:-1].ljust(8, "f"), 16)
        sql = (
            f"SELECT {RUN_COLUMNS} FROM runs INDEXED BY runs_by_id WHERE owner = ? AND tail BETWEEN ? AND ?"
            " AND substr(lower(hex(run)), ?) = ? AND job = coalesce(?, job)"
        )
        rows: list[RunRow] = []
        for uid in self._owners_of_runs(scope):
            seen = None if scope is None else globs.of_owner(scope, uid)
            text, args = ("1", _NONE) if seen is None else globs.condition(seen)
            values = (uid, low, high, -len(digits), digits, job, *args, limit - len(rows))
            rows += [run_row(v) for v in self.fetch(f"{sql} AND {text} LIMIT ?", values)]
            if len(rows) >= limit:
                break
        return rows

    def _owners_of_runs(self, scope: globs.Globs | None) -> list[int]:
        named = {owner for owner, _ in scope or ((None, "*"),)}
        if None not in named:
            return sorted(owner for owner in named if owner is not None)
        return self._steps("SELECT min(owner) FROM runs WHERE owner > ?")

    def runs_page(
        self, wanted: RunFilter = EVERY, *, before: int | None = None, limit: int = 100, offset: int = 0
    ) -> pages.RunPage:
        """A page of runs, newest first.

        `before` is the last page's `more`; `offset` rows are skipped first. Returns a page that may be short, or even
        empty, with `more` set: see pages.py.
        """
        return pages.runs_page(self.fetch, wanted, before, limit, offset)

    def had_queue(self, owner: int | None, queue: str, scope: globs.Globs | None) -> bool:
        """Whether runs that the scope fits are or were in a queue (owner None: in a shared one)."""
        return bool(self.runs_page(RunFilter(scope=scope, queue=(owner, queue)), limit=1).rows)

    # --- the rest -----------------------------------------------------------------------------------------------
    def events_page(self, after: int = 0, limit: int = 1000) -> list[Event]:
        """Events behind `after`, in order. Kind `retired` sums up what retention took; its seq is an odd number."""
        sql = f"SELECT {EVENT_COLUMNS} FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
        return self._events(sql, (after, limit))

    def last_event(self, owner: int | None) -> int:
        """The highest number that an event has, or had that was this owner's (None: anybody's) and is gone."""
        return max(self.removed_events(owner), self._number("SELECT max(seq) FROM events"))

    def removed_events(self, owner: int | None) -> int:
        """The highest number of an event of this owner (None: of anybody) that was removed.

        Who is not past it has missed something.
        """
        if owner is None:
            return self._number(removed.HIGHEST)
        return self._number(removed.OF_OWNER, removed.keys(owner))

    def changes_page(self, wanted: changes.Wanted, after: int, upto: int, limit: int) -> tuple[list[Event], int, bool]:
        """Events to show, behind number `after` and up to `upto`, oldest first; see changes.page.

        Returns at most `limit` of them, up to where everything was examined, and whether there may be more.
        """
        page = changes.page(self.fetch, wanted, after, upto, limit)
        return self._decoded(page.rows), page.end, page.more

    def before_last_changes(self, wanted: changes.Wanted, after: int, upto: int, count: int) -> Iterator[int | None]:
        """Behind which number the last `count` of them begin; see changes.before_last."""
        return changes.before_last(self.fetch, wanted, after, upto, count)

    def has_events(self, owner: int, job: str) -> bool:
        """Whether anything is known to have happened to the job."""
        sql = "SELECT 1 FROM events INDEXED BY events_by_run WHERE owner = ? AND job = ? LIMIT 1"
        return bool(self.fetch(sql, (owner, job)))

    def events_of_run(self, owner: int, job: str, run: bytes) -> list[Event]:
        """All events of one run, in order."""
        sql = (
            f"SELECT {EVENT_COLUMNS} FROM events INDEXED BY events_by_run"
            " WHERE owner = ? AND job = ? AND run = ? ORDER BY seq"
        )
        return self._events(sql, (owner, job, run))

    def last_events_of_run(self, owner: int, job: str, run: bytes, limit: int = 64) -> list[Event]:
        """The newest events of one run, the newest first."""
        sql = (
            f"SELECT {EVENT_COLUMNS} FROM events INDEXED BY events_by_run"
            " WHERE owner = ? AND job = ? AND run = ? ORDER BY seq DESC LIMIT ?"
        )
        return self._events(sql, (owner, job, run, limit))

    def last_events_of_job(self, owner: int, job: str, limit: int = 64) -> list[Event]:
        """The newest events of a job that are of none of its runs, the newest first."""
        sql = (
            f"SELECT {EVENT_COLUMNS} FROM events INDEXED BY events_by_run"
            " WHERE owner = ? AND job = ? AND run IS NULL ORDER BY seq DESC LIMIT ?"
        )
        return self._events(sql, (owner, job, limit))

    def _events(self, sql: str, args: Sequence[Value]) -> list[Event]:
        return self._decoded(self.fetch(sql, args))

    def _decoded(self, rows: list[Values]) -> list[Event]:
        try:
            return [event_of(v) for v in rows]
        except UNREADABLE as error:
            raise self._garbled(f"an event cannot be read: {error}") from error

    def counts(self) -> Counts:
        """How many runs are where, and how big the database is."""
        sql = f"SELECT state, count(*) FROM runs INDEXED BY runs_live WHERE {LIVE} GROUP BY state"
        by_state = {str(state): int(n or 0) for state, n in self.fetch(sql)}
        by_state["closing"] = by_state.pop("finished", 0)
        if not by_state.keys() <= set(Counts.__slots__):
            raise self._garbled("a run is in a state that no run can have")
        size = self._number("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        return Counts(**by_state, database_bytes=size)

    def _number(self, sql: str, args: Sequence[Value] = ()) -> int:
        """The one number that a query gives, 0 for NULL."""
        value = self.fetch(sql, args)[0][0]
        if not isinstance(value, int | None):
            raise self._garbled("a number is none")
        return value or 0

    def _garbled(self, what: str) -> StoreError:
        """Have the file set aside, and what to raise: who asks again has the new one."""
        self.damage(what)
        return StoreError(f"cannot read {self._path}: {what}")

    def _steps(self, sql: str) -> list[int]:
        """Follow "the least greater than": distinct values of an index's first column, one look-up each."""
        values: list[int] = []
        while (found := self.fetch(sql, (values[-1] if values else -1,))[0][0]) is not None:
            values.append(int(found))
        return values
