"""Instances of templates that have no row: made from the template's text when they are asked for, and remembered.

A template is one short text that stands for as many jobs as there are names, and two lines of it may ask for more
than anybody could count (`wants = ["web@a%i", "web@b%i"]`). Each is made in the loop. So every owner has an allowance
of time for that; whoever asks for names of his is told when it is used up, and finds it filled again later.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from jobd.core import records
from jobd.core.names import template_of
from jobd.runtime.slots import LimitReached

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobd.core.records import JobRow

Key = tuple[int, str]
Blobs = tuple[tuple[bytes, bytes], ...]
MOST: Final = 1024  # that are remembered; one is about 2 KiB
# Seconds of the loop, and of them in a second. A template of usual length takes 0.3 ms, so that is 1,500 at once;
# the longest that there may be takes 0.3 s.
BURST_SEC: Final = 0.5
RATE: Final = 0.1


class Instances:
    """One a catalog. `written` gives the row of a job that has one."""

    def __init__(self, written: Callable[[int, str], JobRow | None]) -> None:
        self._written = written
        self._made: dict[Key, tuple[bytes | None, JobRow, Blobs]] = {}  # by what the template's text was
        self._left: dict[int, tuple[float, float]] = {}  # owner: seconds, and when that was so
        self.blobs: dict[bytes, bytes] = {}  # what the rows name
        # Makes one of a template's row: its row and blobs. jobd.runtime.definitions has it.
        self.make: Callable[[JobRow, str], tuple[JobRow, Blobs] | None] = lambda _row, _name: None

    def row(self, owner: int, name: str, *, within_means: bool) -> JobRow | None:
        """The row of an instance, if it is one of a template that is there.

        Args:
            owner, name: of the job.
            within_means: make none for an owner who has had too many made.

        Raises:
            LimitReached
        """
        template = template_of(name)
        if template is None:
            return None
        row = self._written(owner, template)
        if row is None or row.transient or row.load == records.NOT_FOUND:
            return None
        known = self._made.get((owner, name))
        if known is not None and known[0] == row.source:
            return known[1]
        left, began = self._allowance(owner), time.perf_counter()
        if within_means and left <= 0:
            raise LimitReached(f"cannot look at more instances of templates of uid {owner} at once: try again")
        made = self.make(row, name)
        now = time.perf_counter()
        self._left[owner] = left - (now - began), now
        if made is None:
            return None
        if len(self._made) >= MOST:
            self._made.clear()
            self.blobs.clear()
        self._made[owner, name] = row.source, *made
        self.blobs.update(made[1])
        return made[0]

    def _allowance(self, owner: int) -> float:
        now = time.perf_counter()
        left, at = self._left.get(owner, (BURST_SEC, now))
        return min(BURST_SEC, left + (now - at) * RATE)
