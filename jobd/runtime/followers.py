"""All who follow events: one look at the database for those who want the same, and rounds that cost little.

A commit wakes one of them, who begins a round for all. What is read in a round is read once, however many are at the
same place; who is behind reads for himself. After a round there is a pause that is a multiple of what it cost: so all
readers together take a tenth of the loop's time at most, a few of them hear of a change at once, and a hundred within a
tenth of a second. Without a change there is no round, and no timer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from jobd.runtime.wake import Changed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobd.core.records import Event
    from jobd.runtime.journal import Journal
    from jobd.store.changes import Wanted
    from jobd.wire.messages import AnyBody

SHARE: Final = 10  # the pause after a round, in rounds: measured with 100 readers, a job's life takes a tenth longer
MAX_PAUSE_SEC: Final = 0.5  # people look
WAKE_SEC: Final = 0.00003  # what waking a reader's task costs besides what he does; measured
MAX_CHARGE_SEC: Final = 0.001  # of one reader: what is longer was waiting for him
MAX_PAGES: Final = 32  # kept in a round, of 64 events each: readers want few different things


class Bundle:
    """Bodies that several readers are sent. `frames` are kept by the number of the request: most have the same."""

    __slots__ = ("_bodies", "frames")

    def __init__(self, bodies: Sequence[AnyBody]) -> None:
        self._bodies = bodies
        self.frames: dict[int, bytes] = {}

    def __iter__(self) -> Iterator[AnyBody]:
        return iter(self._bodies)


class SharedPage:
    """Events behind one number, up to `end`, as all see them who want the same.

    `more`: there may be more behind, up to where was asked for.
    """

    __slots__ = ("bundle", "end", "events", "gone", "more")

    def __init__(self, events: list[Event], end: int, more: bool, gone: int) -> None:
        self.events = events
        self.end = end
        self.more = more
        self.gone = gone  # the highest number that was removed, looked at after the events were read
        self.bundle: Bundle | None = None  # made by the first who needs it


class Followers:
    """One a daemon. Nothing here is a reader's own: that is his EventSource."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._round = Changed()
        self._seen = 0  # what has been committed when the round began, as a number of the journal's
        self._leads = False  # one of them waits for the journal
        self._last: dict[int | None, int] = {}
        self._pages: dict[tuple[Wanted, int, int], SharedPage] = {}
        self._spent_sec = 0.0
        self._began = float("-inf")

    def last(self, owners: frozenset[int | None]) -> int:
        """The number of the last event that these owners have (None: anybody), as of this round."""
        for owner in owners - self._last.keys():
            self._last[owner] = self._journal.store.last_event(owner)
        return max(self._last[owner] for owner in owners)

    def page(self, wanted: Wanted, owners: frozenset[int | None], after: int, upto: int, limit: int) -> SharedPage:
        """See Reader.changes_page."""
        key = (wanted, after, upto)
        found = self._pages.get(key)
        if found is None:
            store = self._journal.store
            events, end, more = store.changes_page(wanted, after, upto, limit)
            found = SharedPage(events, end, more, max(store.removed_events(owner) for owner in owners))
            if len(self._pages) >= MAX_PAGES:
                self._pages.clear()
            self._pages[key] = found
        return found

    def charge(self, sec: float) -> None:
        """One reader has cost so much of the loop's time."""
        self._spent_sec += WAKE_SEC + min(sec, MAX_CHARGE_SEC)

    async def wait(self) -> None:
        """Return when there is a new round, for something was committed since the last one began."""
        if self._leads:
            await self._round.wait()
            return
        self._leads = True
        try:
            if self._journal.changed.count == self._seen:
                await self._journal.changed.wait()
            for _ in range(2):  # meanwhile others of the last round may have been charged
                await trio.sleep_until(self._began + min(MAX_PAUSE_SEC, self._spent_sec * SHARE))
        finally:
            self._leads = False  # also when he leaves: the next one to wait leads
            self._begin()
            self._round.set()

    def _begin(self) -> None:
        """What was read before is not what is read from now on."""
        self._began = trio.current_time()
        self._seen = self._journal.changed.count
        self._last.clear()
        self._pages.clear()
        self._spent_sec = 0.0
