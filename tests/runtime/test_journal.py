"""Changes that belong together are one transaction."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from jobd.core.records import QUEUE_ADDED, QUEUE_REMOVED, Event, QueueRow
from jobd.runtime.journal import Journal

if TYPE_CHECKING:
    from jobd.store.batch import Batch


class Submitted:
    """A store that only notes what it is handed."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def submit(self, batch: Batch) -> None:
        self.batches.append(batch)


def event(seq: int) -> Event:
    return Event(seq=seq, at=0, kind="x", owner=0, job="a")


async def test_changes_within_together_are_one_batch_and_have_one_commit() -> None:
    store = Submitted()
    journal = Journal(store)  # type: ignore[arg-type]  # a double
    with journal.together() as commit:
        first = journal.record(event(2), None, None, may_fail=True)
        with journal.together() as inner:
            second = journal.record(event(4), None, None, blobs=((b"h", b"data"),))
        assert not store.batches
    third = journal.record(event(6), None, None, may_fail=True)
    assert first is second is inner is commit is not third
    assert [[e.seq for e in batch.events] for batch in store.batches] == [[2, 4], [6]]
    assert [batch.may_fail for batch in store.batches] == [False, True], "one that may not fail decides for all"
    assert store.batches[0].blobs == ((b"h", b"data"),)
    await trio.lowlevel.checkpoint()


async def test_a_queues_change_is_durable_with_what_begins_by_it() -> None:
    store = Submitted()
    journal = Journal(store)  # type: ignore[arg-type]  # a double
    settled: list[int] = []
    with journal.together() as commit:
        for seq in range(2000):
            journal.record(event(seq), None, None).then(partial(settled.append, seq))
        row = QueueRow(owner=0, name="q", slots=1, created_at=1)
        journal.record_queue(Event(seq=2000, at=0, kind=QUEUE_ADDED, owner=0, job=""), row)
        journal.record_queue(Event(seq=2001, at=0, kind=QUEUE_REMOVED, owner=0, job=""), row)
    (batch,) = store.batches
    assert [e.seq for e in batch.events] == list(range(2002))
    assert (batch.queues, batch.no_queues, batch.tag) == ((row,), ((0, "q"),), commit)
    commit.settle(None)
    assert settled == list(range(2000))
    await trio.lowlevel.checkpoint()


async def test_nothing_together_is_durable_at_once() -> None:
    store = Submitted()
    with Journal(store).together() as commit:  # type: ignore[arg-type]  # a double
        pass
    await commit.wait()
    assert not store.batches


async def test_what_was_recorded_before_an_error_is_submitted() -> None:
    store = Submitted()
    journal = Journal(store)  # type: ignore[arg-type]  # a double

    def fails() -> None:
        with journal.together():
            journal.record(event(2), None, None)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert len(store.batches) == 1
    await trio.lowlevel.checkpoint()


async def test_what_may_be_void_is_alone() -> None:
    journal = Journal(Submitted())  # type: ignore[arg-type]  # a double
    with journal.together():
        assert journal.takes_more
        journal.record(event(1), None, None, if_there=True)
        assert not journal.takes_more
    assert journal.takes_more
    with journal.together():
        journal.record(event(2), None, None)
        assert journal.takes_more
        with pytest.raises(AssertionError, match="part of another"):
            journal.record(event(4), None, None, if_there=True)
    await trio.lowlevel.checkpoint()
