"""Jobs that somebody removes: the name goes, runs and logs stay or go in small steps, and a replay ends the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobd.core.records import REMOVED, Event, apply_job
from jobd.core.runfilter import RunFilter
from jobd.store import retention
from jobd.store.db import Batch, Removal
from jobd.store.retention import Policy, Purge

from .helpers import BLOBS, OWNER, Book, assert_rows_equal_replay, run_id
from .test_retention import HUGE, left, logs_of, retain

if TYPE_CHECKING:
    from pathlib import Path

JOB = "make-1"


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "STEP_RUNS", 3)


def removal(book: Book, job: str = JOB, *, purge: bool = False) -> Batch:
    """The batch that takes a job away, not handed in yet."""
    book.now += 1
    event = Event(seq=book.store.next_event_seq(), at=book.now, kind=REMOVED, owner=OWNER, job=job, by_uid=OWNER)
    return Batch((event,), removes=Removal(book.store.next_run_seq() if purge else None), if_there=True, tag="removal")


def remove(book: Book, job: str = JOB, *, purge: bool = False) -> Batch:
    batch = removal(book, job, purge=purge)
    book.store.submit(batch)
    return book.durable(batch)


def reset(book: Book, job: str = JOB) -> Batch:
    """As `reset-failed`: a change of a job at rest, if it is there."""
    book.now += 1
    data = {"job.sub": "dead", "job.active": "inactive", "job.result": "success", "job.changed_at": book.now}
    event = Event(
        seq=book.store.next_event_seq(), at=book.now, kind="reset-failed", owner=OWNER, job=job,
        data=data,  # type: ignore[arg-type]  # a dict of the values' own types
    )  # fmt: skip
    row = apply_job(book.jobs[OWNER, job], event)
    batch = Batch((event,), jobs=(row,), if_there=True, tag="reset")
    book.store.submit(batch)
    return book.durable(batch)


def some_runs(book: Book, numbers: range, job: str = JOB, result: str = "success") -> None:
    for n in numbers:
        book.accept(run_id(n), job)
        last = book.finish(run_id(n), result, out_bytes=1)
    book.durable(last)


def purge(book: Book, steps: int = 1000) -> Purge:
    """A whole purge, or so many steps of it, in this thread."""
    assert book.store._writer is not None
    one = Purge(book.store.fetch, book.store._writer.call, book.store.state_dir, Policy(), book.now, HUGE)
    while steps and one.step():
        steps -= 1
    return one


def kinds(book: Book) -> list[str]:
    return [event.kind for event in book.store.events_page()]


def test_the_row_goes_and_the_runs_stay(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        some_runs(book, range(3))
        some_runs(book, range(3, 5), "other")
        assert not remove(book).void
        assert book.store.job(OWNER, JOB) is None
        assert left(book) == [0, 1, 2, 3, 4]
        assert book.store.highest_number(OWNER, JOB) == 3
        assert book.store.is_used(OWNER, JOB)
        assert book.store.blob(BLOBS[0][0]) is not None
        assert kinds(book)[-1] == REMOVED
        assert assert_rows_equal_replay(book.store) == (1, 5)
    with Book(tmp_path) as book:
        assert assert_rows_equal_replay(book.store) == (1, 5)


def test_what_is_not_there_is_not_removed_and_not_recorded(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        some_runs(book, range(1))
        assert not remove(book).void
        count = len(kinds(book))
        assert remove(book).void
        assert remove(book, "never-there").void
        assert reset(book).void
        assert len(kinds(book)) == count
        assert book.store.job(OWNER, JOB) is None


def test_a_name_that_is_used_again_has_the_old_runs_too(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        some_runs(book, range(2))
        remove(book)
        some_runs(book, range(2, 4))  # the book counts on from its own row, as the registry does from the store
        assert [r.number for r in book.store.runs_page(RunFilter(jobs=[(OWNER, JOB)])).rows] == [4, 3, 2, 1]
        assert assert_rows_equal_replay(book.store) == (1, 4)
        retain(book, Policy(keep_runs=1))
        assert left(book) == [3]
        assert REMOVED not in kinds(book)  # all that it explained is gone
        assert assert_rows_equal_replay(book.store) == (1, 1)


def test_removed_and_used_again_in_one_transaction(tmp_path: Path) -> None:
    for order in ("remove, accept", "accept, remove"):
        directory = tmp_path / order[:3]
        directory.mkdir()
        book = Book(directory)
        with book:
            some_runs(book, range(1))
        book = Book(directory)
        book.jobs[OWNER, JOB] = book.store.job(OWNER, JOB)  # type: ignore[assignment]  # it is there
        first = removal(book)
        book.store.start(book.woken.set)
        if order.startswith("remove"):
            book.store.submit(first)
            last = book.accept(run_id(1), JOB)
        else:  # as if a run had come and gone in no time
            book.accept(run_id(1), JOB)
            book.finish(run_id(1))
            last = first
            book.store.submit(first)
        book.durable(last)
        assert (book.store.job(OWNER, JOB) is not None) is order.startswith("remove")
        if order.startswith("remove"):
            assert_rows_equal_replay(book.store)
        book.store.close()


def test_the_last_run_of_a_removed_job_takes_its_events_and_blobs_along(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        some_runs(book, range(7))
        remove(book)
        retain(book, Policy(keep_runs=2))
        assert left(book) == [5, 6]
        assert kinds(book)[-1] == REMOVED
        assert assert_rows_equal_replay(book.store) == (0, 2)
        retain(book, Policy(keep_runs=0))
        assert (left(book), kinds(book)) == ([], [])
        assert not book.store.is_used(OWNER, JOB)
        assert book.store.blob(BLOBS[0][0]) is None
        assert book.store.removed_events(OWNER) > 0  # readers are told


def test_a_job_without_runs_leaves_nothing(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        book.accept(run_id(0), JOB, transient=False)
        book.durable(book.finish(run_id(0)))
        retain(book, Policy(keep_runs=0))
        assert kinds(book) == ["retired"]
        remove(book)
        assert kinds(book) == []
        assert book.store.blob(BLOBS[0][0]) is None
        assert assert_rows_equal_replay(book.store) == (0, 0)


def test_a_reset_is_written_if_the_job_is_there(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        some_runs(book, range(2), result="exit-code")
        assert not reset(book).void
        row = book.store.job(OWNER, JOB)
        assert row is not None
        assert (row.active, row.sub, row.result) == ("inactive", "dead", "success")
        assert_rows_equal_replay(book.store)
        retain(book, Policy(keep_runs=1))
        assert kinds(book).count("reset-failed") == 1  # younger than the run that is left
        assert_rows_equal_replay(book.store)
        retain(book, Policy(keep_runs=0))  # the job goes with its last run
        assert reset(book).void
        assert (book.store.job(OWNER, JOB), kinds(book)) == (None, [])


def test_old_changes_of_the_job_itself_do_not_pile_up(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        for n in range(6):
            some_runs(book, range(n, n + 1), result="exit-code")
            reset(book)
        retain(book, Policy(keep_runs=2))
        assert kinds(book).count("reset-failed") == 2
        assert_rows_equal_replay(book.store)


# --- purge ----------------------------------------------------------------------------------------------------------
def test_a_purge_takes_runs_events_and_logs_and_nothing_else(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        some_runs(book, range(8))
        some_runs(book, range(8, 10), "other")
        directories = [logs_of(book, run_id(n)) for n in range(10)]
        remove(book, purge=True)
        assert book.store.is_purging(OWNER, JOB)
        assert not book.store.is_purging(OWNER, "other")
        purge(book)
        assert left(book) == [8, 9]
        assert [directory.exists() for directory in directories] == [False] * 8 + [True] * 2
        assert not book.store.is_purging(OWNER, JOB)
        assert not book.store.has_events(OWNER, JOB)
        assert book.store.highest_number(OWNER, JOB) == 0
        assert book.store.fetch("SELECT * FROM trash") == []
        assert assert_rows_equal_replay(book.store) == (1, 2)


def test_a_run_that_comes_while_the_old_ones_go_stays(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        some_runs(book, range(5))
        remove(book, purge=True)
        some_runs(book, range(5, 7))
        kept = logs_of(book, run_id(6))
        purge(book)
        assert left(book) == [5, 6]
        assert kept.exists()
        assert assert_rows_equal_replay(book.store) == (1, 2)
        remove(book, purge=True)
        purge(book)
        assert (left(book), kinds(book)) == ([], [])


def test_a_run_under_the_next_daemon_has_a_number_of_its_own(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        some_runs(book, range(4))
        remove(book, purge=True)
    with Book(tmp_path) as book:
        some_runs(book, range(4, 5))
        purge(book)
        assert book.store.run(OWNER, run_id(4)) is not None
        assert len(book.store.runs_page().rows) == 1


@pytest.mark.parametrize("steps", range(9))
def test_a_daemon_that_dies_at_any_step_leaves_the_rest_to_the_next(tmp_path: Path, steps: int) -> None:
    with Book(tmp_path) as book:
        some_runs(book, range(8))
        directories = [logs_of(book, run_id(n)) for n in range(8)]
        remove(book, purge=True)
        purge(book, steps)
        assert_rows_equal_replay(book.store)
    with Book(tmp_path) as book:
        book.store.purge()
        book.until_quiet()
        assert book.store.runs_page().rows == []
        assert not any(directory.exists() for directory in directories)
        assert not book.store.is_purging(OWNER, JOB)
        assert kinds(book) == []


def test_a_live_run_is_never_purged(tmp_path: Path) -> None:
    """There should be none when a job is removed; if there is, it is left to retention."""
    with Book(tmp_path) as book:
        some_runs(book, range(2))
        book.durable(book.accept(run_id(2), "other"))
        book.durable(book.change(run_id(2), "x", {"job.active": "active"}))
        remove(book, "other", purge=True)
        purge(book)
        assert left(book) == [0, 1, 2]


@pytest.mark.slow
def test_the_store_does_it_in_the_background_and_wakes_who_waits(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        book.until_quiet()
        book.store.purge()  # nothing to do
        assert not book.store.busy_in_background()
        some_runs(book, range(7))
        remove(book, purge=True)
        book.store.purge()
        while book.store.is_purging(OWNER, JOB):
            assert book.woken.wait(30)
            book.woken.clear()
        book.until_quiet()
        assert left(book) == []
