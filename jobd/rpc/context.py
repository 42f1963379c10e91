"""A request's surroundings, and what handlers share: who asks, what he may do, and how long he waits for names."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import trio

from jobd.core import names, rules
from jobd.rpc.lookup import Refused
from jobd.rpc.lookup_queues import QueueLookup
from jobd.rpc.lookup_runs import SHOWN_ID
from jobd.rpc.shares import ROOT
from jobd.rpc.words import words_of
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

__all__ = ["SHOWN_ID", "Context", "Refused"]

# Readers of logs and events on one connection; a uid has as many on all of his as he may have connections. One that
# waits has no file open, but all who follow are woken by every commit.
MAX_READERS: Final = 64
NAMES_SEC: Final = 2.0  # for the names of a request; whoever cannot be asked for in this time is nobody
MAX_NAMES: Final = 64  # of users, in one request: each may be a question to a server far away
MAX_OWNERS: Final = 1000  # whose names are looked up ahead


class Context(QueueLookup):
    """One connection's requests: who asks, and where to look."""

    __slots__ = ("caller", "connection")

    def __init__(self, world: World, connection: Connection, peer: Peer, access: Access) -> None:
        self.world = world
        self.connection = connection
        self.access = access
        self.own = access.owner_of(peer)
        self.caller = Caller(peer.uid, peer.gid, peer.pid)
        self._peer = peer

    @property
    def who(self) -> Who:
        """Who asks, by the policy as it is now."""
        peer = self._peer
        return self.access.who(peer.uid, (peer.gid, *peer.groups))

    async def turn(self) -> None:
        """Between two steps of a long request: the others' turn."""
        await self.connection.share.turn()

    def identity(self) -> m.Identity:
        """Who asks, and what he may do."""
        peer, admin = self._peer, self.who.is_admin
        return m.Identity(
            uid=peer.uid,
            gid=peer.gid,
            groups=list(peer.groups),
            pid=peer.pid,
            owner=self.own,
            rules=["read", "control", "admin"] if admin else ["read", "control"],
            admin=admin,
        )

    def is_trusted(self, row: JobRow | RunRow) -> bool:
        """Whether the caller owns the job or all of them. An environment holds passwords, so no rule shows it."""
        return row.owner == self.own or bool(self.who.standing)

    def is_anothers(self, row: JobRow | RunRow) -> bool:
        """Whether it is somebody else's: then an act has to be found again that of one's own would only cost time."""
        return row.owner != self.caller.uid

    def check(self, action: str) -> None:
        """Raises Refused (DENIED) for an act on the daemon that the caller may not do.

        What he may do with a job is decided when he names one.
        """
        if not self.access.decide(self.who, action, None).allowed:
            text = f"cannot do this for uid {self._peer.uid}: {action} is for root and the group {rules.ADMIN_GROUP}"
            raise Refused(errors.DENIED, text)

    # --- names ----------------------------------------------------------------------------------------------------
    def unknown(self, request: m.Request) -> list[str | int]:
        """What has to be looked up before the request can be served: owners in its words, and those that rules name."""
        words = words_of(request)
        if words is None:
            return []
        asked = {owner for word in words if (owner := names.split_owner(word)[0]) and not names.is_glob(owner)}
        who, owners = self.who, []
        if self.access.shared:
            concerned = [rule for rule in self.access.policy.allow if rules.concerns(rule, who)]
            named = {word for rule in concerned for word in rule.owners if word != "*"}
            asked |= {word for word in named if not names.is_glob(word)}
            if named or ((concerned or who.is_admin) and any("/" not in word or "*" in word for word in words)):
                owners = self.owners()[:MAX_OWNERS]
        return self.access.people.unknown(asked, owners)

    async def learn(self, request: m.Request) -> None:
        """Look that up."""
        await self.learn_names(self.unknown(request))

    async def learn_names(self, unknown: list[str | int]) -> None:
        """Look names and uids up; those that nobody tells in time are not known."""
        if sum(isinstance(word, str) for word in unknown) > MAX_NAMES:
            raise Refused(errors.LIMIT, f"cannot look for jobs of more than {MAX_NAMES} users by name at once")
        if unknown:
            people = self.access.people
            with trio.move_on_after(NAMES_SEC) as scope:
                await people.learn(unknown, self._peer.uid)
            if scope.cancelled_caught:
                people.give_up(unknown)

    # --- limits ---------------------------------------------------------------------------------------------------
    @contextmanager
    def reading(self) -> Iterator[None]:
        """While one reader of logs or events is served. Raises Refused (LIMIT) if there are too many of them."""
        if self.connection.readers >= MAX_READERS:
            raise Refused(errors.LIMIT, f"cannot serve more than {MAX_READERS} readers on one connection at once")
        share, limit = self.connection.share, self.access.policy.limits.connections
        if share.uid != ROOT and share.readers >= limit:
            text = f"cannot serve more than {limit} readers of logs and events for uid {share.uid} at once"
            raise Refused(errors.LIMIT, text)
        self.connection.readers += 1
        share.readers += 1
        try:
            yield
        finally:
            self.connection.readers -= 1
            share.readers -= 1
