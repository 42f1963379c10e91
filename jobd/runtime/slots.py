"""How many runs there may be at once, and which of them begin: what is waited for, and whose turn it is.

Owns the lines (`jobd.core.queue`), and who in them belongs to which run. A run that may begin is told so (`run.wake`)
and has its slots from then on, until it leaves. Who has too many waiting is refused. Root is not limited but by what
holds for all.

A run is kept out of its line while it is held, before its time, behind other runs of its own job or others, or behind
jobs that it comes after. Whoever changes one of these says so with `join`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from jobd.core import records
from jobd.core.queue import BEGUN, GONE, Board, Group, Ticket
from jobd.core.queueline import key_of
from jobd.wire import errors

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from jobd.core.policy import UserLimits
    from jobd.core.queue import QueueKey
    from jobd.core.records import RunRow
    from jobd.runtime.job import Caller, Value
    from jobd.runtime.queues import Queues
    from jobd.runtime.run import Run

ROOT: Final = 0
MOVED: Final = "moved"  # the kind of the event
# What keeps a run out of its line.
HELD, TIME, AFTER, IN_LINE, BEHIND = "held", "time", "after", "in-line", "behind"


class LimitReached(Exception):  # noqa: N818  # an answer, not an error of ours
    """A limit of the caller's forbids it; the text says which, and what to do."""

    code = errors.LIMIT


class Slots:
    """The runs of all owners that have begun or wait.

    `is_behind` says whether a run waits for jobs that it comes after, `array_of` of which array a job is an element and
    how many of that may run at once (None: no matter), `to_come` how many of an owner's are admitted and still to be
    accepted.
    """

    def __init__(self, limits: Callable[[], UserLimits], total: Callable[[], int | None], queues: Queues) -> None:
        self._limits = limits
        self.queues = queues
        self.board = Board(self.limit_of, total, queues.setting)
        self.is_behind: Callable[[Run], bool] = lambda _: False
        self.array_of: Callable[[int, str], tuple[str, int | None] | None] = lambda _owner, _job: None
        self.to_come: Callable[[int], int] = lambda _: 0
        self.on_taken_back: Callable[[Run], None] = lambda _: None  # what had been let begin waits again
        self.taking_up = False  # nothing begins until `give`: not all that runs has been taken up
        self._groups: dict[QueueKey, Group] = {}
        self.coming: Callable[[QueueKey], Sequence[object]] = lambda _: ()  # arrays that are to come to a queue
        queues.is_used = lambda key: not self.board.is_empty(key) or bool(self.coming(key))
        queues.on_change = self._set_anew

    def limit_of(self, owner: int) -> int | None:
        """How many of an owner's may run at once."""
        return None if owner == ROOT else self._limits().running

    # --- coming and going -----------------------------------------------------------------------------------------
    def ticket(
        self, owner: int, job: str, queue: str, seq: int, *, priority: int = 0, weight: int = 1,
        place: int | None = None,
    ) -> Ticket:  # fmt: skip
        """What a run takes part with; `queue` as in its row."""
        array, group = self.array_of(owner, job), None
        if array is not None and array[1] is not None:
            group = self._groups.get((owner, array[0])) or Group(array[1], (owner, array[0]))
        return Ticket(
            owner, key_of(owner, queue), seq, priority=priority, weight=weight, place=place, group=group,
            element=array is not None,
        )  # fmt: skip

    def may_begin(self, ticket: Ticket, *, kept_out: bool = False, admitted: bool = False) -> bool:
        """Whether a new run begins at once, or has to wait; one that was `admitted` with others has room for that.

        Raises:
            LimitReached: too many of its owner's wait already.
        """
        if not kept_out and self.board.may_begin(ticket):
            return True
        if not admitted:
            self.check_room(ticket.owner)
        return False

    def check_room(self, owner: int, count: int = 1) -> None:
        """Raises LimitReached if so many more of an owner's would be too many that wait."""
        limit = None if owner == ROOT else self._limits().queued
        waiting = self.board.waiting_of(owner) + self.to_come(owner)
        if limit is not None and waiting + count > limit:
            more = "another run" if count == 1 else f"{count} more runs"
            raise LimitReached(
                f"cannot queue {more}: {waiting} of uid {owner} wait, of the {limit} that a user"
                " may have; wait until some have run, or cancel some"
            )

    def enter(self, run: Run, ticket: Ticket, begins: bool, held: bool = False) -> None:
        """Take a run on, which has its slots from now on or waits; one that is `held` waits for other jobs first."""
        ticket.item, run.ticket = run, ticket
        if ticket.group is not None:
            self._groups[ticket.group.key] = ticket.group
            ticket.group.members += 1
        if begins and not held:
            self.board.take(ticket)
        elif held or self.keeps_out(run):
            self.board.keep_out(ticket)
        else:
            self.board.wait(ticket)

    def take_up(self, run: Run, held: bool = False) -> None:
        """As `enter`, for a run that an earlier daemon accepted: it keeps what it has."""
        row = run.row
        queued = row.state == records.QUEUED
        self.queues.revive(key_of(row.owner, row.queue))
        self.enter(run, self._ticket_of(row), not queued, held and queued)

    def _ticket_of(self, row: RunRow) -> Ticket:
        return self.ticket(
            row.owner, row.job, row.queue, row.seq, priority=row.priority, weight=row.weight, place=row.place
        )

    def keeps_out(self, run: Run) -> str:
        """Why a run is in no line; "" if nothing keeps it out."""
        row = run.row
        if row.waits:
            return HELD if row.held else IN_LINE if row.in_line else AFTER if row.after else TIME
        return BEHIND if self.is_behind(run) else ""

    def join(self, run: Run) -> None:
        """What keeps it out has changed: it has its turn, or waits for more. Saying it again changes nothing."""
        ticket = run.ticket
        if ticket is None or ticket.state in (BEGUN, GONE):
            return
        if self.keeps_out(run):
            self.board.keep_out(ticket)
        else:
            self.board.wait(ticket)
        self._give()

    def let_in(self, run: Run) -> None:
        """One of the things that a run waited for has come. It is woken, unless all that is left is its turn."""
        self.join(run)
        if not run.slot and (not run.wake.parked or self.keeps_out(run) == BEHIND):
            run.wake.set()  # for which jobs it waits is its walk's to know

    # --- questions ------------------------------------------------------------------------------------------------
    def position(self, run: Run) -> int:
        """The how-manieth in its queue's line it is; 0: it is in none."""
        return 0 if run.ticket is None or run.ticket.queue is None else self.board.position(run.ticket)

    def running(self, key: QueueKey) -> list[Run]:
        """What of a queue has begun, in that order."""
        return [cast("Run", ticket.item) for ticket in self.board.running(key)]

    def waiting(self, key: QueueKey, skip: int = 0) -> Iterator[Run]:
        """What waits for its turn, in order, but for the first `skip`. Not to be kept over an await."""
        return (cast("Run", ticket.item) for ticket in self.board.waiting(key, skip))

    def out(self, key: QueueKey) -> list[Run]:
        """What is kept out of the line."""
        return [cast("Run", ticket.item) for ticket in self.board.out(key)]

    def waiting_alone(self) -> Counter[tuple[int, QueueKey | None]]:
        """How many wait, by owner and queue, but for elements of arrays: also those that have a slot and no place."""
        counts = self.board.singles()
        for ticket in self.board.all_running():
            if not ticket.element and cast("Run", ticket.item).row.state == records.QUEUED:
                counts[ticket.owner, ticket.queue] += 1
        return counts

    # --- changes --------------------------------------------------------------------------------------------------
    def move(self, by: Caller | None, *moves: tuple[Run, Mapping[str, Value]]) -> None:
        """Change `queue` (as in a row), `priority`, `weight` or `place` of runs that wait. Who calls has checked it.

        Within a transaction. Who begins by it is seen when all of them are where they belong.
        """
        for run, fields in moves:
            run.job.note(run, MOVED, by, None, **fields)
            old = run.ticket
            if old is not None and old.state not in (BEGUN, GONE):
                self.board.replace(old, self._renewed(run, old))
        self._give()

    def take_back(self, run: Run) -> None:
        """A run that was to begin has not, and is kept out by now: others have what it had."""
        if run.slot and run.row.state == records.QUEUED:
            self._take_back(run)
            self._give()

    def _renewed(self, run: Run, old: Ticket) -> Ticket:
        """The ticket of a run as its row is now, in the place of the old one."""
        run.ticket = new = self._ticket_of(run.row)
        new.item, new.group = run, old.group
        return new

    def _take_back(self, run: Run) -> None:
        old = run.ticket
        assert old is not None
        new = self._renewed(run, old)
        self.board.leave(old)
        if self.keeps_out(run):
            self.board.keep_out(new)
        else:
            self.board.wait(new)
        self.on_taken_back(run)

    def leave(self, run: Run) -> None:
        """The run is over, or was never accepted. Saying it again changes nothing."""
        ticket, run.ticket = run.ticket, None
        if ticket is None:
            return
        self.board.leave(ticket)
        group = ticket.group
        if group is not None:
            group.members -= 1
            if not group.members:
                self._groups.pop(group.key, None)
        self._give()

    def give(self) -> None:
        """Let all begin who may: after a start, and when limits have changed."""
        self.taking_up = False
        self.board.changed_all()
        self._give()

    def _set_anew(self, key: QueueKey) -> None:
        self.board.changed(key)
        self._call_back(key)
        self._give()

    def _call_back(self, key: QueueKey) -> None:
        """What was to begin and has not, in a queue that is paused or has fewer slots by now: the last wait again."""
        setting = self.queues.setting(key) if key in self.queues.rows else None
        if setting is None or (setting.starts and setting.slots is None):
            return
        for run in reversed(self.running(key)):
            if setting.starts and setting.slots is not None and self.board.used(key) <= setting.slots:
                return
            if run.row.state == records.QUEUED and not run.row.stop_asked:
                self._take_back(run)

    def _give(self) -> None:
        while not self.taking_up and (found := self.board.begin()):
            for ticket in found:
                run = cast("Run", ticket.item)
                if run.row.stop_asked:
                    self.board.leave(ticket)  # it ends without having begun
                else:
                    run.wake.set()
