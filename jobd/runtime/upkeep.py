"""What the daemon does by itself, seldom: retention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from jobd.runtime.registry import Registry

FIRST_SEC: Final = 60.0  # after a start there is better to do
EVERY_SEC: Final = 600.0  # a run that outlives its time by ten minutes disturbs nobody
IDLE_ROUNDS: Final = 144  # without a new run only age counts, and that is looked at once a day


class Upkeep:
    """The background task. What there is to remove, and how, the store knows."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def run(self) -> None:
        """Work until cancelled."""
        self._registry.store.purge()  # what a daemon before us has not come to the end of
        await trio.sleep(FIRST_SEC)
        rounds, retired = IDLE_ROUNDS, -1
        while True:
            rounds += 1
            if self._registry.retired != retired or rounds > IDLE_ROUNDS:
                rounds, retired = 0, self._registry.retired
                self._registry.store.retain()
            await trio.sleep(EVERY_SEC)
