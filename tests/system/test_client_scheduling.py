"""`jobd.client` about what waits, against the real daemon: queues, holds, times, arrays, figures."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trio

from jobd.client import Conflict, NotFound, connect, connect_blocking
from tests.system.program import DEADLINE_SEC, Gate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jobd.client import BlockingJobs
    from tests.system.program import Program

pytestmark = pytest.mark.slow


@pytest.fixture
def jobs(shared: Program) -> Iterator[BlockingJobs]:
    with connect_blocking(str(shared.socket)) as made:
        yield made


async def test_a_queue_is_waited_for_across_a_killed_daemon(shared: Program, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    env = {"JOBD_TEST_MARK": shared.mark}
    with trio.fail_after(DEADLINE_SEC):
        async with connect(str(shared.socket)) as jobs:
            await jobs.queue_add("line", slots=1)
            first = await jobs.run(gate.wait, shell=True, name="line-a", env=env, queue="line")
            second = await jobs.run(["false"], name="line-b", env=env, queue="line")
            third = await jobs.run(["true"], name="line-c", env=env, queue="line", priority=5, hold=True)
            assert (first.waits, second.pid) == ("", None)
            assert "line" in second.waits
            (view,) = await jobs.queues("line")
            assert (view.slots, view.running, view.waiting, view.held) == (1, 1, 1, 1)
            assert [run.job for run in (await jobs.queue("line")).runs] == ["line-a", "line-b", "line-c"]
            ended: list[str] = []

            async def wait() -> None:
                ended.extend(f"{each.job} {each.result}" for each in await jobs.wait(queue="line"))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await trio.to_thread.run_sync(shared.replace_daemon)
                await jobs.release("line-c")
                await trio.to_thread.run_sync(gate.open)
            assert ended == ["line-a success", "line-c success", "line-b exit-code"]
            assert (await third.wait()).ok
            await jobs.queue_remove("line")
            with pytest.raises(NotFound):
                await jobs.queue("line")


def test_what_waits_is_held_switched_and_canceled(shared: Program, jobs: BlockingJobs) -> None:
    env = {"JOBD_TEST_MARK": shared.mark}
    jobs.queue_add("acts", 1)
    jobs.queue_pause("acts")
    runs = [jobs.run(["true"], name=f"acts-{name}", env=env, queue="acts") for name in "abc"]
    jobs.queue_switch("acts-a", "acts-c")
    assert [run.job for run in jobs.queue("acts").runs] == ["acts-c", "acts-b", "acts-a"]
    jobs.hold("acts-c")
    runs[1].cancel()
    assert runs[1].wait(DEADLINE_SEC).result == "canceled"
    with pytest.raises(Conflict):
        jobs.queue_remove("acts")
    jobs.queue_slots("acts", None)
    jobs.queue_drain("acts")
    with pytest.raises(Conflict, match="draining"):
        jobs.run(["true"], env=env, queue="acts")
    jobs.release("acts-c")
    assert all(result.ok for result in jobs.wait("acts-a", "acts-c", timeout=DEADLINE_SEC))
    assert [run.job for run in jobs.history(queue="acts")] == ["acts-c", "acts-b", "acts-a"]
    (stats,) = jobs.stats("acts-a")
    assert (stats.runs, stats.success) == (1, 1)
    with pytest.raises(Conflict):
        runs[0].cancel()
    jobs.queue_remove("acts")


def test_runs_that_wait_for_others_and_for_a_time(shared: Program, jobs: BlockingJobs, tmp_path: Path) -> None:
    env = {"JOBD_TEST_MARK": shared.mark}
    gate = Gate(tmp_path / "gate")
    first = jobs.run(gate.wait, shell=True, name="order-a", env=env)
    then = jobs.run(["true"], name="order-b", env=env, after="order-a")
    never = jobs.run(["true"], name="order-c", env=env, after=["order-a:failed"])
    tomorrow = jobs.run(["true"], name="order-d", env=env, at=datetime.now() + timedelta(days=1))
    soon = jobs.run(["true"], name="order-e", env=env, delay=0.01)
    assert "order-a" in then.waits
    assert [timer.job for timer in jobs.timers("order-d")] == ["order-d"]
    gate.open()
    assert [run.wait(DEADLINE_SEC).result for run in (first, then, never, soon)] == [
        "success", "success", "dependency", "success"
    ]  # fmt: skip
    tomorrow.cancel()
    again = jobs.rerun("order-b")
    assert again.wait(DEADLINE_SEC).ok
    assert (again.job, again.number) == ("order-b", 2)


def test_an_array_and_its_elements(shared: Program, jobs: BlockingJobs) -> None:
    env = {"JOBD_TEST_MARK": shared.mark}
    run = jobs.run(["sh", "-c", "exit %i"], name="many", env=env, array="0-3%2")
    assert run.elements == 4
    assert sorted(result.exit_code or 0 for result in run.wait_all(DEADLINE_SEC)) == [0, 1, 2, 3]
    ended = jobs.run(["sh", "-c", "[ %i = 3 ] || exit %i"], name="many-more", env=env, array="0-3%1").wait(DEADLINE_SEC)
    assert (ended.job, ended.ok, ended.exit_code) == ("many-more@1", False, 1)  # though the last one succeeded
    assert sorted(result.job for result in jobs.wait("many")) == [f"many@{at}" for at in range(4)]
