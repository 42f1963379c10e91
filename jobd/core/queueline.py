"""The parts of `jobd.core.queue`: how a queue is set, a run's ticket, an array, and one line. Pure."""

from __future__ import annotations

from bisect import bisect_left, insort
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias

from jobd.core.records import SHARED

if TYPE_CHECKING:
    from collections.abc import Iterator

QueueKey: TypeAlias = tuple[int, str]  # owner and name
OUT, WAITS, BEGUN, GONE = "out", "waits", "begun", "gone"
Rank: TypeAlias = tuple[int, int, int]


def stored(key: QueueKey | None) -> str:
    """A queue as a run's row names it: NAME of one of its owner's, /NAME of a shared one."""
    if key is None:
        return ""
    return f"/{key[1]}" if key[0] == SHARED else key[1]


def key_of(owner: int, text: str) -> QueueKey | None:
    """The same backwards, of a run of this owner's; None: it is in none."""
    if not text:
        return None
    return (SHARED, text[1:]) if text.startswith("/") else (owner, text)


class Setting:
    """How a queue is set: how many slots it has (None: no limit), and whether it starts anything."""

    __slots__ = ("slots", "starts")

    def __init__(self, slots: int | None, starts: bool) -> None:
        self.slots = slots
        self.starts = starts

    def fits(self, weight: int, used: int) -> bool:
        """Whether so much may begin. What is heavier than all of it has it alone: slots may have become fewer."""
        if self.slots is None or used + weight <= self.slots:
            return True
        return weight > self.slots > 0 and not used


FREE: Final = Setting(None, starts=True)  # of the line of runs in no queue


class Ticket:
    """One run's part in it. Owned by the Board; `item` is whose it is."""

    __slots__ = ("element", "group", "item", "key", "lined", "owner", "queue", "state", "weight")

    def __init__(
        self, owner: int, queue: QueueKey | None, seq: int, *, priority: int = 0, weight: int = 1,
        place: int | None = None, group: Group | None = None, item: object = None, element: bool = False,
    ) -> None:  # fmt: skip
        self.owner = owner
        self.queue = queue
        self.weight = weight
        self.key: Rank = (-priority, seq if place is None else place, seq)
        self.group = group
        self.element = element or group is not None  # of an array, which need not have a limit
        self.item = item
        self.state = GONE
        self.lined = False  # it is in the line, and not aside for its array's limit

    def __lt__(self, other: Ticket) -> bool:
        return self.key < other.key

    @property
    def place(self) -> int:
        """In its line, among its owner's of the same priority."""
        return self.key[1]


class Group:
    """An array: at most `limit` of it run at once."""

    __slots__ = ("begun", "key", "limit", "lined", "members", "waiting")

    def __init__(self, limit: int, key: QueueKey = (0, "")) -> None:
        self.key = key  # its owner and name
        self.limit = limit
        self.members = 0  # tickets that are of it, kept by whoever makes them
        self.begun = 0
        self.waiting: list[Ticket] = []  # in order; the first `lined` of them are in the line
        self.lined = 0


class Line:
    """Those who wait in one line: by owner, the one whose turn it is first; each owner's in order."""

    __slots__ = ("turns",)

    def __init__(self) -> None:
        self.turns: dict[int, list[Ticket]] = {}

    def __len__(self) -> int:
        return sum(map(len, self.turns.values()))

    def add(self, ticket: Ticket) -> None:
        """A new owner's turn is last."""
        his = self.turns.setdefault(ticket.owner, [])
        if his and ticket < his[-1]:
            insort(his, ticket)
        else:
            his.append(ticket)  # as most: in the order of acceptance
        ticket.lined = True

    def remove(self, ticket: Ticket) -> bool:
        """Returns whether it was its owner's last."""
        his = self.turns[ticket.owner]
        del his[-1 if his[-1] is ticket else bisect_left(his, ticket)]
        ticket.lined = False
        if not his:
            del self.turns[ticket.owner]
        return not his

    def next_turn(self, owner: int) -> None:
        """The owner has had his turn: he is last now."""
        his = self.turns.pop(owner, None)
        if his is not None:
            self.turns[owner] = his

    def position(self, ticket: Ticket) -> int:
        """The how-manieth it is, from 1, if nobody comes to his limit."""
        rank = bisect_left(self.turns[ticket.owner], ticket)
        ahead, mine = rank, False
        for owner, his in self.turns.items():
            if owner == ticket.owner:
                mine = True
            else:
                ahead += min(len(his), rank if mine else rank + 1)
        return ahead + 1

    def in_order(self, skip: int = 0) -> Iterator[Ticket]:
        """All as they begin, if nobody comes to his limit: one of each owner in turn, in rounds."""
        return islice(self._rounds(), skip, None)

    def _rounds(self) -> Iterator[Ticket]:
        at, lists = 0, list(self.turns.values())
        while lists := [his for his in lists if at < len(his)]:
            for his in lists:
                yield his[at]
            at += 1
