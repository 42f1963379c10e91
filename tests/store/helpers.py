"""A small supervisor's bookkeeping: makes changes as the runtime does, and waits for them without sleeping."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from jobd.core.records import (
    FINISHED,
    QUEUE_REMOVED,
    Data,
    Event,
    JobRow,
    QueueRow,
    Replay,
    RunRow,
    apply_job,
    apply_run,
    job_data,
    queue_data,
)
from jobd.core.spec import digest
from jobd.store.db import Batch, Store

if TYPE_CHECKING:
    from pathlib import Path

DEADLINE_SEC = 30.0
SPEC, ENV = b"a spec", b"HOME=/\0" * 20
BLOBS = ((digest(SPEC), SPEC), (digest(ENV), ENV))
OWNER = 1000
ACTIVE: Data = {"job.active": "active", "job.sub": "running"}
REST: Data = {"job.active": "inactive", "job.sub": "dead"}


class Book:
    """A store with its rows as the runtime would hold them."""

    def __init__(self, state_dir: Path, *, boot_id: str = "boot-1") -> None:
        self.store = Store.open(state_dir, boot_id=boot_id)
        self.woken = threading.Event()
        self.done: list[Batch] = []
        self.jobs: dict[tuple[int, str], JobRow] = {}
        self.runs: dict[bytes, RunRow] = {}
        self.now = 1_000_000

    def start(self) -> Book:
        self.store.start(self.woken.set)
        return self

    def __enter__(self) -> Book:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.store.close()

    def _submit(self, event: Event, tag: object, may_fail: bool, blobs: tuple[tuple[bytes, bytes], ...] = ()) -> Batch:
        key = (event.owner, event.job)
        job = self.jobs[key] = apply_job(self.jobs.get(key), event)
        runs: tuple[RunRow, ...] = ()
        if event.run is not None:
            run = self.runs[event.run] = apply_run(self.runs.get(event.run), event)
            runs = (run,)
        batch = Batch(events=(event,), runs=runs, jobs=(job,), blobs=blobs, tag=tag, may_fail=may_fail)
        self.store.submit(batch)
        return batch

    def accept(
        self, run: bytes, job: str = "make-1", owner: int = OWNER, *, transient: bool = True, may_fail: bool = False,
        blobs: tuple[tuple[bytes, bytes], ...] = BLOBS, queue: str = "",
    ) -> Batch:  # fmt: skip
        """Accept a run."""
        self.now += 1
        old = self.jobs.get((owner, job))
        number = 1 if old is None else old.runs + 1
        row = JobRow(
            owner=owner, job=job, spec=blobs[0][0], env=blobs[1][0], transient=transient, latest=run, runs=number,
            created_at=self.now if old is None else old.created_at, changed_at=self.now,
        )  # fmt: skip
        data: Data = {
            "seq": self.store.next_run_seq(), "number": number, "spec": row.spec, "env": row.env, "by_uid": owner,
            "queued_at": self.now, "queue": queue, **job_data(row),
        }  # fmt: skip
        event = Event(
            seq=self.store.next_event_seq(), at=self.now, kind="accepted", owner=owner, job=job, run=run, data=data
        )
        return self._submit(event, ("accept", run), may_fail, blobs)

    def queue(self, kind: str, row: QueueRow) -> Batch:
        """Add, set or remove a queue."""
        seq = self.store.next_event_seq()
        event = Event(seq=seq, at=row.created_at, kind=kind, owner=row.owner, job="", by_uid=0, data=queue_data(row))
        gone = kind == QUEUE_REMOVED
        keys = ((row.owner, row.name),) if gone else ()
        batch = Batch(events=(event,), queues=() if gone else (row,), no_queues=keys, may_fail=True)
        self.store.submit(batch)
        return batch

    def change(self, run: bytes, kind: str, data: Data) -> Batch:
        """Change an accepted run."""
        self.now += 1
        row = self.runs[run]
        event = Event(
            seq=self.store.next_event_seq(), at=self.now, kind=kind, owner=row.owner, job=row.job, run=run, data=data
        )
        return self._submit(event, (kind, run), may_fail=False)

    def finish(self, run: bytes, result: str = "success", out_bytes: int = 0) -> Batch:
        """The rest of a run's life, in three changes."""
        self.change(run, "started", {"state": "running", "pid": 7, "started_at": self.now, **ACTIVE})
        self.change(run, "exited", {"state": FINISHED, "exit_code": 0, "result": result, "exited_at": self.now, **REST})
        closed: Data = {"closed": True, "finished_at": self.now, "out_bytes": out_bytes, "err_bytes": 0}
        return self.change(run, "closed", closed)

    def wait(self, batch: Batch) -> Batch:
        """Wait until the batch is settled."""
        deadline = time.monotonic() + DEADLINE_SEC
        while batch not in self.done:
            self.woken.clear()
            self.done += self.store.completions()
            if batch not in self.done:
                assert self.woken.wait(max(0.0, deadline - time.monotonic())), "the store did not answer"
        return batch

    def durable(self, batch: Batch) -> Batch:
        """Wait until the batch is durable."""
        self.wait(batch)
        assert batch.error is None, batch.error
        return batch

    def until_quiet(self) -> None:
        """Wait for the end of background work."""
        deadline = time.monotonic() + DEADLINE_SEC
        while self.store.busy_in_background():
            assert time.monotonic() < deadline, "background work did not end"
            time.sleep(0.002)


def run_id(n: int) -> bytes:
    """A run id."""
    return n.to_bytes(4, "big") + b"\x70\x00\x80\x00" + (n * 2654435761 % 2**64).to_bytes(8, "big")


def replayed(store: Store) -> Replay:
    """All events, applied."""
    replay = Replay()
    after = 0
    while page := store.events_page(after, 500):
        for event in page:
            replay.feed(event)
        after = page[-1].seq
    return replay


def assert_rows_equal_replay(store: Store) -> tuple[int, int]:
    """The tables say what the events say. Returns how many jobs and runs there are."""
    replay = replayed(store)
    jobs: dict[tuple[int, str], JobRow] = {}
    after: tuple[int, str] | None = None
    while rows := store.jobs_page(every=True, after=after, limit=100):
        jobs |= {(row.owner, row.job): row for row in rows}
        after = (rows[-1].owner, rows[-1].job)
    runs: dict[tuple[int, bytes], RunRow] = {}
    before: int | None = None
    while True:
        page = store.runs_page(before=before, limit=200)
        runs |= {(row.owner, row.run): row for row in page.rows}
        before = page.more
        if before is None:
            break
    assert runs == replay.runs
    assert jobs == replay.jobs
    assert {(row.owner, row.name): row for row in store.queues()} == replay.queues
    return len(jobs), len(runs)
