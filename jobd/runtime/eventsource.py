"""One reader's way through the events in the database: where he is, what comes next, what he has missed.

A reader costs a number, never a copy: pages are read as he takes them, so only what is committed is told, and a slow
reader holds up nothing but himself. If retention overtakes him he is told so, once for each gap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from jobd.runtime.followers import Bundle, SharedPage
from jobd.store.changes import Wanted

if TYPE_CHECKING:
    from jobd.runtime.registry import Registry

__all__ = ["Bundle", "EventSource", "Gap", "Page", "Wanted"]

PAGE: Final = 64  # events at a time: about a millisecond of the loop's time, and 10 KiB on the wire


class Gap(NamedTuple):
    """Of the events between these numbers (without them) some or all are gone."""

    after: int
    before: int


class Page(NamedTuple):
    """What comes next: first the gap, if there is one."""

    gap: Gap | None
    shared: SharedPage


class EventSource:
    """The events that `wanted` means. `position`: everything up to this number was given out."""

    def __init__(self, registry: Registry, wanted: Wanted) -> None:
        self.position = 0
        self._registry = registry
        self._store = registry.store
        self._told_gone = 0  # what the last gap has said
        self._follows = False
        self.want(wanted)

    def want(self, wanted: Wanted) -> None:
        """Go on with these: what the reader may see has changed."""
        self._wanted = wanted
        # A glob may be of an owner that there is none of; a cursor is one of all events then, and nothing is told.
        self._owners = frozenset(owner for owner, _ in (*wanted.jobs, *wanted.globs)) or frozenset({None})

    async def begin(self, after: int | None, lines: int | None) -> Gap | None:
        """Find where to begin: behind `after`, and with the last `lines` of those. Returns what is to be told first."""
        last = self.last()
        gap = None
        if after is None or after > last:
            self._told_gone = self._gone()  # who begins has missed nothing that he could name
            if after is not None:
                gap = Gap(after, 0)  # a cursor of another database: all there is may be new to him
        else:
            self.position = after
        if lines is not None:
            for found in self._store.before_last_changes(self._wanted, self.position, last, lines):
                if found is not None:
                    self.position = found
                await trio.lowlevel.checkpoint()
        return gap

    def last(self) -> int:
        """The number of the last event that there is now."""
        return max(self._store.last_event(owner) for owner in self._owners)

    def page(self, upto: int) -> Page:
        """What comes next, up to number `upto`."""
        start = self.position
        page = self._page(start, upto)
        self.position = max(start, page.end)
        gap = None
        if page.gone > self._told_gone:
            self._told_gone = page.gone
            if page.gone > start:
                gap = Gap(start, page.gone + 1)
        return Page(gap, page)

    def _page(self, start: int, upto: int) -> SharedPage:
        if self._follows:
            return self._registry.followers.page(self._wanted, self._owners, start, upto, PAGE)
        events, end, more = self._store.changes_page(self._wanted, start, upto, PAGE)
        return SharedPage(events, end, more, self._gone())  # looked at last: what went before is not in the page

    async def until_more(self) -> int:
        """Return when there is something behind the position: up to which number."""
        self._follows = True
        while True:
            # Nothing awaits between this look and the wait, so no commit can fall in between.
            last = self._registry.followers.last(self._owners)
            if last > self.position:
                return last
            await self._registry.followers.wait()

    def _gone(self) -> int:
        return max(self._store.removed_events(owner) for owner in self._owners)
