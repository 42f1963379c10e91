"""What the daemon does by itself, seldom: retention, and letting go of failed transient jobs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from jobd.store.db import StoreError

if TYPE_CHECKING:
    from jobd.runtime.registry import Registry

log = logging.getLogger("jobd.runtime")
FIRST_SEC: Final = 60.0  # after start there is better to do
EVERY_SEC: Final = 600.0  # a run that outlives its time by ten minutes disturbs nobody
BETWEEN_STEPS_SEC: Final = 0.05  # so that removing a million runs is never noticed


class Upkeep:
    """The background task."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def run(self) -> None:
        """Work until cancelled, which leaves every step whole."""
        await trio.sleep(FIRST_SEC)
        while True:
            try:
                while await self._step():
                    await trio.sleep(BETWEEN_STEPS_SEC)
            except StoreError as error:
                log.warning("cannot remove old runs: %s", error)
            await trio.sleep(EVERY_SEC)

    async def _step(self) -> bool:
        return False
