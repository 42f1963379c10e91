"""Arrays on fakes: acceptance in steps, what the whole is while its elements run, and what a new daemon finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from msgspec.structs import replace
from trio.testing import wait_all_tasks_blocked

from jobd.core import after, arrays, states
from jobd.core import spec as specs
from jobd.core.policy import UserLimits
from jobd.core.spec import JobSpec
from jobd.runtime import arrays as module
from jobd.runtime import holding, together
from jobd.runtime.journal import NotDurable
from jobd.runtime.queues import QueueRefused
from jobd.runtime.recovery import recover
from jobd.runtime.slots import LimitReached
from jobd.runtime.submission import NameTaken
from tests.runtime.fakes import ROOT, WELCOME, Bed, serving
from tests.runtime.test_recovery import killed_and_recovered

if TYPE_CHECKING:
    from trio.testing import MockClock

    from jobd.core.records import JobRow
    from jobd.runtime.journal import Commit

BASE = bytes(8) + b"\x80" + bytes(7)


def submit(bed: Bed, text: str, name: str = "train-1", **terms: bool | int | str) -> Commit:
    spec = JobSpec(argv=(b"work", b"%i"), cwd=b"/", array=text)
    return bed.registry.arrays.submit(0, name, BASE, spec, specs.encode_env([b"A=1"]), ROOT, terms)


def whole(bed: Bed, name: str = "train-1") -> JobRow:
    return bed.store.jobs[0, name]


def element(place: int) -> bytes:
    return arrays.element_id(BASE, place)


def end(bed: Bed, place: int, status: int = 0) -> None:
    bed.keeper.exited(element(place), status)
    bed.pump.end(element(place))


def spawned(bed: Bed) -> list[list[bytes]]:
    return [fields["argv"] for op, fields in bed.keeper.sent if op == "spawn"]  # type: ignore[misc]  # as it was sent


def check_replay(bed: Bed) -> None:
    assert bed.replayed().jobs == bed.store.jobs


async def test_every_element_has_its_number_and_the_whole_ends_with_the_last(autojump_clock: MockClock) -> None:
    bed = Bed()
    async with serving(bed):
        submit(bed, "1,3-4")
        await wait_all_tasks_blocked()
        assert sorted(spawned(bed)) == [[b"work", b"1"], [b"work", b"3"], [b"work", b"4"]]
        for op, fields in bed.keeper.sent:
            if op == "spawn":
                argv, env = fields["argv"], fields["env"]
                assert isinstance(argv, list)
                assert isinstance(env, list)
                assert b"JOBD_ARRAY_INDEX=" + argv[1] in env
        assert (whole(bed).sub, whole(bed).runs) == (states.QUEUED, 3)
        assert bed.registry.arrays.counts(whole(bed)) == {"running": 3}
        assert bed.registry.arrays.live_elements(0, "train-1") == ["train-1@1", "train-1@3", "train-1@4"]
        row = bed.store.jobs[0, "train-1@3"]
        assert (row.array_of, bed.store.runs[element(1)].array_index) == ("train-1", 3)
        end(bed, 0)
        end(bed, 2, status=3 << 8)
        await wait_all_tasks_blocked()
        assert bed.registry.arrays.counts(whole(bed)) == {"running": 1, "success": 1, "exit-code": 1}
        end(bed, 1)
        await wait_all_tasks_blocked()
        assert (whole(bed).sub, whole(bed).result) == (states.FAILED, "exit-code")
        assert bed.registry.arrays.counts(whole(bed)) == {"success": 2, "exit-code": 1}
        assert not bed.registry.jobs
        assert not bed.registry.runs
    check_replay(bed)


async def test_it_is_accepted_in_steps_each_with_the_count(autojump_clock: MockClock) -> None:
    bed = Bed()
    async with serving(bed):
        submit(bed, f"0-{4 * module.STEP}", held=True)
        assert len(bed.registry.runs) == 1
        assert bed.registry.arrays.counts(bed.registry.jobs[0, "train-1"].row) == {"queued": 4 * module.STEP + 1}
        await bed.registry.arrays.filled(0, "train-1")
        await wait_all_tasks_blocked()
        steps = [event.data["job.runs"] for event in bed.store.events if event.kind == "filled"]
        assert steps == [1 + module.STEP * n for n in range(1, 5)]
        assert sorted(row.array_index for row in bed.store.runs.values()) == list(range(4 * module.STEP + 1))  # type: ignore[type-var]  # all have one
        assert all(row.held for row in bed.store.runs.values())
    check_replay(bed)


async def test_the_queue_of_one_that_is_still_to_come_is_not_removed(autojump_clock: MockClock) -> None:
    """Its first elements may have ended before the next are there."""
    bed = Bed()
    async with serving(bed):
        bed.registry.queues.add(0, "q", None, ROOT)
        spec = JobSpec(argv=(b"work",), cwd=b"/", array=f"0-{module.STEP}", queue="q")
        bed.registry.arrays.submit(0, "train-1", BASE, spec, specs.encode_env([]), ROOT, {})
        bed.registry.handing_over = trio.Event()  # nothing more is accepted
        await wait_all_tasks_blocked()
        end(bed, 0)
        await wait_all_tasks_blocked()
        assert bed.registry.slots.board.is_empty((0, "q"))
        with pytest.raises(QueueRefused, match="runs are in it"):
            bed.registry.queues.remove((0, "q"), ROOT)


@pytest.mark.parametrize("steps", [0, 1, 2])
async def test_a_daemon_killed_in_the_middle_leaves_none_out_and_accepts_none_twice(
    autojump_clock: MockClock, steps: int
) -> None:
    first = Bed()
    count = 3 * module.STEP
    async with serving(first):
        first.journal.held = []
        commit = submit(first, f"0-{count - 1}", held=True, priority=3)
        for _ in range(steps):
            first.journal.held.pop(0).settle(None)
            await wait_all_tasks_blocked()
        assert commit.done == bool(steps)
    accepted = len(first.store.runs)
    assert accepted < count
    second = await killed_and_recovered(first)
    async with serving(second):
        await recover(second.registry)
        await second.registry.arrays.filled(0, "train-1")
        await wait_all_tasks_blocked()
        rows = sorted(second.store.runs.values(), key=lambda row: row.seq)
        assert [(row.array_index, row.run) for row in rows] == [(n, element(n)) for n in range(count)]
        assert all(row.held and row.priority == 3 and row.number == 1 for row in rows)
        assert whole(second).runs == count
        assert second.registry.arrays.counts(whole(second)) == {"queued": count}


async def test_what_ended_before_the_kill_counts(autojump_clock: MockClock) -> None:
    first = Bed()
    async with serving(first):
        submit(first, "0-2")
        await wait_all_tasks_blocked()
        end(first, 0, status=1 << 8)
        end(first, 2)
        await wait_all_tasks_blocked()
    label = {"owner": 0, "job": "train-1@1", "number": 1}
    second = await killed_and_recovered(first, run=element(1), label=label)
    async with serving(second):
        await recover(second.registry)
        await wait_all_tasks_blocked()
        assert second.registry.arrays.counts(whole(second)) == {"running": 1, "success": 1, "exit-code": 1}
        end(second, 1)
        await wait_all_tasks_blocked()
        assert (whole(second).sub, whole(second).array_ended) == (states.FAILED, "exit-code=1 success=2")


async def test_no_room_for_it_and_nothing_is_left_of_it(autojump_clock: MockClock) -> None:
    bed = Bed()
    async with serving(bed):
        bed.store.full = True
        commit = submit(bed, "0-9")
        with pytest.raises(NotDurable):
            await commit.wait()
        await wait_all_tasks_blocked()
        assert not bed.registry.jobs
        assert not bed.registry.runs
        bed.store.full = False
        submit(bed, "0-9")
        await wait_all_tasks_blocked()
        assert len(bed.registry.runs) == 10


async def test_names_of_elements_belong_to_it(autojump_clock: MockClock) -> None:
    bed = Bed()
    async with serving(bed):
        submit(bed, "0-1")
        for name in ("train-1", "train-1@0"):
            with pytest.raises(NameTaken):
                submit(bed, "0-1", name)
        assert bed.registry.arrays.array_of(0, "train-1@7") == "train-1"
        assert not bed.registry.arrays.array_of(0, "train-2@7")
        spec = JobSpec(argv=(b"true",), cwd=b"/")
        bed.registry.submit(0, "web@1", b"w" * 16, spec, b"", ROOT)
        with pytest.raises(NameTaken):
            submit(bed, "0-1", "web")
        assert (0, "web") not in bed.registry.jobs


async def test_an_element_that_runs_again_makes_the_whole_live_again(autojump_clock: MockClock) -> None:
    bed = Bed()
    async with serving(bed):
        submit(bed, "0-1")
        await wait_all_tasks_blocked()
        end(bed, 0, status=1 << 8)
        end(bed, 1)
        await wait_all_tasks_blocked()
        assert whole(bed).sub == states.FAILED
        again = b"a" * 16
        together.start(bed.registry, 0, {"train-1@0": again}, together.Act(ROOT))
        await wait_all_tasks_blocked()
        assert (whole(bed).sub, bed.store.runs[again].array_index) == (states.QUEUED, 0)
        assert spawned(bed)[-1] == [b"work", b"0"]
        assert bed.registry.arrays.counts(whole(bed)) == {"running": 1, "success": 1}
        bed.keeper.exited(again, 0)
        bed.pump.end(again)
        await wait_all_tasks_blocked()
        assert (whole(bed).sub, whole(bed).array_ended) == (states.DEAD, "success=2")
        assert not bed.registry.jobs
    check_replay(bed)


async def test_stopped_and_canceled_elements_are_no_failures(autojump_clock: MockClock) -> None:
    bed = Bed()
    async with serving(bed):
        submit(bed, "0-2", held=True)
        await wait_all_tasks_blocked()
        names = bed.registry.arrays.live_elements(0, "train-1")
        together.stop(bed.registry, 0, names, ROOT)
        await wait_all_tasks_blocked()
        assert (whole(bed).sub, whole(bed).array_ended) == (states.DEAD, "canceled=3")
    check_replay(bed)


async def test_no_more_of_them_than_its_limit_run_at_once_whoever_takes_it_up(autojump_clock: MockClock) -> None:
    first = Bed()
    async with serving(first):
        submit(first, "0-6%2")
        await wait_all_tasks_blocked()
        assert first.registry.arrays.counts(whole(first)) == {"running": 2, "queued": 5}
        end(first, 1)
        await wait_all_tasks_blocked()
        assert spawned(first)[2:] == [[b"work", b"2"]]
    second = await killed_and_recovered(first)
    second.keeper.welcome = replace(WELCOME, keeper="keeper-2")  # what ran is lost
    async with serving(second):
        await recover(second.registry)
        await wait_all_tasks_blocked()
        assert second.registry.arrays.counts(whole(second)) == {"running": 2, "queued": 2, "success": 1, "lost": 2}
        for place in (3, 4, 5, 6):
            end(second, place)
            await wait_all_tasks_blocked()
        assert whole(second).array_ended == "lost=2 success=5"


async def test_one_that_would_be_too_much_is_refused_as_a_whole(autojump_clock: MockClock) -> None:
    bed = Bed()
    bed.registry.limits = lambda: UserLimits(queued=5)
    async with serving(bed):
        spec = JobSpec(argv=(b"true",), cwd=b"/", array="0-5")
        with pytest.raises(LimitReached) as refused:
            bed.registry.arrays.submit(1000, "train-1", BASE, spec, specs.encode_env([]), ROOT, {"held": True})
        assert "cannot queue 6 more runs: 0 of uid 1000 wait, of the 5" in str(refused.value)
        assert not bed.store.jobs
        spec = replace(spec, array="0-4")
        bed.registry.arrays.submit(1000, "train-1", BASE, spec, specs.encode_env([]), ROOT, {"held": True})
        with pytest.raises(LimitReached):  # four are still to come
            bed.registry.arrays.submit(1000, "train-2", b"o" * 16, spec, specs.encode_env([]), ROOT, {"held": True})
        await bed.registry.arrays.filled(1000, "train-1")
        assert len(bed.registry.runs) == 5


@pytest.mark.parametrize(
    ("ends", "condition", "result"),
    [
        ((0, 0), "ok", None), ((0, 3), "ok", "dependency"), ((0, 3), "failed", None), ((3, 0), "any", None),
        ((0, 0), "failed", "dependency"),
    ],
)  # fmt: skip
async def test_who_waits_for_it_waits_for_all_of_its_elements(
    autojump_clock: MockClock, ends: tuple[int, int], condition: str, result: str | None
) -> None:
    bed = Bed()
    async with serving(bed):
        submit(bed, "0-1")
        await wait_all_tasks_blocked()
        needs = (after.Need(0, BASE, condition),)
        assert bed.registry.waiting.unmet(needs) == needs
        spec = JobSpec(argv=(b"next",), cwd=b"/")
        run = bed.registry.submit(0, "next", b"n" * 16, spec, b"\x90", ROOT, {"after": after.encode(needs, 0)})
        await wait_all_tasks_blocked()
        assert bed.registry.waiting.words(run.row) == f"for train-1 to {after.VERBS[condition]}"
        end(bed, 0, ends[0] << 8)
        await wait_all_tasks_blocked()
        assert bed.row(run).state == "queued"
        end(bed, 1, ends[1] << 8)
        await wait_all_tasks_blocked()
        assert bed.row(run).result == result
        assert ([b"next"] in spawned(bed)) == (result is None)
        assert bool(bed.registry.waiting.unmet(needs)) == (result is not None)
    check_replay(bed)


async def test_elements_of_which_damage_took_the_definition_are_lost(autojump_clock: MockClock) -> None:
    first = Bed()
    async with serving(first):
        first.journal.held = []
        submit(first, "0-9", held=True)
    second = await killed_and_recovered(first)
    second.store.blobs.clear()
    async with serving(second):
        await recover(second.registry)
        await wait_all_tasks_blocked()
        assert (whole(second).sub, whole(second).array_ended) == (states.FAILED, "lost=10")
        assert not second.registry.jobs
    check_replay(second)


async def test_an_element_that_begins_anew_before_its_end_is_written_is_counted_once(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed = Bed()
    async with serving(bed):
        submit(bed, "0-2", held=True)
        await wait_all_tasks_blocked()
        written = dict(bed.store.runs)
        monkeypatch.setattr(bed.store, "run", lambda _owner, run_id: written.get(run_id))
        bed.journal.held = []
        for place in range(3):
            holding.cancel(bed.registry, bed.registry.runs[element(place)], ROOT)
        again = bytes(15) + b"\x07"
        together.start(bed.registry, 0, {"train-1@0": again}, together.Act(ROOT))
        counts = bed.registry.arrays.counts(bed.registry.jobs[0, "train-1"].row)
        assert sum(counts.values()) == 3, counts
        assert counts["canceled"] == 2
        held, bed.journal.held = bed.journal.held, None
        for commit in held:
            commit.settle(None)
        await wait_all_tasks_blocked()
