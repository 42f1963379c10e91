"""The trio side of the store: hands over changes in order, and tells when they are durable.

A change is one event with the rows it makes, committed in one transaction. Nothing here blocks: the store's writer
thread commits whatever has gathered (group commit) and wakes the loop once for all of it.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from itertools import chain
from typing import TYPE_CHECKING

import trio

from jobd.core.records import QUEUE_REMOVED
from jobd.runtime.wake import Changed
from jobd.runtime.waking import wake
from jobd.store.db import Batch, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jobd.core.records import Event, JobRow, QueueRow, RunRow
    from jobd.runtime.job import Job
    from jobd.store.db import Removal


class NotDurable(Exception):  # noqa: N818  # what is the case, not an error of ours
    """A change that was allowed to fail could not be written; the text says why."""


class Commit:
    """One change on its way to the disk."""

    __slots__ = ("_event", "_then", "done", "error")

    def __init__(self) -> None:
        self.done = False
        self.error: Exception | None = None
        self._event: trio.Event | None = None
        self._then: list[Callable[[], None]] | None = None  # most have none

    def settle(self, error: Exception | None) -> None:
        """Called once, when the change is durable or has failed."""
        self.done, self.error = True, error
        if self._event is not None:
            self._event.set()
        for call in self._then or ():
            call()

    def then(self, call: Callable[[], None]) -> None:
        """Have this called when it is settled."""
        if self.done:
            call()
        elif self._then is None:
            self._then = [call]
        else:
            self._then.append(call)

    async def wait(self) -> None:
        """Return when the change is durable.

        Raises:
            NotDurable: it could not be written (only for changes submitted with `may_fail`).

        Cancelling stops the waiting; the change is written all the same.
        """
        if not self.done:
            if self._event is None:
                self._event = trio.Event()
            await self._event.wait()
        if self.error is not None:
            raise NotDurable(str(self.error)) from self.error


class _Bundle:
    """What is gathered by `together`: changes, in order, and the one Commit of all."""

    __slots__ = ("_changes", "commit")

    def __init__(self) -> None:
        self._changes: list[Batch] = []  # joined when all are there: there may be thousands
        self.commit = Commit()

    @property
    def takes_more(self) -> bool:
        """Whether another change may come to it: one that may be void, or takes a row away, is alone."""
        return not (self._changes and _is_alone(self._changes[-1]))

    def add(self, batch: Batch) -> Commit:
        """Make a change part of it."""
        fits = self.takes_more and not (self._changes and _is_alone(batch))
        assert fits, "cannot be part of another change"
        self._changes.append(batch)
        return self.commit

    def joined(self) -> Batch | None:
        """All of them as one; None: there are none."""
        changes = self._changes
        if not changes:
            return None
        return changes[0] if len(changes) == 1 else _joined(changes)


def _is_alone(batch: Batch) -> bool:
    return batch.if_there or batch.removes is not None


def _joined(changes: Sequence[Batch]) -> Batch:
    return Batch(
        events=tuple(chain.from_iterable(each.events for each in changes)),
        runs=tuple(chain.from_iterable(each.runs for each in changes)),
        jobs=tuple(chain.from_iterable(each.jobs for each in changes)),
        blobs=tuple(chain.from_iterable(each.blobs for each in changes)),
        queues=tuple(chain.from_iterable(each.queues for each in changes)),
        no_queues=tuple(chain.from_iterable(each.no_queues for each in changes)),
        may_fail=all(each.may_fail for each in changes),
    )


class Journal:
    """Owns the hand-over to the store's writer thread. Made and used in the trio thread only."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.changed = Changed()  # something was committed since one looked: events may be there to be read
        self._token = trio.lowlevel.current_trio_token()
        self._last: Commit | None = None
        self._last_sure: Commit | None = None  # that will not give up
        self._bundle: _Bundle | None = None
        # Called with every change of a job's state, and the state before it: what follows from it for other jobs is
        # recorded in the same transaction.
        self.follow: Callable[[Job, str], None] = lambda _job, _old: None

    def start(self) -> None:
        """Start the writer thread."""
        self.store.start(self._wake)

    def _wake(self) -> None:
        wake(self._token, self._settle)  # from the writer thread

    def _settle(self) -> None:
        for batch in self.store.completions():
            commit = batch.tag
            assert isinstance(commit, Commit)
            commit.settle(batch.error)
        self.changed.set()  # also after work in the background

    def record(
        self,
        event: Event,
        run: RunRow | None,
        job: JobRow | None,
        blobs: tuple[tuple[bytes, bytes], ...] = (),
        may_fail: bool = False,
        removes: Removal | None = None,
        if_there: bool = False,
    ) -> Commit:
        """Hand over one event and the rows it made. Returns at once; wait on the Commit for durability.

        Args:
            event: the change, with a sequence number from `store.next_event_seq`.
            run: the run's row after it, if it concerns a run.
            job: the job's row after it, if it changed.
            blobs: (hash, bytes) that the rows name and the store may not have yet.
            may_fail: give up at once when the disk is full or broken, instead of trying until it works.
            removes: the event takes the job's row away.
            if_there: nothing is written if the job's row has gone meanwhile: it has no live run that would keep it.
        """
        batch = Batch(
            events=(event,),
            runs=() if run is None else (run,),
            jobs=() if job is None else (job,),
            blobs=blobs,
            removes=removes,
            if_there=if_there,
            may_fail=may_fail,
        )
        return self._take(batch)

    def record_queue(self, event: Event, row: QueueRow) -> Commit:
        """The same of a queue: its event, and the row that it makes or takes away."""
        gone = event.kind == QUEUE_REMOVED
        batch = Batch(
            events=(event,),
            queues=() if gone else (row,),
            no_queues=((row.owner, row.name),) if gone else (),
            may_fail=True,
        )
        return self._take(batch)

    @contextmanager
    def together(self) -> Iterator[Commit]:
        """Changes that are recorded within are durable all at once or not at all: their one Commit.

        No await within. A block in another's is part of that one.
        """
        if self._bundle is not None:
            yield self._bundle.commit
            return
        bundle = self._bundle = _Bundle()
        try:
            yield bundle.commit
        finally:
            self._bundle = None  # what is recorded has changed the rows in memory, whatever came then
            whole = bundle.joined()
            if whole is not None:
                self._submit(whole, bundle.commit)
            else:
                bundle.commit.settle(None)

    @property
    def takes_more(self) -> bool:
        """Whether another change may be recorded now: one that may be void, or takes a row away, is alone."""
        return self._bundle is None or self._bundle.takes_more

    def _take(self, batch: Batch) -> Commit:
        """Hand a change over, or keep it for the others that are gathered."""
        if self._bundle is not None:
            return self._bundle.add(batch)
        return self._submit(batch, Commit())

    def _submit(self, batch: Batch, commit: Commit) -> Commit:
        batch.tag = self._last = commit
        if not batch.may_fail:
            self._last_sure = commit
        self.store.submit(batch)
        return commit

    async def flush(self) -> None:
        """Return when every change handed over so far is durable or has failed."""
        # Batches settle in order, but for those that give up early; so the last of each kind speaks for all.
        for commit in (self._last_sure, self._last):
            if commit is not None:
                with suppress(NotDurable):
                    await commit.wait()
