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
from jobd.wire import errors
from jobd.wire import messages as m
from tests.rpc.test_lifecycle import Answers, context_of
from tests.runtime.fakes import Bed, serving


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
