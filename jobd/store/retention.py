"""Which runs have to go, and in what steps: more runs of a job than are kept, too old, or logs too big.

One pass is a row of small steps, each one or two short questions and at most one short transaction, so that nobody
waits for it: not the writer's callers, and not the loop. It works on a full disk too: the writer gives up its ballast.
Bytes of logs are those of the two streams, as recorded when a run was closed; what runs now is not counted.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import DecodeError

from jobd.core.records import SHARED
from jobd.core.spec import FOR_EVER, decode_spec

from .removal import PURGES, Victim, delete_logs, end_purge, forget_trash, purges, remove_acts, remove_runs
from .rows import Value, Values, tail_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Generator, Iterator
    from pathlib import Path

Fetch: TypeAlias = Callable[[str, Sequence[Value]], list[Values]]
Work: TypeAlias = "Callable[[sqlite3.Connection], list[tuple[int, str]]]"
Call: TypeAlias = "Callable[[Work], list[tuple[int, str]]]"

SAYING: Final = (b"keep_runs", b"keep_for_usec")  # how the fields are called in an encoded spec
LAST_RUN: Final = 2**62  # more than there can be
DAY_NS: Final = 86_400 * 10**9
STEP_RUNS: Final = 100  # runs a transaction: measured among a million, 5 ms of the writer's time, 16 at worst
STEP_JOBS: Final = 200  # jobs looked at in a step that finds nothing to remove: measured, 14 ms of no lock at all


@dataclass(frozen=True, slots=True)
class Policy:
    """How much is kept; DESIGN.md, section 4, says the defaults."""

    keep_runs: int = 1000  # of each job that does not say it itself
    keep_for_ns: int = 90 * DAY_NS  # after a run's end, by the wall clock; the same
    runs_per_owner: int = 1_000_000  # whatever jobs say
    log_share: float = 0.10  # of the file system that the logs are on
    log_bytes_per_owner: int = 4 << 30
    # Size alone takes no run that ended less than a day ago: its owner has not had a night and a morning to look at it.
    # A disk that such runs fill holds up their successors (they block on their pipes); nothing is lost by that.
    spare_for_ns: int = DAY_NS


class Retention:
    """One pass over the database.

    `fetch` asks the database, `call` runs work in the writer's transaction; both may raise StoreError, after which the
    pass may be gone on with or dropped: every step is whole.
    """

    def __init__(
        self, fetch: Fetch, call: Call, state_dir: Path, policy: Policy, now: int, disk_bytes: int | None = None
    ) -> None:
        self.removed: list[tuple[int, str]] = []  # keys of jobs that went with their last run
        self.runs = 0  # how many runs were removed
        self._fetch = fetch
        self._call = call
        self._state_dir = state_dir
        self._policy = policy
        self._now = now
        self._disk_bytes = disk_bytes
        self._steps = self._pass()

    def step(self) -> bool:
        """Do a little. Returns whether there is more to do."""
        return next(self._steps, False)

    def _pass(self) -> Iterator[bool]:
        yield from self._empty_trash()
        yield from self._by_job()
        yield from self._by_owner()
        yield from self._by_size()
        yield from self._acts()

    # --- acts on the daemon itself ------------------------------------------------------------------------------
    def _acts(self) -> Iterator[bool]:
        """Events without a job go by age alone."""
        before = self._now - self._policy.keep_for_ns
        owner = SHARED - 1
        while found := self._fetch("SELECT min(owner) FROM events INDEXED BY events_by_run WHERE owner > ?", (owner,)):
            if found[0][0] is None:
                return
            owner = int(found[0][0])
            acts = "FROM events INDEXED BY events_by_run WHERE owner = ? AND job = '' AND at < ?"
            kept = "SELECT event FROM queues WHERE owner = ?"
            if self._fetch(f"SELECT 1 {acts} AND seq NOT IN ({kept}) LIMIT 1", (owner, before, owner)):
                self._call(partial(_forget_acts, owner, before))
                yield True

    # --- count and age ------------------------------------------------------------------------------------------
    def _by_job(self) -> Iterator[bool]:
        for looked_at, (owner, job) in enumerate(self._jobs_with_runs(), 1):
            while victims := self._surplus(owner, job):
                yield from self._remove(victims)
                if len(victims) < STEP_RUNS:
                    break
            if looked_at % STEP_JOBS == 0:
                yield True

    def _jobs_with_runs(self) -> Iterator[tuple[int, str]]:
        sql = (
            "SELECT owner, job FROM runs INDEXED BY runs_by_job WHERE (owner, job) > (?, ?) ORDER BY owner, job LIMIT 1"
        )
        key: tuple[int, str] = (-1, "")
        while found := self._fetch(sql, key):
            owner, job = found[0]
            key = (int(owner or 0), str(job))
            yield key

    def _surplus(self, owner: int, job: str) -> list[Victim]:
        """The oldest runs of a job that are too many or too old."""
        of_job = "runs INDEXED BY runs_by_job WHERE owner = ? AND job = ?"
        keep_runs, keep_for_ns = self._kept(owner, job)
        edge = self._fetch(f"SELECT seq FROM {of_job} ORDER BY seq DESC LIMIT 1 OFFSET ?", (owner, job, keep_runs))
        last = edge[0][0] if edge else 0
        oldest = (
            f"SELECT seq, owner, job, run, finished_at, state, closed FROM {of_job} ORDER BY seq LIMIT {2 * STEP_RUNS}"
        )
        found = self._fetch(
            f"SELECT seq, owner, job, run FROM ({oldest}) WHERE state = 'finished' AND closed = 1"
            " AND (seq <= ? OR finished_at < ?) LIMIT ?",
            (owner, job, last, max(0, self._now - keep_for_ns), STEP_RUNS),
        )
        return _victims(found)

    def _kept(self, owner: int, job: str) -> tuple[int, int]:
        """How many runs of a job are kept, and for how many ns. Most jobs do not say it, which SQLite finds out."""
        runs, for_ns = self._policy.keep_runs, self._policy.keep_for_ns
        saying = "instr(data, ?) + instr(data, ?) > 0"
        sql = f"SELECT data FROM jobs JOIN blobs ON hash = spec WHERE owner = ? AND job = ? AND {saying}"
        for (data,) in self._fetch(sql, (owner, job, *SAYING)):
            with contextlib.suppress(DecodeError):
                spec = decode_spec(data)  # type: ignore[arg-type]  # a blob column
                if spec.keep_runs is not None:
                    runs = LAST_RUN if spec.keep_runs == FOR_EVER else spec.keep_runs
                if spec.keep_for_usec is not None:
                    for_ns = self._now if spec.keep_for_usec == FOR_EVER else spec.keep_for_usec * 1000
        return runs, for_ns

    def _by_owner(self) -> Iterator[bool]:
        """Of whoever has more runs than are kept of all his jobs together the oldest go."""
        of_owner = "runs INDEXED BY runs_by_owner WHERE owner = ?"
        owner = -1
        while (least := self._fetch("SELECT min(owner) FROM runs WHERE owner > ?", (owner,))[0][0]) is not None:
            owner = int(least)
            edge = self._fetch(
                f"SELECT seq FROM {of_owner} ORDER BY seq DESC LIMIT 1 OFFSET ?", (owner, self._policy.runs_per_owner)
            )
            while edge and (
                found := self._fetch(
                    f"SELECT seq, owner, job, run FROM {of_owner} AND seq <= ? AND state = 'finished' AND closed = 1"
                    f" ORDER BY seq LIMIT {STEP_RUNS}", (owner, edge[0][0]),
                )
            ):  # fmt: skip
                yield from self._remove(_victims(found))
            yield True

    # --- logs ---------------------------------------------------------------------------------------------------
    def _by_size(self) -> Iterator[bool]:
        size = "coalesce(out_bytes, 0) + coalesce(err_bytes, 0)"
        found = self._fetch(f"SELECT owner, sum({size}) FROM runs WHERE closed = 1 GROUP BY owner", ())
        sizes = {int(owner or 0): int(total or 0) for owner, total in found}
        for owner, total in sizes.items():
            over = total - self._policy.log_bytes_per_owner
            if over > 0:
                removed = yield from self._shrink("runs INDEXED BY runs_by_owner WHERE owner = ?", (owner,), size, over)
                sizes[owner] -= removed
        over = sum(sizes.values()) - int(self._policy.log_share * self._disk_size())
        if over > 0:
            yield from self._shrink("runs NOT INDEXED WHERE 1", (), size, over)

    def _shrink(self, source: str, args: tuple[Value, ...], size: str, over: int) -> Generator[bool, None, int]:
        """Remove the oldest runs with logs until `over` bytes are gone; returns how many are."""
        sql = (
            f"SELECT seq, owner, job, run, {size} FROM {source} AND seq > ? AND state = 'finished' AND closed = 1"
            f" AND finished_at < ? AND {size} > 0 ORDER BY seq LIMIT {STEP_RUNS}"
        )
        after = gone = 0
        spared = self._now - self._policy.spare_for_ns
        while gone < over and (found := self._fetch(sql, (*args, after, spared))):
            chosen: list[Values] = []
            for row in found:
                if gone >= over:
                    break
                chosen.append(row[:-1])
                gone += int(row[-1] or 0)
            after = int(found[-1][0] or 0)
            yield from self._remove(_victims(chosen))
        return gone

    def _disk_size(self) -> int:
        if self._disk_bytes is not None:
            return self._disk_bytes
        disk = os.statvfs(self._state_dir)
        return disk.f_blocks * disk.f_frsize

    # --- removing -----------------------------------------------------------------------------------------------
    def _remove(self, victims: list[Victim]) -> Iterator[bool]:
        self.removed += self._call(lambda conn: remove_runs(conn, victims, self._now))
        self.runs += len(victims)
        yield True
        yield from self._empty_trash()

    def _empty_trash(self) -> Iterator[bool]:
        sql = f"SELECT owner, run FROM trash WHERE (owner, run) > (?, ?) ORDER BY owner, run LIMIT {STEP_RUNS}"
        key: tuple[int, bytes] = (-1, b"")
        while found := self._fetch(sql, key):
            runs = [(int(owner or 0), run) for owner, run in found if isinstance(run, bytes)]
            key = runs[-1]
            gone = [(owner, run) for owner, run in runs if self._delete_logs(owner, run)]
            if gone:
                self._call(partial(_forget, gone))
            yield True

    def _delete_logs(self, owner: int, run: bytes) -> bool:
        of_id = "runs INDEXED BY runs_by_id WHERE owner = ? AND tail = ? AND run = ?"
        if self._fetch(f"SELECT 1 FROM {of_id}", (owner, tail_of(run), run)):
            return True  # the same id was used again: these are the new run's
        return delete_logs(self._state_dir, owner, run)


class Purge(Retention):
    """Takes the runs and logs of jobs that were removed for good, up to the numbers noted at their removal."""

    def _pass(self) -> Iterator[bool]:
        waiting = purges(self._fetch(PURGES, ()))
        while waiting:  # thousands of jobs with a run each, if an array goes: a step takes those of many
            victims: list[Victim] = []
            through = 0
            for owner, job, upto in waiting:
                found = self._doomed(owner, job, upto)
                victims += found
                if len(victims) >= STEP_RUNS:
                    break
                through += 1
            yield from self._remove(victims) if victims else self._empty_trash()
            self._call(partial(_end_purges, waiting[:through]))
            del waiting[:through]
            yield True

    def _doomed(self, owner: int, job: str, upto: int) -> list[Victim]:
        return _victims(
            self._fetch(
                "SELECT seq, owner, job, run FROM runs INDEXED BY runs_by_job WHERE owner = ? AND job = ? AND seq <= ?"
                f" AND state = 'finished' AND closed = 1 ORDER BY seq LIMIT {STEP_RUNS}",
                (owner, job, upto),
            )
        )


def _forget_acts(owner: int, before: int, conn: sqlite3.Connection) -> list[tuple[int, str]]:
    return remove_acts(conn, owner, before)


def _end_purges(keys: list[tuple[int, str, int]], conn: sqlite3.Connection) -> list[tuple[int, str]]:
    return [gone for key in keys for gone in end_purge(conn, *key)]


def _forget(gone: list[tuple[int, bytes]], conn: sqlite3.Connection) -> list[tuple[int, str]]:
    return forget_trash(conn, gone)


def _victims(found: list[Values]) -> list[Victim]:
    return [Victim(*row) for row in found]  # type: ignore[arg-type]  # the columns' types are the fields'
