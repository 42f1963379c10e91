"""A list of a few of those that wait: what is counted without being looked at is what one would find by looking."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.core import records
from jobd.core import spec as specs
from jobd.core.policy import Policy, Rule
from jobd.core.records import SHARED
from jobd.rpc.handlers import look
from jobd.wire import messages as m
from tests.rpc.test_queues import ALICE, BOB, context_of
from tests.runtime.fakes import ROOT, Bed, serving
from tests.runtime.jobs import Jobs

LIMIT = 2


def listed(bed: Bed, uid: int = 0, *, walk: bool = False, policy: Policy | None = None) -> tuple[set[str], int]:
    """What stands in the list, and how many are left out; with a pattern that fits all of them, each is looked at."""
    context = context_of(bed, uid)
    if policy is not None:
        context.access.policy = policy
    found = look.list_jobs(context, m.List(id=1, waiting=LIMIT, patterns=["*", "*/*"] if walk else []))
    return {f"{view.owner}/{view.job}" for view in found.jobs}, sum(found.left_out.values())


def in_line(jobs: Jobs, name: str) -> None:
    spec, env = specs.JobSpec(argv=(b"true",), cwd=b"/"), specs.encode_env([])
    jobs.world.submit(0, name, jobs.id(), spec, env, ROOT, singleton=True)


async def busy(bed: Bed) -> Jobs:
    """Of everything that waits a little more than is shown."""
    jobs = Jobs(bed)
    bed.registry.queues.add(0, "build", 1, ROOT)
    bed.registry.queues.add(SHARED, "all", 1, ROOT)
    for number in range(6):
        jobs.make(f"build{number}", queue="build")
        jobs.make(f"hers{number}", ALICE, queue="all")
        jobs.submit(f"held{number}", 0, {"held": True}, {})
    jobs.make("free")
    array = specs.JobSpec(argv=(b"true",), cwd=b"/", array="0-9%1", queue="all")
    bed.registry.arrays.submit(0, "train", b"a" * 16, array, specs.encode_env([]), ROOT, {})
    bed.registry.arrays.submit(0, "all-at-once", b"b" * 16, replace(array, array="0-9"), specs.encode_env([]), ROOT, {})
    await wait_all_tasks_blocked()
    for _ in range(4):
        in_line(jobs, "free")
        in_line(jobs, "held0")
    return jobs


# Of root's 5 that wait in `build` and 6 that are held two each are shown; of those in `all` one of hers and an element.
@pytest.mark.parametrize(("uid", "left"), [(0, 3 + 4 + 4), (ALICE, 4), (BOB, 0)])
async def test_what_is_left_out_is_counted(autojump_clock: MockClock, uid: int, left: int) -> None:
    async with serving(Bed()) as bed:
        await busy(bed)
        names, count = listed(bed, uid)
        assert (names, count) == listed(bed, uid, walk=True)
        assert count == left
        assert ("0/train" in names) is (uid == 0)


async def test_whom_a_rule_shows_some_has_each_looked_at(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        await busy(bed)
        rule = Rule(line=1, uids=frozenset({BOB}), actions=("@read",), owners=(str(ALICE),), jobs=("hers[345]",))
        _, count = listed(bed, BOB, policy=Policy(allow=(rule,)))
        assert count == 3


async def test_what_has_a_slot_and_has_not_begun_waits(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        jobs = await busy(bed)
        bed.registry.launching._free = 0  # no place: a burst has them
        bed.registry.queues.set((0, "build"), ROOT, slots=3)
        await wait_all_tasks_blocked()
        run = jobs.world.jobs[0, "build1"].run
        assert run is not None
        assert run.slot
        assert run.row.state == records.QUEUED
        assert listed(bed) == listed(bed, walk=True)
