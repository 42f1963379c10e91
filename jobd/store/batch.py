"""What is handed to the store, and the errors it gives back. No behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from jobd.core.records import Event, JobRow, QueueRow, RunRow


class StoreError(Exception):
    """The store cannot do it; the text says what and why."""


class StoreFull(StoreError):  # noqa: N818  # reads better where it is caught
    """There is no room on the state directory's disk (or it takes no writes now). The same may work later."""


class StoreFenced(StoreError):  # noqa: N818  # reads better where it is caught
    """A later daemon has opened this database: this one may write no more."""


class StoreTooNew(StoreError):  # noqa: N818  # reads better where it is caught
    """The database was made by a newer jobd. It is left as it is."""


class Removal(NamedTuple):
    """What goes of a job besides its row. `purge_upto`: its runs with numbers up to this one too, in small steps."""

    purge_upto: int | None = None


@dataclass(slots=True, eq=False)
class Batch:
    """One change, whole or not at all: rows, and the events that explain them.

    Rules for who makes one:
    - a batch that makes a run carries the blobs that its rows name, known or not: retention may just have taken them;
    - its event carries the whole job row (`records.job_data(row)`), for the same reason. Of one that has none yet
      it need not say what is so by default (`records.new_job_data`);
    - rows are complete rows, later ones replace earlier ones.
    - `removes` takes the row of the job of its events away; it has no live run, and none of its runs is in the batch.
    `if_there`: it is void, and nothing of it is written, unless the job of its first event has a row: retention may
    have taken it a moment ago. `void` tells.
    `may_fail`: fail at once, with `error` set to a StoreFull, when the disk takes no writes. Others wait until it does.
    `error` is set, at the latest when the batch comes back from `Store.completions`; None then means: it is durable.
    """

    events: tuple[Event, ...] = ()
    runs: tuple[RunRow, ...] = ()
    jobs: tuple[JobRow, ...] = ()
    blobs: tuple[tuple[bytes, bytes], ...] = ()  # (hash, bytes)
    queues: tuple[QueueRow, ...] = ()
    no_queues: tuple[tuple[int, str], ...] = ()  # keys of those that go
    removes: Removal | None = None
    if_there: bool = False
    void: bool = False
    tag: object = None
    may_fail: bool = False
    error: Exception | None = None

    def rows(self) -> int:
        """How many rows it writes."""
        return len(self.events) + len(self.runs) + len(self.jobs) + len(self.blobs) + len(self.queues)
