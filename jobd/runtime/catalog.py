"""What jobs are: their rows, live or at rest, and the one way to change the row of a job that nobody walks.

A definition in force is its job's row. For a change of a job at rest a Job is made for the moment, and is in the
registry until the change is durable: who looks sees the change, and who starts the job builds on it, so that a job
still has one owner. What such a change brings along (definitions, environments, texts) can be asked for from the first
moment, too.

An instance of a template (`web@8080`) that nobody has started, enabled or changed has no row. It is made up from the
template's text whenever it is asked for, and written with the first thing that happens to it.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jobd.core import plan, records, states
from jobd.core.records import BY_GID, Event, JobRow, job_data
from jobd.runtime.graphs import Graphs
from jobd.runtime.instances import Blobs, Instances, Key
from jobd.runtime.job import Job
from jobd.store.db import Removal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jobd.core.records import Data
    from jobd.runtime.job import Caller
    from jobd.runtime.journal import Commit
    from jobd.runtime.registry import Registry


class Defined(Exception):  # noqa: N818  # an answer, not an error of ours
    """The job has a definition, or is masked: no other command can have its name."""

    def __init__(self, row: JobRow) -> None:
        super().__init__(row.job)
        self.row = row


class Catalog:
    """The rows of jobs. One a registry, which owns the live ones."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.graphs = Graphs(registry)
        self._pending: dict[Job, int] = {}  # changes on their way to the disk
        self._fresh: dict[bytes, tuple[int, bytes]] = {}  # blobs on their way, and how many changes bring each
        self.instances = Instances(self.written)

    # --- looking --------------------------------------------------------------------------------------------------
    def row(self, owner: int, name: str) -> JobRow | None:
        """A job's row as it is now."""
        row = self.written(owner, name)
        return row if row is not None else self.instances.row(owner, name, within_means=False)

    def asked(self, owner: int, name: str) -> JobRow | None:
        """The same, of a name that somebody has made up: raises LimitReached for too many instances of templates."""
        row = self.written(owner, name)
        return row if row is not None else self.instances.row(owner, name, within_means=True)

    def written(self, owner: int, name: str) -> JobRow | None:
        """The same; an instance of a template that nobody has started or changed has none."""
        job = self._registry.jobs.get((owner, name))
        return self._registry.store.job(owner, name) if job is None else job.row

    def defined(self, owner: int) -> dict[str, JobRow]:
        """All jobs of an owner that are not transient, as they are now; also those whose definition is broken or gone.

        Instances of templates are among them only if they have a row.
        """
        rows = {row.job: row for row in self._registry.store.defined(owner)}
        for (uid, name), job in self._registry.jobs.items():
            if uid == owner:
                rows.pop(name, None)
                if not job.row.transient:
                    rows[name] = job.row
        return rows

    def defined_after(self, owner: int, after: str, limit: int) -> list[JobRow]:
        """The same, a page of them: by name, from behind one; empty when there are no more."""
        page = self._registry.store.defined(owner, after=after, limit=limit)
        rows = {row.job: row for row in page}
        last = page[-1].job if len(page) == limit else "\U0010ffff"
        for (uid, name), job in self._registry.jobs.items():
            if uid == owner and after < name <= last:
                rows.pop(name, None)
                if not job.row.transient:
                    rows[name] = job.row
        if page and not rows:  # all of them are something else by now
            return self.defined_after(owner, last, limit)
        return [rows[name] for name in sorted(rows)]

    def count_defined(self, owner: int, name: str) -> int:
        """How many of these there are besides one; while others are on their way to the disk, a few too many."""
        fresh = sum(job.row.owner == owner and job.row.job != name and not job.row.transient for job in self._pending)
        row = self._registry.store.job(owner, name)
        return self._registry.store.count_defined(owner) + fresh - (row is not None and not row.transient)

    def blob(self, key: bytes) -> bytes | None:
        """The bytes with this hash, written or on their way."""
        fresh = self._fresh.get(key)
        if fresh is not None:
            return fresh[1]
        found = self._registry.store.blob(key)
        return self.instances.blobs.get(key) if found is None else found

    # --- changing -------------------------------------------------------------------------------------------------
    def write(
        self,
        row: JobRow,
        kind: str,
        by: Caller | None,
        blobs: Iterable[tuple[bytes, bytes]] = (),
        may_fail: bool = False,
        more: Data | None = None,
    ) -> Commit:
        """Make this the job's row: one event with it and the blobs that it names, in one transaction.

        Args:
            row: made from what `row` gave, without an await in between; its state is not changed by this.
            kind: of the event, e.g. records.DEFINED.
            by: who asked, if somebody did.
            blobs: what the store may not have yet.
            may_fail: give up on a full disk; only for a job that nobody walks.
            more: what the event says besides, about the act.
        """
        key = (row.owner, row.job)
        job = self._registry.jobs.get(key)
        old = self._registry.store.job(*key) if job is None else job.row
        blobs = tuple(blobs)
        row = self._registry.schedule.adjusted(row, old, blobs)
        event = Event(
            seq=self._registry.store.next_event_seq(), at=time.time_ns(), kind=kind, owner=row.owner, job=row.job,
            by_uid=None if by is None else by.uid, by_pid=None if by is None else by.pid,
            data={**job_data(row, old), **({} if by is None else {BY_GID: by.gid}), **(more or {})},
        )  # fmt: skip
        assert old is None or row.sub == old.sub, "a state is changed by Job.fire alone"
        carried = {**dict(blobs), **self._carried(row, old)}
        if job is None:
            fleeting = old is not None and old.transient  # retention may take such a one
            job = Job(row if old is None else old, self._registry.journal, fleeting=fleeting)
            self._registry.jobs[key] = job
        self._hold(job)
        for digest, data in carried.items():
            self._fresh[digest] = self._fresh.get(digest, (0, b""))[0] + 1, data
        self._registry.note_owner(row.owner)
        walked = job.run is not None or job.row.sub not in states.AT_REST
        commit = job.define(event, tuple(carried.items()), may_fail and not walked)
        self.graphs.know(row)
        self._registry.schedule.know(row)
        commit.then(lambda: self._settled(job, tuple(carried), commit))
        return commit

    def carried(self, row: JobRow) -> Blobs:
        """What a job's row names and the store may not have yet, for whoever writes a row from `row` by himself."""
        return tuple(self._carried(row, None).items())

    def _carried(self, row: JobRow, old: JobRow | None) -> dict[bytes, bytes]:
        if old is not None and not self._fresh:
            return {}
        found = {}
        for digest in (row.spec, row.env, row.source):
            if digest is None:
                continue
            fresh = self._fresh.get(digest)
            if fresh is not None:
                found[digest] = fresh[1]
            elif old is None and digest in self.instances.blobs:
                found[digest] = self.instances.blobs[digest]
        return found

    def _settled(self, job: Job, blobs: tuple[bytes, ...], commit: Commit) -> None:
        for digest in blobs:
            count, data = self._fresh.pop(digest)
            if count > 1:
                self._fresh[digest] = count - 1, data
        self._let_go(job)
        if commit.error is not None:  # its dependencies are what they were before
            row = self.written(job.row.owner, job.row.job)
            if row is None:
                self.graphs.forget(job.row.owner, job.row.job)
                self._registry.schedule.forget(job.row.owner, job.row.job)
            else:
                self.graphs.know(row)
                self._registry.schedule.know(row)

    @contextmanager
    def holding(self, row: JobRow) -> Iterator[Job]:
        """A Job for a row at rest, in the registry meanwhile, for a change of its state."""
        job = Job(row, self._registry.journal, fleeting=row.transient)
        self._registry.jobs[row.owner, row.job] = job
        self._hold(job)
        try:
            yield job
        finally:
            self._let_go(job)

    def _hold(self, job: Job) -> None:
        self._pending[job] = self._pending.get(job, 0) + 1

    def _let_go(self, job: Job) -> None:
        self._pending[job] -= 1
        if not self._pending[job]:
            del self._pending[job]
            self._registry.let_go(job)

    def is_pending(self, job: Job) -> bool:
        """Whether changes of the job are on their way: then it stays in the registry until they are durable."""
        return job in self._pending

    def is_kept(self, row: JobRow) -> bool:
        """Whether something keeps a job that has this row: its definition, what somebody wants, its state, a run."""
        job = self._registry.jobs.get((row.owner, row.job))
        return not plan.is_idle_leftover(row) or (job is not None and job.run is not None)

    def tidy(self, row: JobRow) -> None:
        """Take a job's row away if its definition has gone and nothing else keeps it. Call when it has come to rest."""
        if not self.is_kept(row):
            self.remove((row.owner, row.job), None)

    def tidy_key(self, owner: int, name: str) -> None:
        """The same, by the job's name."""
        row = self.written(owner, name)
        if row is not None:
            self.tidy(row)

    def remove(self, key: Key, by: Caller | None, purge_upto: int | None = None) -> Commit:
        """Take a job's row away; nobody walks it. With a number, its runs up to this one go too."""
        self._registry.jobs.pop(key, None)  # one that is there for the moment
        self.graphs.forget(*key)
        self._registry.schedule.forget(*key)
        event = Event(
            seq=self._registry.store.next_event_seq(), at=time.time_ns(), kind=records.REMOVED,
            owner=key[0], job=key[1],
            by_uid=None if by is None else by.uid, by_pid=None if by is None else by.pid,
            data={} if by is None else {BY_GID: by.gid},
        )  # fmt: skip
        return self._registry.journal.record(event, None, None, removes=Removal(purge_upto), if_there=True)


def check_undefined(row: JobRow | None) -> None:
    """Raises Defined, if this is the row of a job."""
    if row is not None and (row.masked or not row.transient):
        raise Defined(row)
