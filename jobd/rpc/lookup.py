"""Finding the jobs that words mean, for one caller: lookup, lookup_many and lookup_runs are the only way to a row.

Each way in takes the action that the row is wanted for, and decides before it gives anything out. What the caller may
not see is looked for and answered exactly as what is not there: same text, same details, same neighbours. What he may
see, and not do this with, is DENIED.
"""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Final

from jobd.core import names, rules
from jobd.core.rules import Owner
from jobd.wire import errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from jobd.core.globs import Globs
    from jobd.core.records import JobRow
    from jobd.core.rules import Who
    from jobd.rpc.access import Access
    from jobd.rpc.world import World

Key = tuple[int, str]

SHOWN_CANDIDATES: Final = 5  # of what is ambiguous
MAX_NEIGHBOURS: Final = 1000  # names looked at for a did-you-mean
STEP: Final = 200  # jobs that are read in one turn
SEE: Final = "status"  # the action that nothing but seeing is asked for


class Refused(Exception):  # noqa: N818  # the answer of a request, not a failure of ours
    """The request is answered by a Fault."""

    def __init__(self, code: str, text: str, **details: str) -> None:
        super().__init__(text)
        self.code = code
        self.details = details


class JobLookup:
    """Jobs by word. `own` is the uid whose jobs bare names mean."""

    __slots__ = ("_peer", "access", "own", "world")

    world: World
    access: Access
    own: int

    @property
    def who(self) -> Who:
        """Who asks, by the policy as it is now."""
        raise NotImplementedError

    async def turn(self) -> None:
        """Between two steps of what may take long."""
        raise NotImplementedError

    # --- deciding -------------------------------------------------------------------------------------------------
    def may(self, action: str, owner: int, job: str) -> bool:
        """Whether the caller may do this with a job, there or not."""
        return self.access.decide(self.who, action, owner, job).allowed

    def sees(self, owner: int, job: str) -> bool:
        """Whether the caller may know of a job, there or not."""
        return self.access.decide(self.who, SEE, owner, job).visible

    def grant(self, action: str, owner: int, job: str, word: str) -> None:
        """Raises Refused unless he may do this with a job: DENIED; NOT_FOUND if he may not, or not any more, see it."""
        who = self.who
        decision = self.access.decide(who, action, owner, job)
        if not decision.visible:
            raise Refused(errors.NOT_FOUND, f"cannot find job {word!r}", job=word)
        if not decision.allowed:
            why = f"{action} is not allowed for uid {who.uid}"
            if rules.VERBS.get(action) == rules.OWNER_ALONE:
                why = f"what it is, its owner and administrators say, and not uid {who.uid}"
            text = f"cannot do this with {word}: {why}"
            raise Refused(errors.DENIED, text, job=word)

    def scope(self) -> Globs | None:
        """The jobs that he sees, as pairs of owner and pattern; None: all of them."""
        who = self.who
        if who.is_admin:
            return None
        pairs: dict[tuple[int | None, str], None] = {(self.own, "*"): None}
        for rule in self.access.policy.allow:
            if rules.concerns(rule, who):
                owners = [None] if "*" in rule.owners else self._owners_named(rule.owners)
                pairs.update(dict.fromkeys((owner, pattern) for owner in owners for pattern in rule.jobs))
        return tuple(pairs)

    def sees_others(self) -> bool:
        """Whether he may see anybody's jobs but his own."""
        who = self.who
        policy = self.access.policy
        return self.access.shared and (who.is_admin or any(rules.concerns(rule, who) for rule in policy.allow))

    # --- owners ---------------------------------------------------------------------------------------------------
    def owners(self) -> list[int]:
        """All who have jobs."""
        return sorted(self.world.registry.all_owners())

    def _owners_named(self, words: Sequence[str]) -> list[int | None]:
        people = self.access.people
        literal = {people.uid(word) for word in words if not names.is_glob(word)} - {None}
        patterns = [word for word in words if names.is_glob(word)]
        if patterns:
            literal |= {uid for uid in self.owners() if rules.fits_owner(patterns, Owner(uid, people.name(uid)))}
        return list(literal)

    def _owners_meant(self, asked: str | None, everybody: bool) -> list[int]:
        people = self.access.people
        if asked is None:
            return self.owners() if everybody and self.sees_others() else [self.own]
        if names.is_glob(asked):
            return [uid for uid in self.owners() if rules.fits_owner((asked,), Owner(uid, people.name(uid)))]
        uid = people.uid(asked)
        return [] if uid is None else [uid]

    def key(self, word: str) -> Key | None:
        """(owner, name) of `web`, `alice/web` or `61001/web`; None when there is no such user."""
        owner, name = names.split_owner(word)
        if owner is None:
            return self.own, name
        uid = self.access.people.uid(owner)
        return None if uid is None else (uid, name)

    def word(self, owner: int, job: str) -> str:
        """The word for a job, for this caller."""
        return job if owner == self.own else f"{self.access.people.shown(owner)}/{job}"

    def owner_asked(self, word: str) -> int:
        """Whose job a word means, there or not; a user who is not there has none, and is nobody in particular."""
        key = self.key(word)
        return self.own if key is None else key[0]

    def matcher(self, pattern: str) -> Callable[[int, str], bool]:
        """Whether a job (owner, name) fits a pattern; without an owner in it, whosesoever it is."""
        asked, name = names.split_owner(pattern)
        people = self.access.people
        if asked is None:
            return lambda _, job: fnmatch.fnmatchcase(job, name)
        if names.is_glob(asked):
            words = (asked,)
            return lambda owner, job: (
                fnmatch.fnmatchcase(job, name) and rules.fits_owner(words, Owner(owner, people.name(owner)))
            )
        uid = people.uid(asked)
        return lambda owner, job: owner == uid and fnmatch.fnmatchcase(job, name)

    def pairs(self, pattern: str) -> list[tuple[int | None, str]]:
        """The same as owners (None: anybody) and a pattern of the name."""
        asked, name = names.split_owner(pattern)
        if asked is None or asked == "*":
            return [(None, name)]
        return [(owner, name) for owner in self._owners_meant(asked, everybody=True)]

    # --- one job --------------------------------------------------------------------------------------------------
    def find(self, word: str, action: str) -> JobRow | None:
        """The job's row as it is now; None: there is none that he may see.

        A bare name is his own job's; if he has none, and one other that he may see has it, reading means that one.

        Raises:
            Refused: DENIED, or AMBIGUOUS or NOT_FOUND, naming whose jobs may be meant.
        """
        key = self.key(word)
        row = None if key is None or not self.sees(*key) else self._row(key)
        if row is None and key is not None and "/" not in word:
            row = self._of_another(word, action)
        if row is not None:
            self.grant(action, row.owner, row.job, word)
        return row

    def job(self, word: str, action: str) -> JobRow:
        """The same. Raises Refused (NOT_FOUND) too, with what was probably meant."""
        row = self.find(word, action)
        if row is None:
            raise self.not_found(word)
        return row

    def look(self, owner: int, name: str) -> JobRow | None:
        """The row of a job that another of the same owner names; None: there is none that he may see."""
        return self._row((owner, name)) if self.sees(owner, name) else None

    def shows(self, row: JobRow, naming: str) -> bool:
        """Whether what another job of the same owner says of this one may be told: if he sees that one, too."""
        return naming == row.job or self.sees(row.owner, naming)

    def past_key(self, word: str, action: str) -> Key | None:
        """Owner and name of a job that may have gone; None: he may not see jobs of that name, or there is no owner.

        Raises Refused (DENIED).
        """
        key = self.key(word)
        if key is None or not self.sees(*key):
            return None
        self.grant(action, *key, word)
        return key

    # --- definitions ----------------------------------------------------------------------------------------------
    def own_key(self, word: str, action: str) -> Key:
        """Owner and name of a job, there or not, with which he may do this. Raises Refused (DENIED, NOT_FOUND)."""
        key = self.key(word)
        if key is None:
            raise self.not_found(word)
        self.grant(action, *key, word)
        return key

    def written(self, owner: int, name: str, action: str) -> JobRow | None:
        """The row of exactly this job; an instance that nothing has happened to has none. Raises as `own_key`."""
        self.grant(action, owner, name, self.word(owner, name))
        return self.world.registry.catalog.written(owner, name)

    def count_defined(self, owner: int, name: str, action: str) -> int:
        """How many jobs the owner of this one has defined besides it. Raises as `own_key`."""
        self.grant(action, owner, name, self.word(owner, name))
        return self.world.registry.catalog.count_defined(owner, name)

    def failed_definitions(self, limit: int) -> list[str]:
        """Words for jobs that he sees, which have a definition and have failed."""
        catalog = self.world.registry.catalog
        found = [(row.owner, row.job) for row in self.world.registry.store.failed_definitions()]
        rows = [catalog.written(*key) for key in found if self.sees(*key)]
        return [self.word(row.owner, row.job) for row in rows if row is not None and row.active == "failed"][:limit]

    async def defined(self, action: str, owner: int, after: str) -> AsyncIterator[JobRow]:
        """All jobs with a definition that he may do this with, by owner and name, from behind a name; in turns."""
        store, catalog = self.world.registry.store, self.world.registry.catalog
        others = self.sees_others()
        for uid in sorted({*store.defining_owners(), *self.world.registry.owners()} if others else (self.own,)):
            if uid < owner:
                continue
            name = after if uid == owner else ""
            while page := catalog.defined_after(uid, name, STEP):
                for row in page:
                    if self.may(action, uid, row.job):
                        yield row
                name = page[-1].job
                await self.turn()

    def _row(self, key: Key) -> JobRow | None:
        return self.world.registry.catalog.asked(*key)

    def _of_another(self, word: str, action: str) -> JobRow | None:
        if not self.sees_others():
            return None
        keys = [(owner, word) for owner in self.owners() if owner != self.own and self.sees(owner, word)]
        rows = [row for row in map(self._row, keys) if row is not None]
        if not rows:
            return None
        shown = [self.word(row.owner, row.job) for row in rows[:SHOWN_CANDIDATES]]
        if len(rows) > 1:
            raise Refused(errors.AMBIGUOUS, f"cannot tell which job {word!r} is: {', '.join(shown)}", job=word)
        if rules.VERBS[action] != rules.READ:
            text = f"cannot find job {word!r}; did you mean {shown[0]!r}?"
            raise Refused(errors.NOT_FOUND, text, job=word, meant=shown[0])
        return rows[0]

    def not_found(self, word: str) -> Refused:
        """The refusal for a job that is not there, or that he may not see."""
        key = self.key(word)
        stem = word.partition("#")[0].removesuffix(".service").removesuffix(".toml")
        stem_key = self.key(stem)
        meant: str | None = None
        if stem != word and stem_key is not None and self.sees(*stem_key) and self._row(stem_key) is not None:
            meant = stem
        elif key is not None:
            meant = names.closest(key[1], self._neighbours(key[0]))
            owner = names.split_owner(word)[0]
            if meant is not None and owner is not None:
                meant = f"{owner}/{meant}"
        text = f"cannot find job {word!r}" + (", which would be a run" if "#" in word else "")
        hint = f"; did you mean {meant!r}?" if meant else ""
        return Refused(errors.NOT_FOUND, text + hint, job=word, **({"meant": meant} if meant else {}))

    def _neighbours(self, owner: int) -> list[str]:
        live = [name for uid, name in self.world.registry.jobs if uid == owner]
        page = self.world.registry.store.jobs_page(owner=owner, scope=self.scope(), every=True, limit=MAX_NEIGHBOURS)
        return [name for name in live if self.sees(owner, name)] + [row.job for row in page]
