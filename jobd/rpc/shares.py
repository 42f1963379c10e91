"""What each uid has of the daemon at once, and whose turn it is.

Theory. The loop is one thread, so what one user has done in it another waits for. Every uid with a connection has a
Share: how many connections and requests he has, what is held for him in memory, and how much of the loop's time he has
used. Who has used his slice waits in line with the rest of his own connections, and gets another one when all who were
ready have had theirs (`Turns`). So a user with five hundred busy connections has one share, as has a user with one.

Limits are read from the policy in force at each decision. Root has no limit; he waits for his turn as everybody does.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable

    from jobd.core.policy import UserLimits
    from jobd.host.peer import Peer
    from jobd.rpc.crowd import Crowd

ROOT: Final = 0
MAX_CONNECTIONS: Final = 2048  # of all but root (security.md A.6); 7 KiB each
SLICE_SEC: Final = 0.0005  # of the loop's time for one uid, when there are others: five status requests
ALONE_SEC: Final = 0.004  # the same for one who is alone
ALONE_AFTER_SEC: Final = 10.0  # nobody else having had a connection
TURN: Final = 32  # requests in a slice, however short they are
ROUND_SEC: Final = 0.002  # who has used less than a slice in this time owes nothing
SEAT_SEC: Final = 0.0002  # what a new connection costs: its task, and the hello
LONG_SEC: Final = 0.0002  # what a request that is a task costs at least, after it was read
STEP_SEC: Final = 0.0002  # what a step of a long request costs, if nobody knows better
LARGE_AT_ONCE: Final = 16  # frames of more than 64 KiB that are received at once for one uid
# Submissions of one uid on their way to the disk. One commit takes all there are, and then all of them go on at once.
# With 64 a loop that queues 10,000 runs gets an eighth more a second than with 16; nobody is there to wait for it.
SUBMITTING: Final = 64
SUBMITTING_AMONG_OTHERS: Final = 4  # halves what these wait at worst; runs cannot be started faster anyway
MAX_SUBMISSIONS: Final = 128  # that wait for that, before a uid's connections are read no further
MAX_UNSENT: Final = 16 << 20  # bytes of answers that one uid's clients do not read


class Share:
    """One uid's. Made with his first connection, gone with his last."""

    __slots__ = (
        "_relieved", "_submitting", "_submitting_few", "began", "connections", "crowd", "floods", "large", "line",
        "readers", "requests", "room", "seating", "submissions", "turns", "uid", "unsent", "used",
    )  # fmt: skip

    def __init__(self, uid: int, turns: Turns | None = None) -> None:
        self.uid = uid
        self.turns = turns
        self.connections = 0
        self.requests = 0  # long ones, under way on all his connections
        self.crowd: Crowd | None = None  # once he has many connections
        self.readers = 0  # of logs and events, among the requests
        self.floods = 0  # of his connections that feed runs, and keep room for it
        self.unsent = 0  # bytes of answers that wait for him to read
        self.large = trio.Semaphore(LARGE_AT_ONCE)
        self.submissions = 0
        self._relieved: trio.Event | None = None
        self._submitting = trio.Semaphore(SUBMITTING)
        self._submitting_few = trio.Semaphore(SUBMITTING_AMONG_OTHERS)
        self.room: deque[tuple[socket.socket, Peer]] = deque()  # accepted, and not served yet
        self.seating = False  # somebody sees to the room
        self.used = 0.0  # seconds of the slice
        self.began = 0.0
        self.line: deque[trio.lowlevel.Task] = deque()  # who waits for the next slice

    @asynccontextmanager
    async def submits(self) -> AsyncIterator[None]:
        """While a submission is on its way to the disk. It begins in a turn of its own."""
        alone = self.turns is None or self.turns.slice_sec == ALONE_SEC
        self.submissions += 1
        try:
            async with self._submitting if alone else self._submitting_few:
                await self.turn()
                yield
        finally:
            self.submissions -= 1
            if self._relieved is not None and self.submissions <= MAX_SUBMISSIONS // 2:
                self._relieved.set()
                self._relieved = None

    async def relieved(self) -> None:
        """Return when so few submissions are under way that more may be read: each waits in a task of its own."""
        while self.submissions > MAX_SUBMISSIONS:
            if self._relieved is None:
                self._relieved = trio.Event()
            await self._relieved.wait()

    async def turn(self, sec: float = STEP_SEC) -> None:
        """Between two steps of a long request: pay for the last one, and let others have their turn."""
        if self.turns is None:
            await trio.lowlevel.checkpoint()
            return
        self.turns.spend(self, sec)
        if self.turns.is_due(self):
            await trio.lowlevel.checkpoint()
        else:
            await self.turns.take(self)


class Turns:
    """Slices of the loop's time, for all uids in turn."""

    def __init__(self) -> None:
        self._waiting: dict[Share, None] = {}  # those with somebody in line
        self._somebody = trio.Event()
        self._users = 0
        self._alone_from = 0.0  # when whoever is alone has been that for long enough
        self.slice_sec = ALONE_SEC

    def share_among(self, users: int) -> None:
        """So many uids have connections now. Who comes and goes finds the slices small when he comes again."""
        now = time.perf_counter()
        if self._users > 1:
            self._alone_from = now + ALONE_AFTER_SEC
        self._users = users
        self.slice_sec = SLICE_SEC if users > 1 or now < self._alone_from else ALONE_SEC

    async def serve(self) -> None:
        """Give out slices until cancelled."""
        while True:
            if not self._waiting:
                self._somebody = trio.Event()
                await self._somebody.wait()
            await trio.lowlevel.checkpoint()  # all who were ready have run, and the sockets were looked at
            for share in list(self._waiting):
                share.used = max(0.0, share.used - self.slice_sec)  # a long request is paid for in the next rounds
                if share.used < self.slice_sec:
                    trio.lowlevel.reschedule(share.line.popleft())
                if not share.line:
                    del self._waiting[share]

    def is_due(self, share: Share) -> bool:
        """Whether the uid has something left of his slice, and nobody of his stands in line."""
        return share.used < self.slice_sec and not share.line

    async def take(self, share: Share) -> None:
        """Return when it is this uid's turn, at once if it is."""
        if self.is_due(share):
            return
        task = trio.lowlevel.current_task()
        share.line.append(task)
        self._waiting[share] = None
        self._somebody.set()

        def leave(_: object) -> trio.lowlevel.Abort:
            share.line.remove(task)
            if not share.line:
                self._waiting.pop(share, None)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(leave)

    def spend(self, share: Share, sec: float) -> None:
        """Note that so much of the slice is used."""
        self.charge(share, time.perf_counter(), sec)

    def charge(self, share: Share, began: float, more: float = 0.0) -> None:
        """Note what was used since `began` (time.perf_counter), and what will be."""
        now = time.perf_counter()
        if not share.line and now - share.began > ROUND_SEC:
            share.began, share.used = began, 0.0
        share.used += max(now - began + more, self.slice_sec / TURN)
        if self._users < 2 and now >= self._alone_from:
            self.slice_sec = ALONE_SEC


class Shares:
    """All of them, and who is let in."""

    def __init__(self, limits: Callable[[], UserLimits], most: int = MAX_CONNECTIONS) -> None:
        self.limits = limits
        self.turns = Turns()
        self.connections = 0
        self._most = most
        self._of: dict[int, Share] = {}

    def refusal(self, uid: int) -> str:
        """Why a uid may have no more connections now, in words; "" when he may.

        He may not have more than are left, so that however many one user has there is as much again for the next.
        """
        if uid == ROOT:
            return ""
        mine = self._of[uid].connections if uid in self._of else 0
        limit = self.limits().connections
        if mine >= limit:
            return f"uid {uid} has {mine} of the {limit} connections that a user may have; close some and try again"
        left = self._most - self.connections
        if mine >= left:
            return f"{self.connections} of {self._most} are in use, {mine} of them by uid {uid}; try again later"
        return ""

    def enter(self, uid: int) -> Share:
        """One connection more."""
        share = self._of.get(uid)
        if share is None:
            share = self._of[uid] = Share(uid, self.turns)
            self.turns.share_among(len(self._of))
        share.connections += 1
        self.connections += 1
        return share

    def leave(self, share: Share) -> None:
        """One connection less."""
        share.connections -= 1
        self.connections -= 1
        if not share.connections:
            del self._of[share.uid]
            if share.crowd is not None:
                share.crowd.close()
            self.turns.share_among(len(self._of))

    def request_refusal(self, share: Share) -> str:
        """Why a uid may have no more requests under way, in words; "" when he may."""
        limit = self.limits().requests
        if share.uid == ROOT or share.requests < limit:
            return ""
        return (
            f"cannot serve this now: uid {share.uid} has {share.requests} of the {limit} requests under way that a user"
            " may have; wait for answers and try again"
        )
