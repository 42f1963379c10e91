"""What a rule for others' jobs does not give, and what is not done any more once it is taken back."""

from __future__ import annotations

from typing import Literal

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.core.policy import Policy, Rule
from jobd.rpc.context import Refused
from jobd.rpc.handlers import remove, rerun
from jobd.wire import errors
from jobd.wire import messages as m
from tests.rpc.test_lifecycle import Answers
from tests.rpc.test_lookup import ALICE, BOB, Town
from tests.runtime.fakes import ROOT, Bed, serving
from tests.runtime.test_registry import ended

CONTROL = Rule(line=1, uids=frozenset({BOB}), actions=("@control",))
NEW = b"n" * 16


@pytest.mark.parametrize("stdin", ["pipe", "pty"])
async def test_who_repeats_anothers_job_does_not_say_what_feeds_it(
    stdin: Literal["pipe", "pty"], autojump_clock: MockClock
) -> None:
    async with serving(Bed()) as bed:
        town = Town(bed, CONTROL)
        await town.job(ALICE, "web")
        again = m.Rerun(id=1, new=NEW, job=f"{ALICE}/web", exec_wait=False, stdin=stdin)
        with pytest.raises(Refused) as refused:
            await rerun.rerun(town.context(BOB), again)
        assert refused.value.code == errors.DENIED
        for uid, number in ((ALICE, 2), (ROOT.uid, 3)):
            new = bytes([number]) * 16
            request = m.Rerun(id=1, new=new, job=f"{ALICE}/web", exec_wait=False, stdin=stdin)
            await rerun.rerun(town.context(uid), request)
            await ended(bed, bed.registry.runs[new])
        as_it_was = m.Rerun(id=1, new=NEW, job=f"{ALICE}/web", run="1", exec_wait=False, stdin="null")
        await rerun.rerun(town.context(BOB), as_it_was)


async def test_what_was_taken_back_while_a_job_was_stopped_does_not_remove_it(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed, trio.open_nursery() as nursery:
        town = Town(bed, CONTROL)
        run = await town.job(ALICE, "web", live=True)
        await wait_all_tasks_blocked()
        context = town.context(BOB)
        nursery.start_soon(remove.remove, context, m.Remove(id=1, names=[f"{ALICE}/web"], stop=True))
        await wait_all_tasks_blocked()
        assert run.row.stop_asked == "stopped"
        town.access.replace(Policy())
        bed.keeper.exited(run.id, 15)
        bed.pump.end(run.id)
        await wait_all_tasks_blocked()
        assert isinstance(context.connection, Answers)
        (done,) = [body for body in context.connection.bodies if isinstance(body, m.Done)]
        assert done.code == errors.NOT_FOUND
        assert (ALICE, "web") in bed.store.jobs
