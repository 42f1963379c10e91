"""Definitions in the database: found by owner, and no text is kept that no row names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from jobd.core.records import CHANGED, DEFINED, PROPERTY_SET, Event, JobRow, job_data
from jobd.core.spec import digest
from jobd.store.db import Batch
from jobd.store.retention import Policy
from jobd.store.usage import usage

from .helpers import ENV, OWNER, SPEC, Book, assert_rows_equal_replay, run_id
from .test_retention import HUGE, retain

if TYPE_CHECKING:
    from pathlib import Path


def define(book: Book, name: str, text: bytes, owner: int = OWNER, **fields: object) -> JobRow:
    """Write a definition, or another in its place."""
    book.now += 1
    old = book.jobs.get((owner, name))
    new = JobRow(owner=owner, job=name, spec=digest(SPEC), env=digest(ENV), created_at=1, transient=False)
    row = replace(old or new, source=digest(text), **fields)
    event = Event(
        seq=book.store.next_event_seq(), at=book.now, kind=CHANGED if old else DEFINED, owner=owner, job=name,
        data=job_data(row, old),
    )  # fmt: skip
    book.jobs[owner, name] = row
    blobs = tuple((digest(data), data) for data in (SPEC, ENV, text))
    batch = Batch((event,), jobs=(row,), blobs=blobs, tag=name)
    book.store.submit(batch)
    book.durable(batch)
    return row


def test_definitions_by_owner(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        rows = [define(book, name, name.encode()) for name in ("a", "b1", "b2")]
        other = define(book, "a", b"a", owner=7, enabled=True)
        book.durable(book.accept(run_id(1)))  # a transient one
        store = book.store
        assert store.defined(OWNER) == rows
        assert store.defined(OWNER, prefix="b") == rows[1:]
        assert store.defined(OWNER, after="a", limit=1) == [rows[1]]
        assert store.defining_owners() == [7, OWNER]
        assert store.enabled() == [other]
        assert_rows_equal_replay(store)


def test_a_text_goes_with_the_last_row_that_names_it(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        define(book, "a", b"shared")
        define(book, "b", b"shared")
        define(book, "a", b"another")
        assert book.store.blob(digest(b"shared")) == b"shared"
        define(book, "b", b"another")
        assert book.store.blob(digest(b"shared")) is None
        define(book, "b", b"another", enabled=True)  # the same text again
        assert book.store.blob(digest(b"another")) == b"another"
        assert usage(tmp_path / "state.db", OWNER).blobs == len(SPEC) + len(ENV) + len(b"another")
        assert book.store.has_blob(OWNER, digest(b"another"))
        assert not book.store.has_blob(7, digest(b"another"))


def test_retention_takes_runs_and_never_the_definition(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        define(book, "make-1", b"its text")
        book.durable(book.accept(run_id(1), transient=False))
        book.durable(book.finish(run_id(1), "success", out_bytes=1))
        assert retain(book, Policy(keep_runs=0, log_share=1.0, log_bytes_per_owner=HUGE)).runs == 1
        row = book.store.job(OWNER, "make-1")
        assert row is not None
        assert book.store.blob(digest(b"its text")) == b"its text"
        assert book.store.blob(row.spec) == SPEC
        assert_rows_equal_replay(book.store)


def test_a_run_that_goes_on_may_name_another_definition(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        book.durable(book.accept(run_id(1)))
        other, last = b"other spec", b"last spec"
        for text in (other, last):
            book.now += 1
            old_run, old_job = book.runs[run_id(1)], book.jobs[OWNER, "make-1"]
            run, job = replace(old_run, spec=digest(text)), replace(old_job, spec=digest(text))
            event = Event(
                seq=book.store.next_event_seq(), at=book.now, kind=PROPERTY_SET, owner=OWNER, job="make-1",
                run=run_id(1), data={"spec": run.spec, "job.spec": job.spec},
            )  # fmt: skip
            book.runs[run_id(1)], book.jobs[OWNER, "make-1"] = run, job
            batch = Batch((event,), runs=(run,), jobs=(job,), blobs=((digest(text), text),), tag=text)
            book.store.submit(batch)
            book.durable(batch)
            assert book.store.run(OWNER, run_id(1)) == run
            assert_rows_equal_replay(book.store)
        assert book.store.blob(digest(last)) == last
        assert book.store.blob(digest(other)) is None
        assert book.store.blob(digest(SPEC)) is None
