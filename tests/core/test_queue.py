"""Who begins next: lines, turns between owners, what is heavy, and all limits at once."""

from __future__ import annotations

import random

import pytest

from jobd.core.queue import Board, Group, QueueKey, Setting, Ticket
from jobd.core.queueline import key_of, stored
from jobd.core.records import SHARED

A, B, C = 61001, 61002, 61003
Q: QueueKey = (SHARED, "q")
OWN: QueueKey = (A, "own")


class Table:
    """A board, and how everything about it is set."""

    def __init__(self, slots: int | None = 1, limit: int | None = None, total: int | None = None) -> None:
        self.settings = {Q: Setting(slots, starts=True), OWN: Setting(slots, starts=True)}
        self.limit, self.total = limit, total
        self.board = Board(lambda _: self.limit, lambda: self.total, self.settings.__getitem__)
        self.seq = 0
        self.names: dict[Ticket, str] = {}

    def ticket(self, owner: int = A, queue: QueueKey | None = Q, **more: object) -> Ticket:
        self.seq += 1
        return Ticket(owner, queue, self.seq, item=self.seq, **more)  # type: ignore[arg-type]  # a test's own words

    def submit(self, owner: int = A, queue: QueueKey | None = Q, **more: object) -> Ticket:
        """As a new run: it begins at once, or waits."""
        ticket = self.ticket(owner, queue, **more)
        if self.board.may_begin(ticket):
            self.board.take(ticket)
        else:
            self.board.wait(ticket)
        return ticket

    def begin(self) -> list[object]:
        return [ticket.item for ticket in self.board.begin()]

    def drain(self, running: Ticket) -> list[object]:
        """Everything, one after another: the order."""
        order: list[object] = []
        while True:
            self.board.leave(running)
            begun = self.board.begin()
            if not begun:
                return order
            (running,) = begun
            order.append(running.item)


def test_first_come_first_served_within_a_priority() -> None:
    table = Table()
    first = table.submit()
    for priority in (0, 0, 5, 0, -1, 5):
        table.submit(priority=priority)
    assert [t.item for t in table.board.waiting(Q)] == [4, 7, 2, 3, 5, 6]
    assert table.drain(first) == [4, 7, 2, 3, 5, 6]


def test_owners_take_turns_whatever_their_priorities() -> None:
    table = Table()
    first = table.submit(A)
    for owner, priority in ((A, 9), (A, 9), (A, 9), (B, -9), (B, 0), (C, 0)):
        table.submit(owner, priority=priority)
    order = [t.item for t in table.board.waiting(Q)]
    assert order == [2, 6, 7, 3, 5, 4]
    assert [table.board.position(t) for t in table.board.waiting(Q)] == [1, 2, 3, 4, 5, 6]
    assert table.drain(first) == order


def test_what_is_heavy_is_waited_for_and_nothing_overtakes_it() -> None:
    table = Table(slots=3)
    small = [table.submit() for _ in range(3)]
    table.submit(weight=2)
    table.submit()
    table.board.leave(small[0])
    assert table.begin() == []
    table.board.leave(small[1])
    assert table.begin() == [4]
    assert table.board.used(Q) == 3
    table.board.leave(small[2])
    assert table.begin() == [5]


def test_what_is_heavier_than_the_queue_has_become_has_it_alone() -> None:
    table = Table(slots=4)
    running = [table.submit(weight=2), table.submit(weight=2)]
    heavy = table.submit(weight=4)
    table.settings[Q] = Setting(1, starts=True)
    table.board.changed(Q)
    assert table.begin() == []  # what runs goes on
    table.board.leave(running[0])
    assert table.begin() == []
    table.board.leave(running[1])
    assert table.begin() == [3]
    table.submit()
    table.board.leave(heavy)
    assert table.begin() == [4]


def test_a_queue_without_slots_or_paused_starts_nothing() -> None:
    table = Table(slots=0)
    table.submit(weight=3)
    assert table.begin() == []
    for setting, begun in ((Setting(5, starts=False), []), (Setting(3, starts=True), [1])):
        table.settings[Q] = setting
        table.board.changed(Q)
        assert table.begin() == begun


def test_slots_raised_let_as_many_begin() -> None:
    table = Table(slots=1)
    for _ in range(5):
        table.submit()
    table.settings[Q] = Setting(3, starts=True)
    table.board.changed(Q)
    assert table.begin() == [2, 3]
    table.settings[Q] = Setting(None, starts=True)
    table.board.changed(Q)
    assert table.begin() == [4, 5]


def test_who_is_at_his_own_limit_is_passed_over_and_comes_back() -> None:
    table = Table(slots=4, limit=1)
    first = table.submit(A)
    table.submit(A)
    assert table.submit(B).state == "begun"
    waits = table.submit(B)
    third = table.submit(C)
    assert third.state == "begun"
    table.board.leave(third)
    assert table.begin() == []
    table.board.leave(first)
    assert table.begin() == [2]
    assert waits.state == "waits"


def test_an_owner_at_his_limit_is_held_up_in_all_his_lines() -> None:
    table = Table(slots=1, limit=2)
    running = [table.submit(queue=None), table.submit(queue=None)]
    table.submit(queue=OWN)
    table.submit(queue=Q)
    table.submit(queue=None)
    assert table.begin() == []
    table.board.leave(running[0])
    assert table.begin() == [3]  # the oldest first, in whichever line
    table.board.leave(running[1])
    assert table.begin() == [4]
    table.limit = None
    table.board.changed_all()
    assert table.begin() == [5]


def test_the_limit_of_all_is_shared_in_turn() -> None:
    table = Table(slots=None, total=1)
    first = table.submit(A, None)
    for owner, queue in ((A, Q), (A, OWN), (A, None), (B, Q), (C, None)):
        table.submit(owner, queue)
    assert table.begin() == []
    order = table.drain(first)
    assert order == [5, 6, 2, 3, 4]  # who has had nothing yet, then each owner's in order
    assert table.board.begun == 0


def test_what_is_kept_out_holds_nobody_up_and_has_its_place_when_it_comes() -> None:
    table = Table()
    running = table.submit()
    held = table.ticket()
    table.board.keep_out(held)
    table.submit()
    assert table.board.counts(Q) == (1, 1, 1)
    assert table.board.position(held) == 0
    table.board.wait(held)
    assert table.board.position(held) == 1
    table.board.keep_out(held)
    table.board.leave(running)
    assert table.begin() == [3]
    assert table.board.out(Q) == [held]
    table.board.leave(held)
    assert table.board.waiting_of(A) == 0


def test_of_an_array_only_so_many_run_and_others_pass() -> None:
    table = Table(slots=4)
    group = Group(2)
    elements = [table.submit(group=group) for _ in range(5)]
    assert [t.state for t in elements] == ["begun", "begun", "waits", "waits", "waits"]
    assert table.submit().state == "begun"  # another job is not held up
    assert table.board.counts(Q) == (3, 3, 0)
    table.board.leave(elements[1])
    assert table.begin() == [3]
    table.board.leave(elements[4])  # one that stands aside is canceled
    table.board.leave(elements[0])
    assert table.begin() == [4]
    for ticket in elements:
        table.board.leave(ticket)
    assert (group.begun, group.lined, group.waiting) == (0, 0, [])


def test_an_element_with_a_higher_priority_takes_another_ones_place_in_the_line() -> None:
    table = Table(slots=1)
    running = table.submit()
    group = Group(1)
    elements = [table.submit(group=group) for _ in range(3)]
    assert [t.lined for t in elements] == [True, False, False]
    new = Ticket(A, Q, 4, priority=3, group=group, item=4)
    table.board.replace(elements[2], new)
    assert (elements[0].lined, new.lined) == (False, True)
    assert table.drain(running) == [4, 2, 3]


def test_moved_to_another_queue() -> None:
    table = Table()
    running = table.submit(queue=Q)
    waits = table.submit(queue=Q)
    new = Ticket(A, OWN, 2, item=2)
    table.board.replace(waits, new)
    assert table.begin() == [2]
    assert (table.board.counts(Q), table.board.counts(OWN)) == ((1, 0, 0), (1, 0, 0))
    table.board.leave(running)
    assert table.board.is_empty(Q)
    assert not table.board.is_empty(OWN)


def test_leaving_twice_changes_nothing() -> None:
    table = Table()
    run = table.submit()
    for _ in range(2):
        table.board.leave(run)
    assert (table.board.begun, table.board.used(Q), table.board.begun_of(A)) == (0, 0, 0)


class Walk(Table):
    """Acts in any order, as dice say."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        super().__init__(slots=3, limit=self.dice.choice([None, 2]), total=self.dice.choice([None, 4]))
        self.groups = [Group(1), Group(2), None, None]
        self.there: list[Ticket] = []
        self.begun: list[Ticket] = []

    def take(self, tickets: list[Ticket]) -> Ticket:
        return tickets.pop(self.dice.randrange(len(tickets)))

    def act(self) -> None:
        dice, act = self.dice, self.dice.random()
        if act < 0.45:
            more = {"weight": dice.randint(1, 3), "priority": dice.randint(-1, 1), "group": dice.choice(self.groups)}
            ticket = self.submit(dice.choice((A, B, C)), dice.choice((Q, OWN, None)), **more)
            (self.begun if ticket.state == "begun" else self.there).append(ticket)
        elif act < 0.65 and self.there:
            dice.choice((self.board.keep_out, self.board.wait))(dice.choice(self.there))
        elif act < 0.7 and self.there:
            self.board.leave(self.take(self.there))
        elif self.begun:
            self.board.leave(self.take(self.begun))

    def let_begin(self) -> list[Ticket]:
        found = self.board.begin()
        for ticket in found:
            self.there.remove(ticket)
            self.begun.append(ticket)
        assert all(self.board.used(queue) <= 3 for queue in (Q, OWN))
        assert self.board.begun == len(self.begun) <= (self.total or 10**6)
        assert all(group.begun <= group.limit for group in self.groups if group is not None)
        return found


def test_ten_thousand_with_four_slots() -> None:
    table = Table(slots=4)
    for at in range(10_000):
        table.submit(A, priority=at % 3)
    order = [ticket.item for ticket in table.board.waiting(Q)]
    assert order == sorted(range(5, 10_001), key=lambda seq: (-((seq - 1) % 3), seq))
    begun = table.board.running(Q)
    found: list[object] = []
    while begun:
        table.board.leave(begun.pop(0))
        begun += (more := table.board.begin())
        found += [ticket.item for ticket in more]
    assert found == order


@pytest.mark.parametrize("seed", range(12))
def test_nothing_is_ever_lost_or_taken_in_halves(seed: int) -> None:
    """Never more than may run, and in the end all have begun, or gone."""
    walk = Walk(seed)
    for _ in range(400):
        walk.act()
        walk.let_begin()
    for ticket in walk.there:
        walk.board.wait(ticket)
    while walk.there:
        assert walk.let_begin() or walk.begun, "somebody waits for nothing"
        if walk.begun:
            walk.board.leave(walk.begun.pop())
    for ticket in walk.begun:
        walk.board.leave(ticket)
    assert walk.board.begun == 0
    assert all(walk.board.is_empty(queue) for queue in (Q, OWN))


def test_a_row_names_its_queue_by_its_owner() -> None:
    for key in ((A, "build"), (SHARED, "build"), None):
        assert key_of(A, stored(key)) == key
    assert (stored((A, "build")), stored((SHARED, "build"))) == ("build", "/build")
