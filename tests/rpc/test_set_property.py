"""`set-property`: what is kept, what a run takes up, and what is refused."""

from __future__ import annotations

import errno

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.core import properties, states
from jobd.core.jobkeys import KEYS
from jobd.core.spec import SpecError
from jobd.rpc.context import Refused
from jobd.rpc.handlers.set_property import set_property
from jobd.runtime.queues import QueueRefused
from jobd.runtime.recovery import recover
from jobd.wire import errors
from jobd.wire import messages as m
from tests.rpc.test_lifecycle import Answers, context_of
from tests.runtime.fakes import ROOT, Bed, serving
from tests.runtime.jobs import Jobs


async def ask(bed: Bed, **settings: str) -> list[str]:
    """The lines of the answer; `__` is a dot."""
    answers = Answers()
    asked = {name.replace("__", "."): text for name, text in settings.items()}
    request = m.SetProperty(id=1, name="job-1", settings=asked)
    await set_property(context_of(bed, answers), request)
    (body,) = answers.bodies
    assert isinstance(body, m.Ok)
    return body.text.splitlines()


async def test_a_run_takes_up_what_it_can_and_the_rest_is_for_the_next(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        run = bed.submit(rlimits={"core": (0, 0)})
        await wait_all_tasks_blocked()
        bed.keeper.unchanged = {"tasks_max": errno.ENOENT}
        lines = await ask(
            bed, limits__memory="1G", limits__tasks="7", limits__nofile="10:20", limits__nice="5", restart="always",
        )  # fmt: skip
        assert [line.partition(": ")[0::2] for line in lines if "tasks" not in line and "memory" not in line] == [
            ("limits.nofile", "now"), ("limits.nice", "at the next start"), ("restart", "now"),
        ]  # fmt: skip
        assert next(line for line in lines if "memory" in line).startswith("limits.memory: kept, without effect: ")
        sent = [fields for op, fields in bed.keeper.sent if op == "set-limits"]
        assert sent == [{"run": run.id, "memory_max": 1 << 30, "tasks_max": 7, "rlimits": {"nofile": [10, 20]}}]
        kept = bed.registry.spec(run.job.row.spec)
        assert (kept.memory_max, kept.nice, kept.restart) == (1 << 30, 5, "always")
        assert kept.rlimits == {"core": (0, 0), "nofile": (10, 20)}
        assert (run.spec.nice, run.spec.restart, run.row.spec == run.job.row.spec) == (0, "always", False)
        assert bed.registry.spec(bed.row(run).spec) == run.spec
        assert bed.replayed().runs == {(0, run.id): run.row}
        assert bed.replayed().jobs == {(0, "job-1"): run.job.row}


async def test_it_is_durable_before_the_keeper_is_told_and_once(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed, trio.open_nursery() as nursery:
        bed.submit()
        await wait_all_tasks_blocked()
        bed.journal.held = []
        nursery.start_soon(lambda: ask(bed, limits__oom_score_adjust="5"))
        await wait_all_tasks_blocked()
        assert "set-limits" not in bed.keeper.ops()
        bed.journal.held.pop().settle(None)
        bed.journal.held = None
        await wait_all_tasks_blocked()
        assert [fields for op, fields in bed.keeper.sent if op == "set-limits"] == [
            {"run": bed.registry.jobs[0, "job-1"].row.latest, "oom_score_adjust": 5}
        ]
        assert await ask(bed, limits__oom_score_adjust="5") == ["limits.oom_score_adjust: now"]  # asked again
        assert [event.kind for event in bed.store.events].count("property-set") == 1


async def test_a_runtime_limit_counts_from_the_start(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        run = bed.submit()
        await wait_all_tasks_blocked()
        await trio.sleep(30)
        assert await ask(bed, limits__runtime="1min") == ["limits.runtime: now"]
        await trio.sleep(29.9)
        assert run.job.row.sub == states.RUNNING
        await trio.sleep(0.2)
        assert run.row.stop_asked == "timeout"


async def test_one_that_is_taken_away_does_not_stop_it(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        run = bed.submit(runtime_usec=10_000_000)
        await wait_all_tasks_blocked()
        await ask(bed, limits__runtime="infinity")
        await trio.sleep(3600)
        assert run.job.row.sub == states.RUNNING


async def test_of_a_job_at_rest_all_is_for_the_next_start(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        run = bed.submit()
        await wait_all_tasks_blocked()
        bed.pump.end(run.id)
        bed.keeper.exited(run.id, 0)
        await wait_all_tasks_blocked()
        before = bed.store.jobs[0, "job-1"]
        assert await ask(bed, description="other", stop__timeout="1s") == [
            "description: now", "stop.timeout: at the next start",
        ]  # fmt: skip
        after = bed.store.jobs[0, "job-1"]
        assert bed.registry.spec(after.spec).description == "other"
        assert bed.registry.spec(before.spec).description == ""
        assert bed.replayed().jobs == bed.store.jobs
        assert "set-limits" not in bed.keeper.ops()


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("schedule", "cannot set schedule of a job that is there; its definition says that: edit it"),
        ("limits", "cannot set all of limits at once: set a key of it, such as limits.memory"),
        ("command", "cannot set command of a job that is there; its definition says that: edit it"),
        ("MemoryMax", 'cannot set "MemoryMax": there is no such key; here it is "limits.memory"'),
        ("limits.memry", 'cannot set "limits.memry": there is no such key; did you mean "limits.memory"?'),
    ],
)
async def test_what_cannot_be_set(autojump_clock: MockClock, key: str, words: str) -> None:
    async with serving(Bed()) as bed:
        bed.submit()
        await wait_all_tasks_blocked()
        with pytest.raises(Refused) as caught:
            await ask(bed, **{key: "1"})
        assert (caught.value.code, str(caught.value)) == (errors.INVALID, words)


def test_every_key_is_one_and_has_its_time() -> None:
    for key in properties.KEYS_TO_SET:
        assert key in KEYS
    with pytest.raises(SpecError, match="KEY=VALUE is missing"):
        properties.read({})


# --- of a run that waits --------------------------------------------------------------------------------------------
def in_queues(bed: Bed) -> Jobs:
    """A queue with a run that goes on and three that wait, and another one that is empty."""
    for name, slots in (("build", 1), ("other", 2)):
        bed.registry.queues.add(0, name, slots, ROOT)
    jobs = Jobs(bed)
    for name in ("a", "b", "c", "job-1"):
        jobs.make(name, queue="build")
    return jobs


def order(bed: Bed, queue: str = "build") -> list[str]:
    return [run.row.job for run in bed.registry.slots.waiting((0, queue))]


async def test_a_run_that_waits_is_moved_at_once(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = in_queues(bed)
        await wait_all_tasks_blocked()
        assert order(bed) == ["b", "c", "job-1"]
        assert await ask(bed, priority="5") == ["priority: now"]
        assert order(bed) == ["job-1", "b", "c"]
        assert await ask(bed, priority="5") == ["priority: now"]
        assert [event.kind for event in bed.store.events].count("moved") == 1
        jobs.check()
        assert await ask(bed, queue="other", weight="2") == ["queue: now", "weight: now"]
        await wait_all_tasks_blocked()
        run = jobs.world.jobs[0, "job-1"].run
        assert run is not None
        assert (run.row.state, run.row.queue, run.row.weight, run.row.priority) == ("running", "other", 2, 5)
        kept = bed.registry.spec(run.job.row.spec)
        assert (kept.queue, kept.weight, kept.priority) == ("other", 2, 5)
        assert await ask(bed, queue="build", priority="1") == [
            "queue: at the next start",
            "priority: at the next start",
        ]
        assert (run.row.queue, run.spec.queue) == ("other", "other")
        jobs.check()


async def test_without_a_queue_it_begins_at_once(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = in_queues(bed)
        await wait_all_tasks_blocked()
        assert await ask(bed, queue="") == ["queue: now"]
        await wait_all_tasks_blocked()
        assert jobs.sub("job-1") == "running"
        assert order(bed) == ["b", "c"]


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        ({"queue": "nope"}, errors.NOT_FOUND, "there is no queue"),
        ({"weight": "2"}, errors.INVALID, "a weight of 2 is more than queue build has: 1 slot"),
        ({"queue": "other", "weight": "3"}, errors.INVALID, "a weight of 3 is more than queue other has: 2 slots"),
        ({"queue": "batch", "weight": "0"}, errors.INVALID, "weight"),
    ],
)
async def test_a_queue_that_does_not_take_it(
    autojump_clock: MockClock, settings: dict[str, str], code: str, words: str
) -> None:
    async with serving(Bed()) as bed:
        jobs = in_queues(bed)
        await wait_all_tasks_blocked()
        with pytest.raises((Refused, QueueRefused), match=words) as refused:
            await ask(bed, **settings)
        assert refused.value.code == code  # type: ignore[attr-defined]  # both have one
        assert order(bed) == ["b", "c", "job-1"]
        jobs.check()


async def test_what_was_moved_is_at_its_place_under_the_next_daemon(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        in_queues(bed)
        await wait_all_tasks_blocked()
        await ask(bed, priority="5")
    again = Bed()
    again.store.runs, again.store.jobs, again.store.blobs = bed.store.runs, bed.store.jobs, bed.store.blobs
    again.registry.queues.add(0, "build", 1, ROOT)
    async with serving(again):
        await recover(again.registry)
        assert order(again) == ["b", "c"]  # what ran is lost, and whose turn it was has its place
        run = again.registry.jobs[0, "job-1"].run
        assert run is not None
        assert run.slot
