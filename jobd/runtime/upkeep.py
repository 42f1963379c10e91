"""What the daemon does by itself, seldom: retention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from jobd.store.db import Policy

if TYPE_CHECKING:
    from jobd.runtime.registry import Registry

FIRST_SEC: Final = 60.0  # after a start there is better to do
EVERY_SEC: Final = 600.0  # a run that outlives its time by ten minutes disturbs nobody
NO_LIMIT: Final = 1 << 62
IDLE_ROUNDS: Final = 144  # without a new run only age counts, and that is looked at once a day


class Upkeep:
    """The background task. What there is to remove, and how, the store knows."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._soon = trio.Event()
        registry.room.wants_retention = self.soon

    def soon(self) -> None:
        """Somebody has no room for logs."""
        self._soon.set()

    async def run(self) -> None:
        """Work until cancelled."""
        self._registry.store.purge()  # what a daemon before us has not come to the end of
        await trio.sleep(FIRST_SEC)
        rounds, retired = IDLE_ROUNDS, -1
        while True:
            rounds += 1
            if self._registry.retired != retired or rounds > IDLE_ROUNDS:
                rounds, retired = 0, self._registry.retired
                self._registry.store.retain(self._policy())
                self._registry.room.count_again(self._registry.owners())
            with trio.move_on_after(EVERY_SEC):
                await self._soon.wait()
                rounds = IDLE_ROUNDS
            self._soon = trio.Event()

    def _policy(self) -> Policy:
        """What is kept. Old logs go before a user's are full, so that his jobs are not held up for them."""
        limit = self._registry.limits().log_bytes
        kept = self._registry.policy.kept
        return Policy(
            keep_runs=NO_LIMIT if kept.runs is None else kept.runs,
            keep_for_ns=NO_LIMIT if kept.for_usec is None else min(NO_LIMIT, kept.for_usec * 1000),
            runs_per_owner=NO_LIMIT if kept.runs_per_owner is None else kept.runs_per_owner,
            log_bytes_per_owner=NO_LIMIT if limit is None else limit * 7 // 8,
        )
