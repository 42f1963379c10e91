"""Runs that wait for the end of other runs (`--after`): who waits for whom, and what an end means for them.

Theory. A run that waits has the ids in its row, and nothing else is durable. What an end decides for those that wait is
committed in the transaction of the end: a condition that is met is taken out of their rows, and one that never will be
ends them, which is an end itself; so a chain of any length falls in a loop and not by recursion. Where there are very
many the rest is told in further steps, with everybody else's turns in between. A daemon that takes runs up finds out by
the same code what it or the one before has not told of; a run that is accepted, what had ended before.

The run of a job that starts again by itself has not ended for good: who waits for it waits for the one that follows, as
does who waits for a run that somebody has replaced by another (`restart`).
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final, NamedTuple

from jobd.core import after, records, states
from jobd.core.after import Need
from jobd.core.exits import GOOD_RESULTS
from jobd.runtime.elements import counts_in
from jobd.runtime.ending import end_unbegun
from jobd.runtime.slots import ROOT, LimitReached

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobd.core.records import JobRow, RunRow
    from jobd.runtime.job import Value
    from jobd.runtime.journal import Commit
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run

Key = tuple[int, bytes]  # owner and id of a run
MET: Final = "dependency-met"  # kinds of events
FOLLOWED: Final = "dependency-moved"
NEEDS_A_RUN: Final = 4  # runs that a user's waiting ones may wait for, on an average: 250 bytes each
STEP: Final = 128  # runs that are told of an end in one turn: 4 ms of the loop
SHOWN: Final = 3  # jobs that are named in words


class _Over(NamedTuple):
    """The end of a run, and who is to be told of it."""

    key: Key
    result: str
    waiting: deque[Run]


class Waiting:
    """One a registry."""

    def __init__(self, world: Registry) -> None:
        self._world = world
        self._by: dict[Key, dict[Run, None]] = {}  # who waits for a run
        self._counts: Counter[int] = Counter()  # how many of these pairs are an owner's
        self._over: deque[_Over] = deque()  # ends of which somebody is to be told yet
        self._settling = False
        self._at_work = False

    # --- beginning to wait ----------------------------------------------------------------------------------------
    def unmet(self, needs: Iterable[Need]) -> tuple[Need, ...]:
        """Those that are not met yet, or never will be."""
        ends = ((need, self._end(need)) for need in needs)
        return tuple(need for need, end in ends if end is None or not after.is_met(need.condition, end))

    def take_on(self, run: Run) -> None:
        """A run was accepted, or is taken up: it waits from now on, if there is anything to wait for."""
        self._world.schedule.take_on(run)
        if not run.row.after:
            return  # as of most
        needs = after.decode(run.row.after, run.row.owner)
        left = self.unmet(needs)
        for need in left:
            end = self._end(need)
            if end is not None:
                self._forsake(run, need, end)
                return
            line = self._by.setdefault((need.owner, need.run), {})
            if run not in line:
                line[run] = None
                self._counts[run.row.owner] += 1
        if left != needs:
            self._note(run, MET, left, "")

    def take_up(self, runs: Iterable[Run]) -> None:
        """All runs of an earlier daemon are there: those that wait go on waiting, or are told what they have missed."""
        for run in runs:
            if run.row.state == records.QUEUED:
                self.take_on(run)

    def _end(self, need: Need) -> str | None:
        """How a run has ended; None: it has not, or another follows it."""
        row = self.row((need.owner, need.run))
        if row is None:
            return self._end_of_array(need)
        if row.state != records.FINISHED:
            return None
        job = self._world.jobs.get((row.owner, row.job))
        if job is not None and job.row.sub == states.AUTO_RESTART and job.row.latest == row.run:
            return None
        return row.result or ""

    def _end_of_array(self, need: Need) -> str | None:
        whole = self._world.arrays.whole(need.owner, need.run)
        if whole is None:
            return after.GONE
        return end_of_array(whole) if whole.sub in states.AT_REST else None

    def row(self, key: Key) -> RunRow | None:
        """A run, live or not."""
        live = self._world.run(*key)
        return self._world.store.run(*key) if live is None else live.row

    def check_room(self, owner: int, count: int) -> None:
        """Raises LimitReached, if an owner's runs would wait for too many others altogether."""
        queued = None if owner == ROOT else self._world.limits().queued
        if queued is not None and self._counts[owner] + count > NEEDS_A_RUN * queued:
            raise LimitReached(
                f"cannot wait for so many runs: those of uid {owner} wait for {self._counts[owner]} others, of the"
                f" {NEEDS_A_RUN * queued} that a user's may; wait for one that comes after them"
            )

    def _uncount(self, run: Run) -> None:
        self._counts[run.row.owner] -= 1
        if not self._counts[run.row.owner]:
            del self._counts[run.row.owner]

    # --- ends -----------------------------------------------------------------------------------------------------
    def ended(self, owner: int, run_id: bytes, result: str) -> None:
        """A run has ended, and none follows it. Within the transaction of its end."""
        key = owner, run_id
        waiting = self._by.pop(key, None)
        if waiting is None:
            return
        for run in waiting:
            self._uncount(run)
        self._over.append(_Over(key, result, deque(waiting)))
        if not self._settling and not self._at_work:
            self._settle()
            if self._over:
                self._at_work = True
                self._world.start_work(self._go_on)

    async def _go_on(self) -> None:
        """Tell the rest, a few at a time."""
        try:
            while self._over and not self._world.stopping:
                await self._settle().wait()
        finally:
            self._at_work = False

    def _settle(self) -> Commit:
        """Tell as many as are told in one transaction. What ends by that is told after them."""
        self._settling = True
        try:
            with self._world.journal.together() as commit:
                for _ in range(STEP):
                    if not self._over:
                        break
                    self._tell(self._over[0], self._over[0].waiting.popleft())
                    while self._over and not self._over[0].waiting:
                        self._over.popleft()
        finally:
            self._settling = False
        return commit

    def _tell(self, over: _Over, run: Run) -> None:
        ends = run.row.state != records.QUEUED or run.row.stop_asked
        if ends or self._world.runs.get(run.id) is not run:
            return  # it ends otherwise, or was never accepted
        key, needs = over.key, after.decode(run.row.after, run.row.owner)
        lost = next((n for n in needs if (n.owner, n.run) == key and not after.is_met(n.condition, over.result)), None)
        if lost is not None:
            self._forsake(run, lost, over.result)
        else:
            self._note(run, MET, after.without(needs, *key), f"{self._name(key, run)} has ended ({over.result})")

    def _forsake(self, run: Run, need: Need, result: str) -> None:
        """It never begins."""
        self.forget(run)
        word = self._name((need.owner, need.run), run)
        end_unbegun(run, self._world, after.DEPENDENCY, after.never(word, need.condition, result))

    def _note(self, run: Run, kind: str, needs: tuple[Need, ...], reason: str) -> None:
        told: dict[str, Value] = {"act.reason": reason} if reason else {}
        run.job.redefine(run, kind, None, {"after": after.encode(needs, run.row.owner), **told}, ())
        if not needs:
            self._world.slots.let_in(run)

    def follow(self, owner: int, old: bytes, new: bytes) -> None:
        """A run has followed another of its job: who waits for that one waits for this. Within one transaction."""
        waiting = self._by.pop((owner, old), {})
        for run in list(waiting):
            if run.row.state != records.QUEUED:
                del waiting[run]
                self._uncount(run)
                continue
            needs = after.decode(run.row.after, run.row.owner)
            self._note(
                run, FOLLOWED, after.moved(needs, owner, old, new), f"{self._name((owner, old), run)} starts again"
            )
        if waiting:
            self._by[owner, new] = waiting

    def forget(self, run: Run) -> None:
        """It waits no more."""
        if not run.row.after:
            return
        for need in after.decode(run.row.after, run.row.owner):
            line = self._by.get((need.owner, need.run))
            if line is not None and run in line:
                del line[run]
                self._uncount(run)
                if not line:
                    del self._by[need.owner, need.run]

    # --- words ----------------------------------------------------------------------------------------------------
    def named(self, row: RunRow) -> list[Awaited]:
        """The runs and arrays that one waits for."""
        needs = after.decode(row.after, row.owner) if row.state == records.QUEUED else ()
        return self.known(needs)

    def known(self, needs: Iterable[Need]) -> list[Awaited]:
        """Those of which something is known."""
        found = []
        for need in needs:
            if (row := self.row((need.owner, need.run))) is not None:
                found.append(Awaited(row.owner, row.job, row.number, need.condition))
            elif (whole := self._world.arrays.whole(need.owner, need.run)) is not None:
                found.append(Awaited(whole.owner, whole.job, 1, need.condition))
        return found

    def words(self, row: RunRow) -> str:
        """What it waits for, for people: `for make-1 to succeed, make-2 to end`."""
        named = self.named(row)
        shown = [f"{other.word(row.owner)} to {after.VERBS[other.condition]}" for other in named[:SHOWN]]
        more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
        return f"for {', '.join(shown)}{more}" if shown else ""

    def _name(self, key: Key, run: Run) -> str:
        known = self.known((Need(*key),))
        return known[0].word(run.row.owner) if known else key[1].hex()


class Awaited(NamedTuple):
    """A run or an array that another waits for."""

    owner: int
    job: str
    number: int
    condition: str

    def word(self, owner: int) -> str:
        """As one of this owner's is told of it: others' with their uid."""
        job = self.job if self.owner == owner else f"{self.owner}/{self.job}"
        return job if self.number == 1 else f"{job}#{self.number}"

    def shown(self, owner: int) -> str:
        """As `run --after` has it."""
        return f"{self.word(owner)}:{self.condition}"


def end_of_array(whole: JobRow) -> str:
    """How an array has ended: well, if all of its elements have; badly, if one has."""
    if whole.result not in GOOD_RESULTS:
        return whole.result
    ends = [result for result in counts_in(whole.array_ended) if result != after.SUCCESS]
    return ends[0] if ends else after.SUCCESS
