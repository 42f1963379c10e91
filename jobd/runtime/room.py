"""How much an owner may store: environments and definitions in the database, and logs.

Theory. What an owner has is counted once, in a thread, when he first has a run under this daemon; from then on what
comes is added as it comes: here for what a submission brings, in the pump for what his runs write. Nothing is walked
through for a decision. Retention and removals make room; so all is counted again after them, and every ten seconds
while somebody is held up. Root is not limited.
"""

from __future__ import annotations

import logging
import sqlite3
from typing import TYPE_CHECKING, Final

import trio

from jobd.runtime.slots import ROOT, LimitReached
from jobd.store.batch import StoreError
from jobd.store.usage import usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from jobd.core.policy import UserLimits
    from jobd.runtime.journal import Journal
    from jobd.runtime.pump import Pump
    from jobd.runtime.run import Run

log = logging.getLogger("jobd.runtime")

FULL_SEC: Final = 10.0  # between two counts for an owner whose runs wait for room
MAX_RECENT: Final = 1024  # blobs of an owner that are known to be his


class _Use:
    __slots__ = ("added", "blobs", "counting", "held_up", "recent")

    def __init__(self) -> None:
        self.blobs = 0  # bytes when they were counted
        self.added = 0  # bytes since then
        self.recent: dict[bytes, None] = {}
        self.counting = False
        self.held_up = False


class Room:
    """What all owners with runs under this daemon have stored."""

    def __init__(self, path: Path, journal: Journal, pump: Pump, limits: Callable[[], UserLimits]) -> None:
        self._path = path
        self._journal = journal
        self._pump = pump
        self._limits = limits
        self._of: dict[int, _Use] = {}
        self._nursery: trio.Nursery | None = None
        self.wants_retention: Callable[[], None] = lambda: None

    def start(self, nursery: trio.Nursery, owners: Iterable[int]) -> None:
        """Count for owners who have runs, and from now on for whoever comes."""
        self._nursery = nursery
        for owner in owners:
            self._use(owner)

    def take(self, owner: int, blobs: tuple[tuple[bytes, bytes], ...]) -> None:
        """Note what a submission of this owner brings.

        Raises:
            LimitReached: it is more than he may have.
        """
        use = self._use(owner)
        if use is None:
            return
        new = {key: len(data) for key, data in blobs if key not in use.recent and not self._has(owner, key)}
        size, limit = sum(new.values()), self._limits().environment_bytes
        if size and limit is not None and use.blobs + use.added + size > limit:
            raise LimitReached(
                f"cannot store another environment: those of uid {owner} have {use.blobs + use.added} bytes, of the"
                f" {limit} that a user may have; remove jobs with their runs (jobctl rm --purge), or submit with"
                " fewer variables (--env none)"
            )
        use.added += size
        if len(use.recent) > MAX_RECENT:
            use.recent.clear()
        use.recent.update(dict.fromkeys(key for key, _ in blobs))

    def _has(self, owner: int, key: bytes) -> bool:
        try:
            return self._journal.store.has_blob(owner, key)
        except StoreError:
            return False

    # --- logs -----------------------------------------------------------------------------------------------------
    def note_blocked(self, run: Run) -> None:
        """The output of a run does not go on, perhaps because its owner's logs are full."""
        use = self._use(run.row.owner)
        if use is not None and not use.held_up and self._nursery is not None:
            use.held_up = True
            self._nursery.start_soon(self._mind, run, use)

    async def _mind(self, run: Run, use: _Use) -> None:
        try:
            self.wants_retention()
            while run.log_error and not run.gone:
                await trio.sleep(FULL_SEC)
                self._count_soon(run.row.owner, use)
        finally:
            use.held_up = False

    # --- counting -------------------------------------------------------------------------------------------------
    def count_again(self, live: set[int]) -> None:
        """Something was removed, or limits have changed. Owners without live runs are counted when they come again."""
        for owner in list(self._of):
            if owner in live:
                self._count_soon(owner, self._of[owner])
            elif not self._of[owner].counting:
                del self._of[owner]
                self._pump.set_owner_room(owner, None)

    def _use(self, owner: int) -> _Use | None:
        if owner == ROOT:
            return None
        use = self._of.get(owner)
        if use is None:
            use = self._of[owner] = _Use()
            self._count_soon(owner, use)
        return use

    def _count_soon(self, owner: int, use: _Use) -> None:
        if self._nursery is not None and not use.counting:
            use.counting = True
            self._nursery.start_soon(self._count, owner, use)

    async def _count(self, owner: int, use: _Use) -> None:
        try:
            added = use.added  # all of it is counted; what comes meanwhile perhaps twice, until the next time
            await self._journal.flush()
            found = await trio.to_thread.run_sync(usage, self._path, owner, abandon_on_cancel=True)
        except sqlite3.Error as error:
            log.warning("cannot count what uid %d has stored: %s", owner, error)
            return
        finally:
            use.counting = False
        use.blobs, use.added = found.blobs, use.added - added
        use.recent.clear()  # some of them may have been removed
        limit = self._limits().log_bytes
        self._pump.set_owner_room(owner, None if limit is None else limit - found.logs)
