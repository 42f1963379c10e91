"""A request's surroundings, and what handlers share: refusals, and finding the jobs and runs that words mean."""

from __future__ import annotations

import fnmatch
import pwd
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from jobd.core import names
from jobd.runtime.job import Caller
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobd.core.records import JobRow, RunRow
    from jobd.core.rules import Who
    from jobd.host.peer import Peer
    from jobd.rpc.access import Access
    from jobd.rpc.connection import Connection
    from jobd.rpc.world import World

SHOWN_ID: Final = 8  # characters of a run id that are shown, and enough to be taken for one
SHOWN_CANDIDATES: Final = 5  # of an ambiguous end
MAX_NEIGHBOURS: Final = 1000  # names looked at for a did-you-mean
MAX_MATCHES: Final = 10_000  # jobs that one glob may mean; reading them takes 50 ms
# Readers of logs and events on one connection: those of all connections that a uid may have (server.MAX_PER_UID) are
# 32,768. One that waits has no file open.
MAX_READERS: Final = 64


class Refused(Exception):  # noqa: N818  # the answer of a request, not a failure of ours
    """The request is answered by a Fault."""

    def __init__(self, code: str, text: str, **details: str) -> None:
        super().__init__(text)
        self.code = code
        self.details = details


class Context:
    """One connection's requests: who asks, and where to look."""

    __slots__ = ("_peer", "access", "caller", "connection", "owner", "world")

    def __init__(self, world: World, connection: Connection, peer: Peer, access: Access) -> None:
        self.world = world
        self.connection = connection
        self.owner = access.owner_of(peer)
        self.access = access
        self.caller = Caller(peer.uid, peer.gid, peer.pid)
        self._peer = peer

    @property
    def who(self) -> Who:
        """Who asks, by the policy as it is now."""
        peer = self._peer
        return self.access.who(peer.uid, (peer.gid, *peer.groups))

    def identity(self) -> m.Identity:
        """Who asks, and what he may do."""
        peer, admin = self._peer, self.who.is_admin
        return m.Identity(
            uid=peer.uid,
            gid=peer.gid,
            groups=list(peer.groups),
            pid=peer.pid,
            owner=self.owner,
            rules=["read", "control", "admin"] if admin else ["read", "control"],
            admin=admin,
        )

    def check(self, action: str) -> None:
        """Raises Refused (DENIED) for an act on the daemon that the caller may not do.

        What he may do with a job is decided when he names one.
        """
        if not self.access.decide(self.who, action, None).allowed:
            text = f"cannot do this for uid {self._peer.uid}: {action} is for administrators"
            raise Refused(errors.DENIED, text)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """While one reader of logs or events is served. Raises Refused (LIMIT) if there are too many of them."""
        if self.connection.readers >= MAX_READERS:
            raise Refused(errors.LIMIT, f"cannot serve more than {MAX_READERS} readers on one connection at once")
        self.connection.readers += 1
        try:
            yield
        finally:
            self.connection.readers -= 1

    # --- jobs -----------------------------------------------------------------------------------------------------
    def key(self, word: str) -> tuple[int, str] | None:
        """(owner, name) of `web`, `alice/web` or `61001/web`; None when there is no such user."""
        owner, name = names.split_owner(word)
        if owner is None:
            return self.owner, name
        if owner.isdecimal() and len(owner) <= 10:
            return int(owner), name
        try:
            return pwd.getpwnam(owner).pw_uid, name
        except KeyError:
            return None

    def find(self, word: str) -> JobRow | None:
        """The job's row as it is now, or None."""
        key = self.key(word)
        if key is None:
            return None
        job = self.world.registry.jobs.get(key)
        if job is not None:
            return job.row
        return self.world.registry.store.job(*key)

    def job(self, word: str) -> JobRow:
        """The job's row. Raises Refused (NOT_FOUND), with what was probably meant."""
        row = self.find(word)
        if row is None:
            raise self.not_found(word)
        return row

    def not_found(self, word: str) -> Refused:
        """The refusal for a job that is not there."""
        key = self.key(word)
        stem = word.partition("#")[0].removesuffix(".service")
        if stem != word and self.find(stem) is not None:
            meant: str | None = stem
        else:
            meant = None if key is None else names.closest(key[1], self._neighbours(key[0]))
        text = f"cannot find job {word!r}" + (", which would be a run" if "#" in word else "")
        hint = f"; did you mean {meant!r}?" if meant else ""
        return Refused(errors.NOT_FOUND, text + hint, job=word, **({"meant": meant} if meant else {}))

    def _neighbours(self, owner: int) -> list[str]:
        live = [name for uid, name in self.world.registry.jobs if uid == owner]
        page = self.world.registry.store.jobs_page(owner=owner, every=True, limit=MAX_NEIGHBOURS)
        return live + [row.job for row in page]

    def expand(self, words: list[str], at_rest: bool) -> list[str]:
        """Names for words of which some are globs. Globs match live and listed jobs; `at_rest`: all of them."""
        result: dict[str, None] = {}
        for word in words:
            if not names.is_glob(word):
                result[word] = None
                continue
            key = self.key(word)
            if key is None:
                continue
            live = [name for uid, name in self.world.registry.jobs if uid == key[0]]
            literal = key[1][: min(key[1].find(c) for c in "*?[" if c in key[1])]
            pages = self.world.registry.store.jobs_page(owner=key[0], every=at_rest, prefix=literal, limit=MAX_MATCHES)
            known = {*live, *(row.job for row in pages)}
            prefix = word[: -len(key[1])]
            result.update(dict.fromkeys(prefix + name for name in sorted(known) if fnmatch.fnmatchcase(name, key[1])))
        return list(result)

    # --- runs -----------------------------------------------------------------------------------------------------
    def newest(self, row: JobRow) -> RunRow | None:
        """The row of a job's newest run as it is now."""
        return None if row.latest is None else self.run_row(row.owner, row.latest)

    def run_row(self, owner: int, run_id: bytes) -> RunRow | None:
        """The row of a run as it is now, or None."""
        live = self.world.registry.runs.get(run_id)
        if live is not None and live.row.owner == owner:
            return live.row
        return self.world.registry.store.run(owner, run_id)

    def pick(self, word: str, selector: str) -> RunRow:
        """The run of job `word` (may be empty) that `selector` means.

        Raises:
            Refused: NOT_FOUND or AMBIGUOUS, naming the candidates.
        """
        if not word:
            return self._by_suffix(None, selector)
        row = self.job(word)
        number = _number(selector)
        if number is None:
            return self._by_suffix(row, selector)
        if number <= 0:
            number = row.runs + number
        if number == row.runs and row.latest is not None:
            found = self.run_row(row.owner, row.latest)
        else:
            found = self.world.registry.store.run_number(row.owner, row.job, number) if number > 0 else None
        if found is None:
            text = f"cannot find run {selector} of {word}: it has had {row.runs}, numbered from 1"
            raise Refused(errors.NOT_FOUND, text, job=word, run=selector)
        return self.run_row(found.owner, found.run) or found

    def _by_suffix(self, job: JobRow | None, text: str) -> RunRow:
        suffix = text.replace("-", "").lower()
        if not suffix or len(suffix) > 32 or not set(suffix) <= set("0123456789abcdef"):
            raise Refused(errors.INVALID, f"cannot find run {text!r}: give 0, -1, a number, or an id or the end of one")
        owner, name = (self.owner, None) if job is None else (job.owner, job.job)
        rows = self.world.registry.store.runs_by_suffix(owner, suffix, name, SHOWN_CANDIDATES)
        live = (run.row for run in self.world.registry.runs.values() if run.id.hex().endswith(suffix))
        found = {row.run: row for row in (*rows, *live) if job is None or row.job == job.job}
        if not found:
            where = "" if job is None else f" of {job.job}"
            raise Refused(errors.NOT_FOUND, f"cannot find run {text!r}{where}", run=text)
        if len(found) > 1:
            shown = list(found.values())[:SHOWN_CANDIDATES]
            some = ", ".join(f"{row.job}#{row.number} ({row.run.hex()[-12:]})" for row in shown)
            raise Refused(errors.AMBIGUOUS, f"cannot tell which run {text!r} is: {some}", run=text)
        row = next(iter(found.values()))
        return self.run_row(row.owner, row.run) or row


def _number(selector: str) -> int | None:
    """The number that a selector is, or None when it is an id. Eight digits and more are an id's end."""
    digits = selector.removeprefix("-")
    if not digits:
        return 0
    return int(selector) if digits.isdecimal() and len(digits) < SHOWN_ID else None
