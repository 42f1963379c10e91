"""`mask` of names that no job has: how many there may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobd.rpc.handlers import enable
from jobd.runtime.definitions import Definitions
from jobd.wire import errors
from jobd.wire import messages as m
from tests.rpc.test_lifecycle import Answers, context_of
from tests.runtime.fakes import Bed, serving

if TYPE_CHECKING:
    import pytest
    from trio.testing import MockClock


async def test_as_many_names_are_masked_as_may_be_defined(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enable, "MAX_DEFINED", 2)
    async with serving(Bed()) as bed:
        answers = Answers()
        context = context_of(bed, answers)
        context.world.definitions = Definitions(bed.registry, None, None, 0)  # type: ignore[arg-type]  # no files
        for name in ("a", "b", "c"):
            await enable.mask(context, m.Mask(id=1, names=[name]))
        codes = [body.code for body in answers.bodies if isinstance(body, m.Done)]
        assert codes == ["", "", errors.LIMIT]


async def test_of_a_name_that_was_only_masked_nothing_is_left_when_unmask_answers(autojump_clock: MockClock) -> None:
    async with serving(Bed()) as bed:
        answers = Answers()
        context = context_of(bed, answers)
        context.world.definitions = Definitions(bed.registry, None, None, 0)  # type: ignore[arg-type]  # no files
        await enable.mask(context, m.Mask(id=1, names=["a"]))
        assert [row.job for row in bed.store.jobs.values()] == ["a"]
        await enable.mask(context, m.Mask(id=2, names=["a"], masked=False))
        assert not bed.store.jobs
        assert [event.kind for event in bed.store.events] == ["masked", "removed"]  # in one transaction
