"""What a daemon knows of the helpers of a run, and waiting for one."""

from __future__ import annotations

import errno

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.runtime import helpers
from jobd.runtime.helpers import HelperEnd, Helpers, execute
from tests.runtime.fakes import HELPER, Bed, serving


def said(opid: str, **fields: object) -> dict[str, object]:
    return {"op": "helper-done", "run": b"", "o": opid, **HELPER, "done": True, **fields}


def test_the_last_that_have_ended_are_remembered_and_no_check_is_handed_over() -> None:
    known = Helpers()
    for n in range(helpers.KEPT + 3):
        known.note(said(f"reload-{n}", status=n))
    assert known.end("reload-2") is None
    assert known.end("reload-5") == HelperEnd(5)
    known.note(said("check-1"))
    known.note(said("check-2", done=False))
    plain = known.plain()
    assert [fields["o"] for fields in plain][-2:] == ["reload-18", "check-2"]
    assert all(fields.keys() == {"o", *HELPER} for fields in plain)
    other = Helpers()
    other.load(plain)
    assert other.plain() == plain
    other.load(None)


async def test_a_helper_is_waited_for_until_its_end_is_told(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        run = bed.submit()
        await wait_all_tasks_blocked()
        run.empty = True
        bed.keeper.script["helper"] = [("helper-started", HELPER)]
        ends: list[HelperEnd] = []

        async def wait() -> None:
            ends.append(await execute(run, bed.registry, "reload-1", (b"true",), 1_500_000))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            op, fields = bed.keeper.sent[-1]
            assert (op, fields["o"], fields["argv"], fields["timeout_ms"]) == ("helper", "reload-1", [b"true"], 1500)
            assert run.empty is False, "its tree has a process again"
            assert not ends
            bed.keeper.say(run.id, "helper-done", o="reload-1", **{**HELPER, "done": True, "status": 256})
        assert ends == [HelperEnd(256)]
        assert not ends[0].good


async def test_a_check_that_nobody_waits_for_is_ended(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        run = bed.submit()
        await wait_all_tasks_blocked()
        assert (await execute(run, bed.registry, "check-1", (b"true",))).good
        assert run.helpers.end("check-1") is None
        bed.keeper.script["helper"] = []
        for opid in ("check-2", "reload-1"):
            with trio.move_on_after(5):
                await execute(run, bed.registry, opid, (b"true",))
        assert bed.keeper.ops("helper-kill") == ["helper-kill check-2"]


async def test_an_older_keeper_is_not_asked(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        run = bed.submit()
        await wait_all_tasks_blocked()
        bed.keeper.serves = False
        assert await execute(run, bed.registry, "reload-1", (b"true",)) == HelperEnd(-1, "spawn", errno.ENOSYS)
        assert bed.keeper.ops("helper") == []
        for fields in ({"type": "notify"}, {"watchdog_usec": 1}, {"env_files": ((b"/x", False),)}):
            failed = bed.submit(**fields)
            await wait_all_tasks_blocked()
            assert (bed.row(failed).step, bed.row(failed).errno) == ("spawn", errno.ENOSYS)
        assert bed.keeper.ops("spawn") == ["spawn"]


@pytest.mark.parametrize(
    ("end", "good"), [(HelperEnd(0), True), (HelperEnd(9), False), (HelperEnd(0, "exec", 2), False)]
)
def test_what_is_good(end: HelperEnd, good: bool) -> None:
    assert end.good is good
