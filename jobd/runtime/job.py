"""A job that is not at rest: its state, and the one place where it changes.

`Job.fire` looks the next state up, computes the rows from the event and hands both to the journal, together with what
follows from the change for other jobs. Nothing else assigns a state. All of it is synchronous, so no lock is needed and
no half-made change can be seen.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio
from msgspec import Struct

from jobd.core import states
from jobd.core.records import BY_GID, Event, JobRow, RunRow, apply_job, apply_run
from jobd.runtime.wake import Changed

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobd.runtime.journal import Commit, Journal
    from jobd.runtime.run import Run

Value = str | int | bytes | bool | None


class Caller(Struct, frozen=True):
    """Who asks, as the kernel said at accept. The pid is for display only."""

    uid: int
    gid: int
    pid: int


class Job:
    """One (owner, name) with a live run, between two runs, or in the middle of an act.

    Owned by the registry; its state by `fire` alone. One that is made for an act on a job at rest is `fleeting` until
    it gets a run: its changes are written only if retention has not taken the job's row meanwhile.
    """

    __slots__ = ("_clock", "_fleeting", "_journal", "changed", "row", "run")

    def __init__(
        self, row: JobRow, journal: Journal, clock: Callable[[], int] = time.time_ns, *, fleeting: bool = False
    ) -> None:
        self.row = row
        self.run: Run | None = None  # the newest, while somebody walks it
        self.changed = Changed()  # its state, or which run is its newest
        self._fleeting = fleeting
        self._journal = journal
        self._clock = clock

    def fire(self, event: str, kind: str, by: Caller | None = None, **fields: Value) -> Commit:
        """Change the state by an event of the table, with whatever else it sets.

        Args:
            event: one of `states.EVENTS`.
            kind: the word under which history shows it ("started", "stop-requested").
            by: who caused it, if somebody did.
            fields: fields of the run's row that it sets; those of the job's row have the prefix `job.`.

        Raises:
            ImpossibleTransition: the event cannot happen in this state.
        """
        old, sub = self.row.sub, states.after(self.row.sub, event)
        now = self._clock()
        if sub != old:
            fields["job.sub"] = sub
            active = states.ACTIVE_STATE[sub]
            if self.run is not None:
                self.run.entered_mono = trio.current_time()
                if self.run.row.extended_usec:
                    fields["extended_usec"] = 0  # it asked for the state that it leaves
            if active != self.row.active:
                fields["job.active"] = active
                fields["job.changed_at"] = now
            state = states.RUN_STATE[sub]
            if self.run is not None and state != self.run.row.state:
                fields["state"] = state
        with self._journal.together() as commit:
            self.note(self.run, kind, by, now, **fields)
            if sub != old:
                self._journal.follow(self, old)
        if sub != old:
            self.changed.set()
        return commit

    def note(
        self, run: Run | None, kind: str, by: Caller | None = None, at: int | None = None, **fields: Value
    ) -> Commit:
        """Record a change that leaves the state as it is, of `run` (which may be one before the live run)."""
        return self.redefine(run, kind, by, fields, (), at)

    def redefine(
        self,
        run: Run | None,
        kind: str,
        by: Caller | None,
        fields: dict[str, Value],
        blobs: tuple[tuple[bytes, bytes], ...],
        at: int | None = None,
    ) -> Commit:
        """The same, with definitions that the fields name and the store may not have."""
        event = Event(
            seq=self._journal.store.next_event_seq(),
            at=self._clock() if at is None else at,
            kind=kind,
            owner=self.row.owner,
            job=self.row.job,
            run=None if run is None else run.row.run,
            by_uid=None if by is None else by.uid,
            by_pid=None if by is None else by.pid,
            data=fields if by is None else {**fields, BY_GID: by.gid},
        )
        run_row = None
        if run is not None:
            run_row = run.row = apply_run(run.row, event)
        return self._write(event, run_row, blobs, may_fail=False)

    def accept(self, event: Event, run: Run, blobs: tuple[tuple[bytes, bytes], ...]) -> Commit:
        """Take on a new live run, whose `accepted` event this is. Fails, instead of retrying, on a full disk."""
        self.run = run
        self._fleeting = False
        commit = self._write(event, run.row, blobs, may_fail=True)
        self.changed.set()
        return commit

    def hand_over(self, run: Run, kind: str, fields: dict[str, Value]) -> None:
        """A run that has waited for the job to come to rest is its live run from now on; the fields say so."""
        self.run = run
        run.accepted = self.redefine(run, kind, None, fields, ())
        self.changed.set()

    def line_up(self, event: Event, run: Run, blobs: tuple[tuple[bytes, bytes], ...]) -> Commit:
        """Have a run recorded that waits for the live one. Fails, instead of retrying, on a full disk."""
        return self._write(event, run.row, blobs, may_fail=True)

    def define(self, event: Event, blobs: tuple[tuple[bytes, bytes], ...], may_fail: bool) -> Commit:
        """Take on what an event of the registry's makes of the job's row; of a new job, all of it."""
        return self._write(event, None, blobs, may_fail)

    def _write(
        self, event: Event, run_row: RunRow | None, blobs: tuple[tuple[bytes, bytes], ...], may_fail: bool
    ) -> Commit:
        job_row = apply_job(self.row, event)
        changed = job_row if job_row is not self.row else None
        commit = self._journal.record(event, run_row, changed, blobs, may_fail, if_there=self._fleeting)
        self.row = job_row
        return commit
