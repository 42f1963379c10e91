"""One array that is not at rest: where its elements are, and on what they are accepted. Changed by `arrays` alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from jobd.core import exits, states
from jobd.runtime.job import Caller  # noqa: TC001  # msgspec reads the annotations at run time
from jobd.runtime.wake import Changed

if TYPE_CHECKING:
    from jobd.core import arrays
    from jobd.core.records import JobRow
    from jobd.runtime.job import Job
    from jobd.runtime.journal import Commit

QUEUED: Final = "queued"  # counts, besides those of results
RUNNING: Final = "running"


class AcceptedOn(Struct, frozen=True):
    """JobRow.array_terms."""

    by: Caller
    queue: str
    fields: dict[str, str | int | bool | None]


class Array:
    """One that is not at rest."""

    __slots__ = ("commit", "counts", "filled", "job", "live", "numbers", "running", "terms")

    def __init__(self, job: Job, numbers: arrays.Array, counts: dict[str, int]) -> None:
        self.job = job  # the whole
        self.numbers = numbers
        self.terms = msgspec.json.decode(job.row.array_terms, type=AcceptedOn)
        self.counts = counts  # of those that have ended, by result
        self.live: dict[int, str] = {}  # of the others: QUEUED or RUNNING, by number
        self.running = 0  # how many of these are
        self.commit: Commit | None = None
        self.filled = Changed()

    def put(self, index: int, place: str) -> None:
        """An element is live, and there."""
        self.running += (place == RUNNING) - (self.live.get(index) == RUNNING)
        self.live[index] = place

    def take(self, index: int) -> bool:
        """It is live no more; whether it was."""
        place = self.live.pop(index, None)
        self.running -= place == RUNNING
        return place is not None

    @property
    def left(self) -> int:
        """How many are to be accepted yet."""
        return len(self.numbers.indices) - self.job.row.runs


def queue_of(row: JobRow) -> str:
    """The queue that an array was accepted to, as in a run's row."""
    return msgspec.json.decode(row.array_terms, type=AcceptedOn).queue


def place_of(job: Job) -> str:
    """Where a live element is."""
    return QUEUED if job.row.sub in (states.QUEUED, states.AUTO_RESTART) else RUNNING


def counts_in(text: str) -> dict[str, int]:
    """What `success=90 exit-code=3` says."""
    return {word: int(count) for word, _, count in (part.partition("=") for part in text.split())}


def whole_result(ended: str) -> str:
    """The result of an array of which that has become: the commonest of its bad ones, or else of those but success."""
    counts = counts_in(ended)
    bad = [result for result in counts if result not in exits.GOOD_RESULTS]
    rest = [result for result in counts if result != "success"]
    return max(bad or rest, key=lambda one: counts[one], default="success")
