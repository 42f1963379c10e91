"""The queues that there are and how each is set: their rows, and which of them a word means.

Owns the rows. A change is in force at once, and recorded with its event; what begins by it is recorded after it. The
queue `batch` is always there, without a row until somebody sets it.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from jobd.core import names
from jobd.core.queue import Setting
from jobd.core.queueline import key_of, stored
from jobd.core.records import (
    BY_GID,
    DRAINING,
    PAUSED,
    QUEUE_ADDED,
    QUEUE_REMOVED,
    QUEUE_SET,
    SHARED,
    Event,
    QueueRow,
    queue_data,
)
from jobd.runtime.slots import LimitReached
from jobd.wire import errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobd.core.queue import QueueKey
    from jobd.runtime.job import Caller
    from jobd.runtime.journal import Commit, Journal

log = logging.getLogger("jobd.runtime")

BATCH: Final = "batch"
SHARED_WORD: Final = "shared"  # before a slash, in the place of an owner
MAX_QUEUES: Final = 256  # of one owner: all of them are in memory, and shown in one answer
LISTED: Final = 20  # queues that an error names


class Keep:
    """Of slots: as they are. None means something else."""


KEEP: Final = Keep()


class QueueRefused(LimitReached):
    """A queue does not take a run, or is not there; `code` is one of jobd.wire.errors."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Queues:
    """All queues. `is_used` tells whether runs are in one, `on_change` is told of one that is set otherwise."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.rows: dict[QueueKey, QueueRow] = {}
        self._settings: dict[QueueKey, Setting] = {}
        self.is_used: Callable[[QueueKey], bool] = lambda _: False
        self.on_change: Callable[[QueueKey], None] = lambda _: None
        self._put(QueueRow(owner=SHARED, name=BATCH, slots=len(os.sched_getaffinity(0)), created_at=0))

    def load(self) -> None:
        """Take up what the store has. Call once."""
        for row in self._journal.store.queues():
            self._put(row)

    def _put(self, row: QueueRow) -> None:
        key = row.owner, row.name
        self.rows[key] = row
        self._settings[key] = Setting(row.slots, row.state != PAUSED)

    def setting(self, key: QueueKey) -> Setting:
        """How a queue is set that is there."""
        return self._settings[key]

    def revive(self, key: QueueKey | None) -> None:
        """A run names this queue: if it was lost with a damaged database it is there again, with one slot."""
        if key is not None and key not in self.rows:
            log.warning("queue %s of uid %d was lost with a damaged database: it has one slot now", key[1], key[0])
            self._change(QUEUE_ADDED, QueueRow(owner=key[0], name=key[1], slots=1, created_at=time.time_ns()), None)

    # --- which is meant -------------------------------------------------------------------------------------------
    def find(self, owner: int, word: str, uid: Callable[[str], int | None] = lambda _: None) -> QueueKey | None:
        """The queue that a word of this owner's means: NAME is his own, else the shared one; OWNER/NAME, shared/NAME.

        Args:
            owner: whose word it is.
            word: the word.
            uid: of a user's name.
        """
        prefix, slash, name = word.rpartition("/")
        if not slash:
            return next((key for key in ((owner, name), (SHARED, name)) if key in self.rows), None)
        if prefix == SHARED_WORD:
            key = SHARED, name
        else:
            found = int(prefix) if prefix.isascii() and prefix.isdigit() and len(prefix) < 11 else uid(prefix)
            if found is None:
                return None
            key = found, name
        return key if key in self.rows else None

    def resolve(self, owner: int, word: str, uid: Callable[[str], int | None] = lambda _: None) -> QueueKey:
        """As `find`, for a run of this owner's. One that is another user's takes none, and is as if it were not there.

        Raises:
            QueueRefused: there is no such queue; the text names those that there are.
        """
        key = self.find(owner, word, uid)
        if key is None or key[0] not in (owner, SHARED):
            raise QueueRefused(errors.NOT_FOUND, self.unknown(owner, word))
        return key

    def unknown(self, owner: int, word: str) -> str:
        """What is said of a word that means none: the queues that this owner may use."""
        known = sorted({name for uid, name in self.rows if uid in (owner, SHARED)})
        meant = names.closest(word, known)
        hint = f'; did you mean "{meant}"?' if meant else ""
        more = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
        return f'there is no queue "{word[:96]}"{hint} (there are: {", ".join(known[:LISTED])}{more})'

    def word(self, owner: int, text: str) -> str:
        """A queue that a row of this owner's names (`RunRow.queue`), as he would: "build", "batch", "shared/build"."""
        if not text.startswith("/"):
            return text
        name = text[1:]
        return f"{SHARED_WORD}/{name}" if (owner, name) in self.rows else name

    # --- what a run asks for --------------------------------------------------------------------------------------
    def admit(self, owner: int, word: str, weight: int, *, again: bool = False) -> str:
        """The queue for a run of this owner's that asks for it by this word, as its row names it; "" for "".

        Args:
            owner: whose run it is.
            word: as in its definition.
            weight: how many slots it takes.
            again: it follows a run that was in the queue already.

        Raises:
            QueueRefused: there is none, it takes nothing new, or the run is too heavy for it.
        """
        if not word:
            return ""
        key = self.resolve(owner, word)
        row = self.rows[key]
        if row.state == DRAINING and not again:
            text = f"queue {row.name} is draining: it takes nothing new; jobctl queue resume {row.name} opens it"
            raise QueueRefused(errors.NOT_APPLICABLE, text)
        if not again:
            check_weight(row, weight)
        return stored(key)

    def of_run(self, owner: int, text: str) -> QueueRow | None:
        """The queue that a row names."""
        key = key_of(owner, text)
        return None if key is None else self.rows.get(key)

    # --- changes --------------------------------------------------------------------------------------------------
    def add(self, owner: int, name: str, slots: int | None, by: Caller) -> Commit | None:
        """Make a queue. None: it is there, with as many slots.

        Raises:
            QueueRefused: one of this name is there with others, the name is none, or its owner has too many.
        """
        if not names.valid_job_name(name):
            raise QueueRefused(errors.INVALID, names.why_invalid(name, "queue"))
        row = self.rows.get((owner, name))
        if row is not None:
            if row.slots == slots:
                return None
            has = "no limit" if row.slots is None else f"{row.slots} slots"
            raise QueueRefused(errors.EXISTS, f"queue {name} is there already, with {has}; jobctl queue set changes it")
        if sum(uid == owner for uid, _ in self.rows) >= MAX_QUEUES:
            raise QueueRefused(
                errors.LIMIT, f"cannot add another queue: there are {MAX_QUEUES}, which is all there may be"
            )
        return self._change(QUEUE_ADDED, QueueRow(owner=owner, name=name, slots=slots, created_at=time.time_ns()), by)

    def set(self, key: QueueKey, by: Caller, *, slots: int | Keep | None = KEEP, state: str = "") -> Commit | None:
        """Change a queue that is there. None: it is so already."""
        old = self.rows[key]
        new = replace(
            old,
            slots=old.slots if isinstance(slots, Keep) else slots,
            state=state or old.state,
            created_at=old.created_at or time.time_ns(),
        )
        if (new.slots, new.state) == (old.slots, old.state):
            return None
        return self._change(QUEUE_SET, new, by)

    def remove(self, key: QueueKey, by: Caller) -> Commit:
        """Take a queue away.

        Raises:
            QueueRefused: runs are in it, or it is always there.
        """
        name = key[1]
        if key == (SHARED, BATCH):
            raise QueueRefused(errors.NOT_APPLICABLE, f"cannot remove queue {name}: it is always there")
        if self.is_used(key):
            text = f"cannot remove queue {name}: runs are in it; jobctl queue drain {name} has it take nothing new"
            raise QueueRefused(errors.EXISTS, text)
        return self._change(QUEUE_REMOVED, self.rows[key], by)

    def _change(self, kind: str, row: QueueRow, by: Caller | None) -> Commit:
        key = row.owner, row.name
        before = self.rows.get(key)
        event = Event(
            seq=self._journal.store.next_event_seq(),
            at=time.time_ns(),
            kind=kind,
            owner=row.owner,
            job="",
            by_uid=None if by is None else by.uid,
            by_pid=None if by is None else by.pid,
            data=queue_data(row) if by is None else {**queue_data(row), BY_GID: by.gid},
        )
        commit = self._journal.record_queue(event, row)  # before what begins by it
        self._hold(key, None if kind == QUEUE_REMOVED else row)

        def settled() -> None:
            if commit.error is not None:  # no room on the disk: it is as it was, unless it was changed once more
                now = self.rows.get(key)
                if now is row or (now is None and kind == QUEUE_REMOVED):
                    self._hold(key, before)

        commit.then(settled)
        return commit

    def _hold(self, key: QueueKey, row: QueueRow | None) -> None:
        if row is not None:
            self._put(row)
        elif not self.is_used(key):
            del self.rows[key], self._settings[key]
        self.on_change(key)


def check_weight(row: QueueRow, weight: int) -> None:
    """Raises QueueRefused for a run that is too heavy for a queue."""
    if row.slots is not None and weight > row.slots > 0:
        slots = f"{row.slots} slot{'s' if row.slots > 1 else ''}"
        raise QueueRefused(errors.INVALID, f"a weight of {weight} is more than queue {row.name} has: {slots}")
