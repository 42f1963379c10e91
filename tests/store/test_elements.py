"""Arrays in the database: their elements, how these ended, and what retention makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobd.core.records import Event, JobRow, job_data
from jobd.store.batch import Batch
from jobd.store.retention import Policy

from .helpers import BLOBS, OWNER, Book, assert_rows_equal_replay, run_id
from .test_retention import left, retain

if TYPE_CHECKING:
    from pathlib import Path

FAILED = {"job.active": "failed", "job.sub": "failed", "job.result": "exit-code"}


def array(book: Book, name: str, active: str, sub: str, result: str = "success") -> None:
    """The row of a whole array."""
    row = JobRow(
        owner=OWNER, job=name, spec=BLOBS[0][0], env=BLOBS[1][0], created_at=1, latest=run_id(99), runs=2, array="0-1",
        active=active, sub=sub, result=result,
    )  # fmt: skip
    seq = book.store.next_event_seq()
    event = Event(seq=seq, at=1, kind="accepted", owner=OWNER, job=name, data=job_data(row))
    book.store.submit(Batch(events=(event,), jobs=(row,), blobs=BLOBS))


def element(book: Book, number: int, name: str, result: str = "success") -> None:
    """An element, which has ended."""
    book.accept(run_id(number), name)
    failed = FAILED if result == "exit-code" else {}
    book.finish(run_id(number), result)
    stem = name.rpartition("@")[0]
    book.change(run_id(number), "of", {"job.array_of": stem, "array_index": number, **failed})


def test_its_elements_are_found_and_counted_and_only_the_whole_is_listed(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        array(book, "train-1", active="activating", sub="queued")
        array(book, "train-2", active="failed", sub="failed", result="exit-code")
        for n in range(3):
            element(book, n, f"train-1@{n}", "exit-code" if n == 1 else "success")
        book.accept(run_id(7), "train-10@1")
        book.durable(book.change(run_id(7), "of", {"job.array_of": "train-10"}))
        store = book.store
        assert sorted(store.elements(OWNER, "train-1")) == [f"train-1@{n}" for n in range(3)]
        assert store.element_results(OWNER, "train-1") == {"success": 2, "exit-code": 1}
        assert store.elements(OWNER + 1, "train-1") == store.elements(OWNER, "") == []
        assert [row.job for row in store.live_arrays()] == ["train-1"]
        assert [row.job for row in store.jobs_page(owner=OWNER)] == ["train-1", "train-2"]
        assert "train-1@1" in [row.job for row in store.jobs_page(owner=OWNER, every=True)]
        names = ("train-1", "train-10", "train-1@0", "train", "train-3", "train-1@")
        assert [name for name in names if store.is_used(OWNER, name)] == ["train-1", "train-10", "train-1@0"]


def test_an_array_at_rest_goes_with_its_last_element(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        array(book, "train-1", active="failed", sub="failed", result="exit-code")
        array(book, "train-2", active="activating", sub="queued")  # others of it are still to come
        for n in range(4):
            element(book, n, f"train-{1 + n % 2}@{n}")
        book.durable(book.accept(run_id(4), "web@1"))
        first = retain(book, Policy(keep_for_ns=0), now=book.runs[run_id(0)].finished_at)
        assert first.removed == []
        done = retain(book, Policy(keep_for_ns=0), now=book.now + 1)
        assert left(book) == [4]
        assert (OWNER, "train-1") in done.removed
        assert [row.job for row in book.store.jobs_page(owner=OWNER, every=True)] == ["train-2", "web@1"]
        assert_rows_equal_replay(book.store)
