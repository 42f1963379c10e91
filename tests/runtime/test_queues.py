"""Runs in queues: who begins, what a change of a queue does, and what the next daemon takes up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.core import records
from jobd.core.policy import Policy, UserLimits
from jobd.core.records import DRAINING, OPEN, PAUSED, SHARED, QueueRow
from jobd.runtime import holding, together, turns
from jobd.runtime.queues import BATCH, QueueRefused
from jobd.runtime.recovery import recover
from jobd.runtime.slots import LimitReached
from jobd.wire import errors
from tests.runtime.fakes import ROOT, Bed, serving

if TYPE_CHECKING:
    from jobd.runtime.run import Run

KEY = (0, "q")


def queued(slots: int | None = 1) -> Bed:
    bed = Bed()
    bed.registry.queues.add(0, "q", slots, ROOT)
    return bed


async def end(bed: Bed, run: Run) -> None:
    bed.pump.end(run.id)
    bed.keeper.exited(run.id, 0)
    await wait_all_tasks_blocked()


def states(*runs: Run) -> list[str]:
    return [run.row.state for run in runs]


async def test_runs_of_a_queue_begin_as_slots_are_given_back() -> None:
    async with serving(queued(2)) as bed:
        runs = [bed.submit(queue="q", weight=weight) for weight in (1, 1, 2, 1)]
        await wait_all_tasks_blocked()
        assert states(*runs) == ["running", "running", "queued", "queued"]
        assert [bed.registry.slots.position(run) for run in runs[2:]] == [1, 2]
        await end(bed, runs[0])
        assert states(*runs[2:]) == ["queued", "queued"]
        await end(bed, runs[1])
        assert states(*runs[2:]) == ["running", "queued"]
        await end(bed, runs[2])
        assert states(runs[3]) == ["running"]
        assert bed.row(runs[3]).queue == "q"
        assert bed.replayed().queues == bed.store.set_queues
        assert {run: row for (_, run), row in bed.replayed().runs.items()} == bed.store.runs


async def test_runs_change_places_at_once_and_who_was_between_them_does_not_slip_in() -> None:
    async with serving(queued(3)) as bed:
        first, heavy, between, light = [bed.submit(queue="q", weight=weight) for weight in (2, 3, 1, 1)]
        await wait_all_tasks_blocked()
        assert states(first, heavy, between, light) == ["running", "queued", "queued", "queued"]
        holding.switch(bed.registry, heavy, light, ROOT, "")
        await wait_all_tasks_blocked()
        assert states(heavy, between, light) == ["queued", "queued", "running"]
        assert [bed.registry.slots.position(run) for run in (between, heavy)] == [1, 2]
        assert bed.replayed().runs[0, light.id] == bed.row(light)


async def test_what_waits_has_no_task_and_begins_in_order() -> None:
    async with serving(queued(0)) as bed:
        runs = [bed.submit(queue="q") for _ in range(50)]
        await wait_all_tasks_blocked()
        assert all(run.wake.parked and run.env is None for run in runs)
        bed.registry.queues.set(KEY, ROOT, slots=1)
        for run in runs:
            await wait_all_tasks_blocked()
            assert [r for r in runs if r.row.state == "running"] == [run]
            await end(bed, run)
        assert bed.registry.runs == {}


async def test_those_that_are_let_begin_at_once_begin_in_order() -> None:
    """More than there are places between fork and exec: whatever order their tasks run in."""
    async with serving(queued(0)) as bed:
        runs = [bed.submit(queue="q") for _ in range(40)]
        await wait_all_tasks_blocked()
        bed.registry.queues.set(KEY, ROOT, slots=None)
        await wait_all_tasks_blocked()
        assert states(*runs) == ["running"] * 40
        begun = [event.run for event in bed.store.events if event.kind == "starting"]
        assert begun == [run.id for run in runs]


async def test_a_run_that_waits_is_canceled_and_the_next_has_its_place() -> None:
    async with serving(queued()) as bed:
        first, second, third = (bed.submit(queue="q") for _ in range(3))
        await wait_all_tasks_blocked()
        second.ask_stop(ROOT)
        await wait_all_tasks_blocked()
        assert bed.row(second).result == "canceled"
        await end(bed, first)
        assert states(third) == ["running"]
        assert bed.keeper.ops("spawn") == ["spawn"] * 2


async def test_a_run_that_could_not_be_written_leaves_no_trace_in_the_line() -> None:
    async with serving(queued()) as bed:
        first = bed.submit(queue="q")
        bed.store.full = True
        lost = bed.submit(queue="q")
        await wait_all_tasks_blocked()
        bed.store.full = False
        assert lost.gone
        assert bed.registry.slots.board.counts(KEY) == (1, 0, 0)
        await end(bed, first)
        assert bed.registry.slots.board.is_empty(KEY)


async def test_paused_drained_and_opened() -> None:
    async with serving(queued()) as bed:
        queues = bed.registry.queues
        first, second = bed.submit(queue="q"), bed.submit(queue="q")
        await wait_all_tasks_blocked()
        queues.set(KEY, ROOT, state=PAUSED)
        await end(bed, first)
        assert states(second) == ["queued"]
        assert bed.submit(queue="q").row.state == "queued"
        queues.set(KEY, ROOT, state=DRAINING)
        await wait_all_tasks_blocked()
        assert states(second) == ["running"]
        with pytest.raises(QueueRefused) as refused:
            bed.submit(queue="q")
        assert refused.value.code == errors.NOT_APPLICABLE
        assert queues.set(KEY, ROOT, state=OPEN) is not None
        assert queues.set(KEY, ROOT, state=OPEN) is None
        assert bed.submit(queue="q").row.state == "queued"
        assert [e.kind for e in bed.store.events if not e.job] == ["queue-added"] + ["queue-set"] * 3


async def test_slots_lowered_below_what_runs() -> None:
    async with serving(queued(3)) as bed:
        runs = [bed.submit(queue="q") for _ in range(4)]
        await wait_all_tasks_blocked()
        bed.registry.queues.set(KEY, ROOT, slots=1)
        await wait_all_tasks_blocked()
        assert states(*runs) == ["running"] * 3 + ["queued"]
        for run in runs[:2]:
            await end(bed, run)
            assert states(runs[3]) == ["queued"]
        await end(bed, runs[2])
        assert states(runs[3]) == ["running"]


async def test_what_a_queue_refuses() -> None:
    async with serving(queued(2)) as bed:
        queues = bed.registry.queues
        for fields, code, words in (
            ({"queue": "qq"}, errors.NOT_FOUND, 'there is no queue "qq"; did you mean "q"? (there are: batch, q)'),
            ({"queue": "61001/q"}, errors.NOT_FOUND, "there is no queue"),
            ({"queue": "q", "weight": 3}, errors.INVALID, "a weight of 3 is more than queue q has: 2 slots"),
        ):
            with pytest.raises(QueueRefused, match=words.replace("?", r"\?").replace("(", r"\(")[:60]) as refused:
                bed.submit(**fields)
            assert refused.value.code == code
        assert bed.registry.runs == {}
        with pytest.raises(QueueRefused) as refused:
            queues.remove((SHARED, BATCH), ROOT)
        assert refused.value.code == errors.NOT_APPLICABLE
        run = bed.submit(queue="q")
        with pytest.raises(QueueRefused) as refused:
            queues.remove(KEY, ROOT)
        assert refused.value.code == errors.EXISTS
        await wait_all_tasks_blocked()
        await end(bed, run)
        queues.remove(KEY, ROOT)
        assert queues.find(0, "q") is None
        assert bed.replayed().queues == bed.store.set_queues == {}


async def test_names_of_queues() -> None:
    async with serving(queued(2)) as bed:
        queues = bed.registry.queues
        queues.add(SHARED, "q", 3, ROOT)
        assert queues.find(0, "q") == (0, "q")
        assert queues.find(61001, "q") == queues.find(0, "shared/q") == (SHARED, "q")
        assert queues.find(61001, "0/q") == queues.find(61001, "root/q", {"root": 0}.get) == (0, "q")
        assert queues.find(61001, "nobody/q") is None
        assert (queues.word(0, "/q"), queues.word(61001, "/q"), queues.word(0, "q")) == ("shared/q", "q", "q")
        assert queues.add(0, "q", 2, ROOT) is None
        for name, code in (("q", errors.EXISTS), ("-q", errors.INVALID)):
            with pytest.raises(QueueRefused) as refused:
                queues.add(0, name, 7, ROOT)
            assert refused.value.code == code


async def test_a_queue_that_could_not_be_written_is_as_it_was() -> None:
    async with serving(queued(1)) as bed:
        bed.store.full = True
        queues = bed.registry.queues
        for commit in (queues.add(0, "other", 1, ROOT), queues.set(KEY, ROOT, slots=9), queues.remove(KEY, ROOT)):
            assert commit is not None
            assert commit.error is not None
        assert queues.rows[KEY].slots == 1
        assert queues.find(0, "other") is None


async def test_held_runs_are_in_no_line_until_they_are_released() -> None:
    async with serving(queued()) as bed:
        held = bed.submit(queue="q", terms={"held": True})
        other = bed.submit(queue="q")
        await wait_all_tasks_blocked()
        assert states(held, other) == ["queued", "running"]
        assert held.wake.parked
        held.job.note(held, "released", ROOT, None, held=False)
        bed.registry.slots.join(held)
        await end(bed, other)
        assert states(held) == ["running"]


async def test_moved_to_another_queue_and_up() -> None:
    async with serving(queued()) as bed:
        bed.registry.queues.add(SHARED, "other", 1, ROOT)
        first, second, third = (bed.submit(queue="q") for _ in range(3))
        await wait_all_tasks_blocked()
        bed.registry.slots.move(ROOT, (third, {"priority": 1}))
        assert [bed.registry.slots.position(run) for run in (second, third)] == [2, 1]
        bed.registry.slots.move(ROOT, (third, {"queue": "/other"}))
        await wait_all_tasks_blocked()
        assert states(first, second, third) == ["running", "queued", "running"]
        assert (bed.row(third).queue, bed.row(third).priority) == ("/other", 1)
        assert {run: row for (_, run), row in bed.replayed().runs.items()} == bed.store.runs


async def test_limits_of_an_owner_and_of_all() -> None:
    async with serving(queued(5)) as bed:
        bed.registry.policy = Policy(total_running=2)
        runs = [bed.submit(queue="q"), bed.submit(), bed.submit(), bed.submit(queue="q")]
        await wait_all_tasks_blocked()
        assert states(*runs) == ["running", "running", "queued", "queued"]
        await end(bed, runs[0])
        assert states(*runs[2:]) == ["running", "queued"]
        bed.registry.policy = Policy()
        bed.registry.slots.give()
        await wait_all_tasks_blocked()
        assert states(*runs[2:]) == ["running", "running"]


async def test_too_many_that_wait_are_refused_held_ones_too() -> None:
    async with serving(queued(0)) as bed:
        bed.registry.limits = lambda: UserLimits(queued=2)
        slots = bed.registry.slots
        for _ in range(2):
            assert not slots.may_begin(slots.ticket(61001, "a", "", 1), kept_out=True)
            slots.board.keep_out(slots.ticket(61001, "a", "", 1))
        with pytest.raises(LimitReached, match="2 of uid 61001 wait"):
            slots.may_begin(slots.ticket(61001, "a", "", 1), kept_out=True)


async def test_the_next_daemon_takes_up_what_waits_in_order_and_nothing_begins_before_all_is() -> None:
    bed = queued(2)
    async with serving(bed):
        runs = [bed.submit(queue="q", priority=p) for p in (0, 0, 0, 7, 0)]
        held = bed.submit(queue="q", terms={"held": True})
        await wait_all_tasks_blocked()
    after = Bed(bed.store)
    async with serving(after):
        await recover(after.registry)
        await wait_all_tasks_blocked()
        slots = after.registry.slots
        # What ran is lost with its keeper's word; the next two begin.
        assert [run.id for run in slots.running(KEY)] == [runs[3].id, runs[2].id]
        assert [run.id for run in slots.waiting(KEY)] == [runs[4].id]
        assert [run.id for run in slots.out(KEY)] == [held.id]
        assert after.registry.runs[runs[4].id].wake.parked
        assert after.store.runs[runs[0].id].result == "lost"


async def test_a_queue_that_damage_took_is_there_again() -> None:
    bed = queued(2)
    async with serving(bed):
        bed.registry.queues.set(KEY, ROOT, state=PAUSED)
        run = bed.submit(queue="q")
        await wait_all_tasks_blocked()
    bed.store.set_queues.clear()
    after = Bed(bed.store)
    async with serving(after):
        await recover(after.registry)
        await wait_all_tasks_blocked()
        assert after.registry.runs[run.id].row.state == records.RUNNING
        row = after.registry.queues.rows[KEY]
        assert row == QueueRow(owner=0, name="q", slots=1, created_at=row.created_at)


async def test_what_a_run_waits_for_in_words() -> None:
    async with serving(queued(2)) as bed:
        registry, queues = bed.registry, bed.registry.queues
        first, heavy, last = bed.submit(queue="q"), bed.submit(queue="q", weight=2), bed.submit(queue="q")
        await wait_all_tasks_blocked()
        assert [turns.words(registry, run) for run in (first, heavy, last)] == [
            "",
            "for queue q, which has 1 of 2 slots free, of the 2 that it takes",
            "for queue q, which has others before it",
        ]
        queues.set(KEY, ROOT, slots=1)
        assert turns.words(registry, last) == "for queue q, which is full"
        queues.set(KEY, ROOT, slots=0)
        assert turns.words(registry, last) == "for queue q, which has no slots"
        queues.set(KEY, ROOT, slots=None, state=PAUSED)
        assert turns.words(registry, last) == "for queue q, which is paused"
        registry.policy = Policy(total_running=1)
        queues.set(KEY, ROOT, state=OPEN)
        assert turns.words(registry, last) == "until others have ended: 1 run, which is all that may"
        held = bed.submit(queue="q", terms={"held": True})
        assert turns.words(registry, held) == ""


async def test_jobs_that_name_a_queue_that_is_not_there_are_refused_one_by_one() -> None:
    async with serving(queued(2)) as bed:
        gone = bed.submit(queue="q")
        good = bed.submit()
        await wait_all_tasks_blocked()
        for run in (gone, good):
            await end(bed, run)
        bed.registry.queues.remove(KEY, ROOT)
        ids = {gone.row.job: b"n" * 16, good.row.job: b"o" * 16}
        refused = together.start(bed.registry, 0, ids, together.Act(ROOT))
        assert {name: str(why) for name, why in refused.items()} == {
            "job-1": 'it cannot be queued: there is no queue "q" (there are: batch)'
        }
        assert set(bed.registry.runs) == {b"o" * 16}


async def test_canceled_while_it_is_about_to_begin(autojump_clock: MockClock) -> None:
    """Its slot is its own already, and its intent to start on its way to the disk."""
    async with serving(queued()) as bed:
        first, second, third = (bed.submit(queue="q") for _ in range(3))
        await wait_all_tasks_blocked()
        bed.keeper.script.pop("spawn")
        await end(bed, first)
        assert (second.row.state, second.slot) == ("starting", True)
        second.ask_stop(ROOT)
        bed.keeper.say(second.id, "spawned", pid=77, start=1, tracking="process", cgroup="")
        await wait_all_tasks_blocked()
        bed.keeper.exited(second.id, 0)
        bed.pump.end(second.id)
        await wait_all_tasks_blocked()
        assert bed.row(second).state == "finished"
        assert states(third) == ["starting"]
        assert bed.keeper.ops("spawn") == ["spawn"] * 3


async def test_paused_in_the_middle_of_a_burst_nothing_more_begins() -> None:
    async with serving(queued(4)) as bed:
        runs = [bed.submit(queue="q") for _ in range(30)]
        bed.registry.queues.set(KEY, ROOT, state=PAUSED)  # before the tasks of the first four have had a turn
        runs += [bed.submit(queue="q") for _ in range(30)]
        await wait_all_tasks_blocked()
        assert states(*runs) == ["running"] * 4 + ["queued"] * 56
        for run in runs[:4]:
            await end(bed, run)
        assert states(*runs[4:]) == ["queued"] * 56
        bed.registry.queues.set(KEY, ROOT, state=OPEN)
        await wait_all_tasks_blocked()
        assert states(*runs[4:]) == ["running"] * 4 + ["queued"] * 52


async def test_a_thousand_with_four_slots_begin_in_their_order() -> None:
    async with serving(queued(4)) as bed:
        runs = [bed.submit(queue="q") for _ in range(1000)]
        begun: list[bytes] = []
        while bed.registry.runs:
            await wait_all_tasks_blocked()
            running = [run for run in bed.registry.slots.running(KEY) if run.row.state == "running"]
            assert len(running) <= 4
            begun += [run.id for run in running if run.id not in begun[-8:]]
            for run in running:
                bed.pump.end(run.id)
                bed.keeper.exited(run.id, 0)
        assert begun == [run.id for run in runs]
        assert {run: row for (_, run), row in bed.replayed().runs.items()} == bed.store.runs


async def test_the_next_is_begun_with_the_end_and_goes_only_after_it() -> None:
    """A disk that takes its time holds both up; it need not do that one after the other."""
    async with serving(queued()) as bed:
        first, second = bed.submit(queue="q"), bed.submit(queue="q")
        await wait_all_tasks_blocked()
        bed.journal.held = []
        await end(bed, first)
        assert (first.gone, second.row.state) == (False, "starting")
        kinds = [(event.job, event.kind) for event in bed.store.events]
        assert kinds.index(("job-1", "finished")) < kinds.index(("job-2", "starting"))
        assert bed.keeper.ops("go") == ["go"]
        held, bed.journal.held = bed.journal.held, None
        for commit in held:
            commit.settle(None)
        await wait_all_tasks_blocked()
        assert (first.gone, second.row.state) == (True, "running")
