"""Finding queues by word, for one caller; as jobd.rpc.lookup finds jobs.

Everybody sees the shared ones and his own, and those of an owner all of whose jobs he sees. One's own are his to
change; all of them administrators', nobody else's. Of the runs in a queue each is seen by who sees its job.
"""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Final

from jobd.core import names, rules
from jobd.core.queueline import stored
from jobd.core.records import SHARED
from jobd.core.rules import Owner
from jobd.rpc.lookup import Refused
from jobd.rpc.lookup_runs import RunLookup
from jobd.runtime.queues import SHARED_WORD
from jobd.wire import errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobd.core.queue import QueueKey
    from jobd.core.records import QueueRow

EVERY_JOB: Final = "*"


class QueueLookup(RunLookup):
    """Queues by word."""

    __slots__ = ()

    def sees_queue(self, owner: int) -> bool:
        """Whether he may know of this owner's queues."""
        if owner in (SHARED, self.own) or self.who.is_admin:
            return True
        scope = self.scope()
        return scope is None or (owner, EVERY_JOB) in scope or (None, EVERY_JOB) in scope

    def find_queue(self, word: str) -> QueueRow | None:
        """The queue that a word means; None: there is none that he may see."""
        queues = self.world.registry.queues
        key = queues.find(self.own, word, self.access.people.uid)
        return queues.rows[key] if key is not None and self.sees_queue(key[0]) else None

    def queue(self, word: str) -> QueueRow:
        """The same. Raises Refused (NOT_FOUND), with those that there are."""
        row = self.find_queue(word)
        if row is None:
            queues = self.world.registry.queues
            raise Refused(errors.NOT_FOUND, queues.unknown(self.own, word), queue=word)
        return row

    def past_queue(self, word: str) -> tuple[int | None, str]:
        """Whose a queue is (None: everybody's) and how rows of runs call it; its runs may be all that is left of it.

        Raises:
            Refused: NOT_FOUND.
        """
        row = self.find_queue(word)
        if row is not None:
            return (None if row.owner == SHARED else row.owner), stored((row.owner, row.name))
        prefix, name = names.split_owner(word)
        owner = self.own if prefix is None else self.access.people.uid(prefix)
        asked: list[tuple[int | None, str]] = [] if owner is None else [(owner, name)]
        if prefix in (None, SHARED_WORD):
            asked.append((None, stored((SHARED, name))))
        registry = self.world.registry
        for key in asked:
            if registry.store.had_queue(*key, self.scope()):
                return key
        raise Refused(errors.NOT_FOUND, registry.queues.unknown(self.own, word), queue=word)

    def queue_to_change(self, word: str) -> QueueRow:
        """The same, if he may change it. Raises Refused (DENIED) too."""
        row = self.queue(word)
        self._check_change(row.owner, word)
        return row

    def new_queue(self, word: str, shared: bool) -> QueueKey:
        """Owner and name of a queue that is to be made, of NAME, OWNER/NAME or shared/NAME.

        Raises:
            Refused: DENIED, or there is no such user.
        """
        prefix, name = names.split_owner(word)
        owner = self.own if prefix is None else SHARED if prefix == SHARED_WORD else self.access.people.uid(prefix)
        if shared:
            if prefix not in (None, SHARED_WORD):
                raise Refused(errors.INVALID, f"cannot add queue {word!r}: one that all share has no owner")
            owner = SHARED
        if owner is None:
            raise Refused(errors.NOT_FOUND, f"cannot add queue {word!r}: there is no user {prefix}", queue=word)
        self._check_change(owner, word)
        return owner, name

    def _check_change(self, owner: int, word: str) -> None:
        who = self.who
        if owner == self.own or who.is_admin:
            return
        whose = "its owner" if owner != SHARED else "root"
        text = f"cannot change queue {word} for uid {who.uid}: it is for {whose} and the group {rules.ADMIN_GROUP}"
        raise Refused(errors.DENIED, text, queue=word)

    def queues_seen(self, patterns: Sequence[str], every: bool) -> list[QueueRow]:
        """His own and the shared ones, `every`: all that he sees. By owner, his own first, and by name."""
        fits = [self._queue_fits(pattern) for pattern in patterns]
        found = [
            row
            for row in self.world.registry.queues.rows.values()
            if (row.owner in (SHARED, self.own) or (every and self.sees_queue(row.owner)))
            and (not fits or any(fit(row) for fit in fits))
        ]
        return sorted(found, key=lambda row: (row.owner != self.own, row.owner, row.name))

    def _queue_fits(self, pattern: str) -> _Fits:
        prefix, name = names.split_owner(pattern)
        return _Fits(prefix, name, self)

    def kept_word(self, word: str) -> str:
        """A word for a queue as a definition keeps it: with the number of an owner, whose name is looked up but now."""
        prefix, name = names.split_owner(word)
        if prefix is None or prefix == SHARED_WORD:
            return word
        uid = self.access.people.uid(prefix)
        return word if uid is None else f"{uid}/{name}"

    def known_queue(self, owner: int, word: str) -> str:
        """A queue as this owner calls it, in this caller's words."""
        name = word.rpartition("/")[2]
        own = name == word and (owner, name) in self.world.registry.queues.rows
        return self.queue_word(owner, name if own else f"/{name}")

    def queue_word(self, owner: int, text: str) -> str:
        """A queue as the row of a run of this owner's has it, for this caller: "build", "batch", "alice/build"."""
        queues = self.world.registry.queues
        if not text or text.startswith("/"):
            return queues.word(self.own, text)
        return self.word(owner, text)


class _Fits:
    """Whether a queue fits a pattern; without an owner in it, whosesoever it is."""

    def __init__(self, prefix: str | None, name: str, lookup: QueueLookup) -> None:
        self._prefix = prefix
        self._name = name
        self._people = lookup.access.people

    def __call__(self, row: QueueRow) -> bool:
        if not fnmatch.fnmatchcase(row.name, self._name):
            return False
        prefix = self._prefix
        if prefix is None:
            return True
        if row.owner == SHARED:
            return fnmatch.fnmatchcase(SHARED_WORD, prefix)
        if not names.is_glob(prefix):
            return row.owner == self._people.uid(prefix)
        return rules.fits_owner((prefix,), Owner(row.owner, self._people.name(row.owner)))
