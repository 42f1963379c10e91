"""Which of the runs that wait begins next: lines, turns between owners, and what a run has to pass. Pure.

A run that may begin has to pass four things at once: slots of its queue, the limit of its array, its owner's limit, and
that of all runs together. Nothing is taken in halves: `Board.begin` takes all four for it, or none.

Theory. Each queue has one line, and so have all runs that are in no queue. In a line the owners take turns; of the
owner whose turn it is, the highest priority is first, and then the place: in the order of acceptance, unless somebody
moved it. So a priority orders one's own runs and takes nothing from others. Who is at his own limit is passed over. The
head of a line waits until its weight fits, and nothing overtakes it: what is heavy would wait for ever else. What is
kept out (held, before its time, behind other runs) is in no line and holds nobody up. Of an array only so many elements
are in the line as may begin; the others stand aside.

A change costs the lines that it concerns. Those in which something may begin are noted (`_open`) and looked at by the
next `begin`; where the limit of all is what keeps them, they stay noted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING

from jobd.core.queueline import BEGUN, FREE, GONE, OUT, WAITS, Group, Line, QueueKey, Setting, Ticket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["BEGUN", "FREE", "GONE", "OUT", "WAITS", "Board", "Group", "QueueKey", "Setting", "Ticket"]


class _Owner:
    __slots__ = ("begun", "lines", "turn", "waiting")

    def __init__(self) -> None:
        self.begun = 0
        self.waiting = 0  # and what is kept out
        self.lines: set[QueueKey | None] = set()  # where he waits
        self.turn = 0  # when he last began something, between lines


class Board:
    """All that has begun, waits or is kept out.

    `limit(owner)`, `total()`: how many may run at once, None is no limit. `setting(queue)`: how a queue is set.
    """

    def __init__(
        self,
        limit: Callable[[int], int | None],
        total: Callable[[], int | None],
        setting: Callable[[QueueKey], Setting],
    ) -> None:
        self._limit = limit
        self._total_limit = total
        self._setting = setting
        self._lines: dict[QueueKey | None, Line] = {}
        self._owners: dict[int, _Owner] = {}
        self._open: dict[QueueKey | None, None] = {}  # lines in which something may begin
        self._used: dict[QueueKey, int] = {}
        self._running: dict[QueueKey | None, dict[Ticket, None]] = {}
        self._out: dict[QueueKey | None, dict[Ticket, None]] = {}
        self._aside: dict[QueueKey | None, int] = {}  # how many wait in no line, for their array's limit
        self._single: Counter[tuple[int, QueueKey | None]] = Counter()  # that wait or are kept out, of no array
        self._turns = 0
        self.begun = 0  # of all

    # --- coming and going -----------------------------------------------------------------------------------------
    def may_begin(self, ticket: Ticket) -> bool:
        """Whether a new one would begin at once. Nothing is taken."""
        if self.is_full() or self.is_at_limit(ticket.owner):
            return False
        if ticket.group is not None and ticket.group.begun >= ticket.group.limit:
            return False
        line = self._lines.get(ticket.queue)
        if line is None:
            setting = self._setting_of(ticket.queue)
            return setting.starts and setting.fits(ticket.weight, self._used_of(ticket.queue))
        self._into_line(ticket)
        found = self._first(ticket.queue)
        self._out_of_line(ticket)
        return found is ticket

    def take(self, ticket: Ticket) -> None:
        """It has begun: in its turn, at once, or under an earlier daemon."""
        if ticket.group is not None:
            ticket.group.begun += 1  # first: then nothing of its array comes into the line for it
        self._drop(ticket)
        if (line := self._lines.get(ticket.queue)) is not None:
            line.next_turn(ticket.owner)
        owner = self._owner(ticket.owner)
        owner.begun += 1
        self.begun += 1
        self._turns += 1
        owner.turn = self._turns
        if ticket.queue is not None:
            self._used[ticket.queue] = self._used_of(ticket.queue) + ticket.weight
        self._running.setdefault(ticket.queue, {})[ticket] = None
        if ticket.group is not None:
            self._settle(ticket.group)
        ticket.state = BEGUN

    def wait(self, ticket: Ticket) -> None:
        """It waits from now on: a new one, or one that was kept out."""
        if ticket.state == WAITS:
            return
        self._drop(ticket)
        self._count(ticket, 1)
        ticket.state = WAITS
        group = ticket.group
        if group is None:
            self._into_line(ticket)
            return
        at = bisect_left(group.waiting, ticket)
        group.waiting.insert(at, ticket)
        if at < group.lined:
            group.lined += 1
            self._into_line(ticket)
        else:
            self._step_aside(ticket)
        self._settle(group)

    def keep_out(self, ticket: Ticket) -> None:
        """It does not wait for its turn, but for something else."""
        if ticket.state == OUT:
            return
        self._drop(ticket)
        self._count(ticket, 1)
        self._out.setdefault(ticket.queue, {})[ticket] = None
        ticket.state = OUT

    def leave(self, ticket: Ticket) -> None:
        """It is over. Saying it again changes nothing."""
        self._drop(ticket)
        his = self._owners.get(ticket.owner)
        if his is not None and not his.begun and not his.waiting:
            del self._owners[ticket.owner]

    def replace(self, ticket: Ticket, new: Ticket) -> None:
        """One that has not begun waits, or is kept out, with another queue, priority, weight or place."""
        out = ticket.state == OUT
        self.leave(ticket)
        if out:
            self.keep_out(new)
        else:
            self.wait(new)

    def begin(self) -> list[Ticket]:
        """Those who begin now, in order: they are taken."""
        found: list[Ticket] = []
        while self._open and not self.is_full():
            best: Ticket | None = None
            for key in list(self._open):
                first = self._first(key)
                if first is None:
                    del self._open[key]
                elif best is None or self._before(first, best):
                    best = first
            if best is None:
                break
            self.take(best)
            found.append(best)
        return found

    def changed(self, queue: QueueKey | None) -> None:
        """A queue is set otherwise."""
        if queue in self._lines:
            self._open[queue] = None

    def changed_all(self) -> None:
        """Limits are."""
        self._open = dict.fromkeys(self._lines)

    # --- questions ------------------------------------------------------------------------------------------------
    def waiting_of(self, owner: int) -> int:
        """How many of an owner's wait, or are kept out."""
        his = self._owners.get(owner)
        return 0 if his is None else his.waiting

    def begun_of(self, owner: int) -> int:
        """How many of an owner's have begun."""
        his = self._owners.get(owner)
        return 0 if his is None else his.begun

    def used(self, queue: QueueKey) -> int:
        """Slots of a queue that are taken."""
        return self._used_of(queue)

    def running(self, queue: QueueKey | None) -> list[Ticket]:
        """What has begun in a queue, in that order."""
        return list(self._running.get(queue, ()))

    def all_running(self) -> Iterator[Ticket]:
        """What has begun anywhere. Not to be kept over a turn."""
        return chain.from_iterable(self._running.values())

    def out(self, queue: QueueKey | None) -> list[Ticket]:
        """What is kept out of a queue's line."""
        return sorted(self._out.get(queue, ()))

    def counts(self, queue: QueueKey) -> tuple[int, int, int]:
        """How many of a queue run, wait and are kept out."""
        line = self._lines.get(queue)
        waiting = (0 if line is None else len(line)) + self._aside.get(queue, 0)
        return len(self._running.get(queue, ())), waiting, len(self._out.get(queue, ()))

    def singles(self) -> Counter[tuple[int, QueueKey | None]]:
        """How many wait or are kept out that are no elements of arrays, by owner and queue."""
        return self._single.copy()

    def is_empty(self, queue: QueueKey) -> bool:
        """Whether no run is in it."""
        return not any(self.counts(queue))

    def position(self, ticket: Ticket) -> int:
        """The how-manieth of its line it is, if nobody comes to his limit; 0: it is in none."""
        return self._lines[ticket.queue].position(ticket) if ticket.lined else 0

    def waiting(self, queue: QueueKey | None, skip: int = 0) -> Iterator[Ticket]:
        """Those in a line as they begin, if nobody comes to his limit. Not to be kept over a turn."""
        line = self._lines.get(queue)
        return iter(()) if line is None else line.in_order(skip)

    def queues(self) -> list[QueueKey | None]:
        """Those in which something waits, or is kept out."""
        return [*dict.fromkeys((*self._lines, *self._out))]

    def kept_out(self, queue: QueueKey | None) -> Iterator[Ticket]:
        """What is kept out of a queue's line, in the order in which it was. Not to be kept over a turn."""
        return iter(self._out.get(queue, ()))

    def head(self, queue: QueueKey | None) -> Ticket | None:
        """Whom a line waits for; None: nobody waits, or all who do are at their limits."""
        line = self._lines.get(queue)
        if line is None:
            return None
        free = (his[0] for owner, his in line.turns.items() if not self.is_at_limit(owner))
        if self._total_limit() is None:
            return next(free, None)
        # All lines share in what may run: the turns are those of all lines together.
        return min(free, key=lambda ticket: (self._owner(ticket.owner).turn, ticket.key), default=None)

    def is_full(self) -> bool:
        """Whether as many run as may at all."""
        total = self._total_limit()
        return total is not None and self.begun >= total

    def is_at_limit(self, owner: int) -> bool:
        """Whether as many of an owner's run as may."""
        limit = self._limit(owner)
        return limit is not None and self.begun_of(owner) >= limit

    # --- inside ---------------------------------------------------------------------------------------------------
    def _setting_of(self, queue: QueueKey | None) -> Setting:
        return FREE if queue is None else self._setting(queue)

    def _used_of(self, queue: QueueKey | None) -> int:
        return 0 if queue is None else self._used.get(queue, 0)

    def _owner(self, owner: int) -> _Owner:
        his = self._owners.get(owner)
        if his is None:
            his = self._owners[owner] = _Owner()
        return his

    def _first(self, queue: QueueKey | None) -> Ticket | None:
        """Who may begin in a line."""
        setting = self._setting_of(queue)
        head = self.head(queue) if setting.starts else None
        return head if head is not None and setting.fits(head.weight, self._used_of(queue)) else None

    def _before(self, one: Ticket, other: Ticket) -> bool:
        """Who begins first, of two lines: whose owner has waited longer, and of one owner by the order."""
        turn, others = self._owner(one.owner).turn, self._owner(other.owner).turn
        return (turn, one.key) < (others, other.key)

    def _into_line(self, ticket: Ticket) -> None:
        line = self._lines.get(ticket.queue)
        if line is None:
            line = self._lines[ticket.queue] = Line()
        line.add(ticket)
        self._owner(ticket.owner).lines.add(ticket.queue)
        self._open[ticket.queue] = None

    def _out_of_line(self, ticket: Ticket) -> None:
        line = self._lines[ticket.queue]
        if line.remove(ticket):
            self._owner(ticket.owner).lines.discard(ticket.queue)
        if line.turns:
            self._open[ticket.queue] = None  # who was behind it may fit
        else:
            del self._lines[ticket.queue]
            self._open.pop(ticket.queue, None)

    def _step_aside(self, ticket: Ticket, count: int = 1) -> None:
        left = self._aside.pop(ticket.queue, 0) + count
        if left:
            self._aside[ticket.queue] = left

    def _settle(self, group: Group) -> None:
        """Have as many of an array in the line as may begin."""
        room = max(0, group.limit - group.begun)
        while group.lined < min(room, len(group.waiting)):
            ticket = group.waiting[group.lined]
            self._step_aside(ticket, -1)
            self._into_line(ticket)
            group.lined += 1
        while group.lined > room:
            group.lined -= 1
            ticket = group.waiting[group.lined]
            self._out_of_line(ticket)
            self._step_aside(ticket)

    def _drop(self, ticket: Ticket) -> None:
        """Take it from where it is."""
        state, ticket.state = ticket.state, GONE
        if state == BEGUN:
            self._end(ticket)
        elif state == WAITS:
            self._count(ticket, -1)
            self._out_of_waiting(ticket)
        elif state == OUT:
            self._count(ticket, -1)
            _remove(self._out, ticket)

    def _count(self, ticket: Ticket, change: int) -> None:
        """One that waits or is kept out has come, or goes."""
        self._owner(ticket.owner).waiting += change
        if ticket.element:
            return
        key = ticket.owner, ticket.queue
        self._single[key] += change
        if not self._single[key]:
            del self._single[key]

    def _out_of_waiting(self, ticket: Ticket) -> None:
        group, lined = ticket.group, ticket.lined
        if lined:
            self._out_of_line(ticket)
        else:
            self._step_aside(ticket, -1)
        if group is not None:
            del group.waiting[bisect_left(group.waiting, ticket)]
            group.lined -= lined
            self._settle(group)

    def _end(self, ticket: Ticket) -> None:
        his = self._owner(ticket.owner)
        at_limit = self.is_at_limit(ticket.owner)
        his.begun -= 1
        self.begun -= 1
        _remove(self._running, ticket)
        if ticket.queue is not None:
            self._used[ticket.queue] -= ticket.weight
            if not self._used[ticket.queue]:
                del self._used[ticket.queue]
        if ticket.group is not None:
            ticket.group.begun -= 1
            self._settle(ticket.group)
        for key in his.lines if at_limit else (ticket.queue,):
            self.changed(key)
        self.changed(ticket.queue)


def _remove(there: dict[QueueKey | None, dict[Ticket, None]], ticket: Ticket) -> None:
    tickets = there[ticket.queue]
    del tickets[ticket]
    if not tickets:
        del there[ticket.queue]
