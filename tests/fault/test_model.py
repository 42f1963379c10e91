"""The machine finds nothing in a jobd that does what the model says, and each fault that is planted in one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fault.model import Model
from tests.fault.model_campaign import explore
from tests.fault.model_fake import Fake
from tests.fault.model_machine import ModelMachine
from tests.fault.model_rows import CANCELED, ENDED, STOPPED, Ending, Plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.fault.model_machine import QueueSeen, Told
    from tests.fault.model_rows import Run, RunSeen, Seen

SEED = 4
EXAMPLES = 300  # at most; a fault is found long before


def test_nothing_is_found_in_a_jobd_that_is_right() -> None:
    assert explore(Fake(), 15, SEED, machine=ModelMachine) == []


class Doubled(Fake):
    """Starts a run twice."""

    def run(self, name: str, plan: Plan, run: str, *, hold: bool) -> str:
        code = super().run(name, plan, run, hold=hold)
        if not code and plan.kind == "3":
            self.act("start", name)
        return code


class StopsNot(Fake):
    """Says that it has stopped a job, and has not."""

    def act(self, verb: str, name: str, **how: object) -> tuple[str, str]:
        return ("", "") if verb == "stop" else super().act(verb, name, **how)


class StopFails(Fake):
    """Counts a stop as a failure."""

    def act(self, verb: str, name: str, **how: object) -> tuple[str, str]:
        answer = super().act(verb, name, **how)
        job = self.model.jobs.get(name)
        if job is not None and job.newest is not None and job.newest.end == STOPPED:
            job.newest.end = Ending("signal", signal=15)
        return answer


class ForgetsHold(Fake):
    """A held run begins when something else ends."""

    def tell_end(self, name: str, ending: Ending) -> None:
        for job in self.model.jobs.values():
            if job.live is not None:
                job.live.held = False
        super().tell_end(name, ending)


class Priorities(Fake):
    """First come, first served, whatever the priorities."""

    def run(self, name: str, plan: Plan, run: str, *, hold: bool) -> str:
        return super().run(name, plan._replace(priority=0), run, hold=hold)


class Overtakes(Fake):
    """Takes a run of weight 2 for one of weight 1."""

    def run(self, name: str, plan: Plan, run: str, *, hold: bool) -> str:
        return super().run(name, plan._replace(weight=1), run, hold=hold)


class RemovesNothing(Fake):
    """rm --purge leaves the runs."""

    def act(self, verb: str, name: str, **how: object) -> tuple[str, str]:
        return super().act(verb, name, **how | {"purge": False} if verb == "remove" else how)


class RemovesRuns(Fake):
    """rm takes the runs along."""

    def act(self, verb: str, name: str, **how: object) -> tuple[str, str]:
        return super().act(verb, name, **how | {"purge": True} if verb == "remove" else how)


class FlipsByte(Fake):
    """One byte of an ended run's output is another one."""

    def output(self, name: str, run: str) -> tuple[bytes, bytes]:
        out, err = super().output(name, run)
        if self.find(run).state == ENDED and b"x" in out:
            out = out.replace(b"x", b"y", 1)
        return out, err


class LosesStderr(Fake):
    def tell_text(self, name: str, out: bytes, err: bytes) -> None:
        super().tell_text(name, out, err[:-1])


class WaitsWrong(Fake):
    """wait says success of what was killed."""

    def wait(self, runs: Sequence[str]) -> dict[str, RunSeen]:
        found = super().wait(runs)
        return {run: seen._replace(result="success") if seen.signal == 9 else seen for run, seen in found.items()}


class HistoryShort(Fake):
    """History leaves canceled runs out."""

    def history(self, name: str) -> list[RunSeen] | None:
        found = super().history(name)
        return None if found is None else [seen for seen in found if seen.result != CANCELED.result]


class ListsMasked(Fake):
    """list leaves out what is between two runs."""

    def listed(self) -> set[str]:
        return {name for name in super().listed() if self.model.jobs[name].sub != "auto-restart"}


class QueueOrder(Fake):
    """queue show has the order of names."""

    def queues(self) -> dict[str, QueueSeen]:
        return {name: seen._replace(waiting=tuple(sorted(seen.waiting))) for name, seen in super().queues().items()}


class EventLost(Fake):
    """A follower is not told of one change, which one that asks later is told of."""

    def events(self) -> tuple[list[Told], list[Told]]:
        return [each for each in self.told if each.seq != 6], self.told


class EventTwice(Fake):
    def events(self) -> tuple[list[Told], list[Told]]:
        return [*self.told, *self.told[-1:]], self.told


class EventOfNoEnd(Fake):
    """Nobody is told that runs are canceled."""

    def event(self, run: Run, kind: str, state: str) -> None:
        if run.end != CANCELED:
            super().event(run, kind, state)


class StaysFailed(Fake):
    """reset-failed does nothing."""

    def act(self, verb: str, name: str, **how: object) -> tuple[str, str]:
        if verb == "reset_failed" and name in self.model.jobs:
            return "", ""
        return super().act(verb, name, **how)


class OtherCode(Fake):
    """The exit status is lost on the way to the state, which shows another one."""

    def until_seen(self, wanted: dict[str, Seen]) -> dict[str, Seen]:
        found = super().until_seen(wanted)
        return {name: seen._replace(code=0) if seen.code == 77 else seen for name, seen in found.items()}


FAULTS = (
    Doubled, StopsNot, StopFails, ForgetsHold, Priorities, Overtakes, RemovesNothing, RemovesRuns, FlipsByte,
    LosesStderr, WaitsWrong, HistoryShort, ListsMasked, QueueOrder, EventLost, EventTwice, EventOfNoEnd, StaysFailed,
    OtherCode,
)  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: type[Fake]) -> None:
    found = explore(fault(), EXAMPLES, SEED, machine=ModelMachine)
    assert found
    assert found[0].kind != "broken off", found[0]


def test_a_run_that_is_to_begin_next_is_the_one_of_the_highest_priority() -> None:
    model = Model()
    model.queue_add("q", 0)
    for index, priority in enumerate((0, 1, 1)):
        model.run(f"job-{index}", Plan(queue="q", priority=priority), f"{index}")
    model.queue_set("q", slots=1)
    assert [job.sub for job in model.jobs.values()] == ["queued", "running", "queued"]
