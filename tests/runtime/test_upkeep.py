"""Retention keeps what the settings in force say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import trio

from jobd.core.policy import Kept, Policy, UserLimits
from jobd.runtime.upkeep import EVERY_SEC, FIRST_SEC, NO_LIMIT, Upkeep
from jobd.store.db import Policy as Retained

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_each_pass_goes_by_the_settings_of_its_time(autojump_clock: MockClock) -> None:
    passes: list[Retained] = []
    registry = SimpleNamespace(
        policy=Policy(), limits=lambda: UserLimits(log_bytes=800), retired=0, owners=list,
        room=SimpleNamespace(wants_retention=None, count_again=lambda _: None),
        store=SimpleNamespace(purge=lambda: None, retain=passes.append),
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Upkeep(registry).run)  # type: ignore[arg-type]  # a double
        await trio.sleep(FIRST_SEC + 1)
        registry.policy = Policy(kept=Kept(runs=5, for_usec=7, runs_per_owner=9))
        registry.retired += 1
        await trio.sleep(EVERY_SEC)
        registry.policy = Policy(kept=Kept(runs=None, for_usec=None, runs_per_owner=None))
        registry.retired += 1
        await trio.sleep(EVERY_SEC)
        nursery.cancel_scope.cancel()
    assert passes == [
        Retained(log_bytes_per_owner=700),
        Retained(keep_runs=5, keep_for_ns=7000, runs_per_owner=9, log_bytes_per_owner=700),
        Retained(keep_runs=NO_LIMIT, keep_for_ns=NO_LIMIT, runs_per_owner=NO_LIMIT, log_bytes_per_owner=700),
    ]
