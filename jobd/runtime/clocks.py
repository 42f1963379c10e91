"""The clocks that schedules go by, and the wait for them: the seam to `jobd.host.clock`, which tests double."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from jobd.core.zones import local_zone
from jobd.host import clock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo


class Clocks:
    """The machine's. Until `ringing` nothing is held open, and nothing rings."""

    def __init__(self) -> None:
        self._alarm: clock.Alarm | None = None

    def wall(self) -> int:
        """Nanoseconds since the epoch, as the wall shows it."""
        return clock.wall_ns()

    def boot(self) -> int:
        """Nanoseconds since the machine's start."""
        return clock.boot_ns()

    def here(self) -> tzinfo:
        """The machine's time zone."""
        return local_zone()

    @contextmanager
    def ringing(self) -> Iterator[None]:
        """Have an alarm meanwhile. Raises OSError."""
        self._alarm = clock.Alarm()
        try:
            yield
        finally:
            alarm, self._alarm = self._alarm, None
            alarm.close()

    def set(self, wall: int | None, boot: int | None) -> None:
        """Ring at these moments, and when the wall's clock is set."""
        if self._alarm is not None:
            self._alarm.set(wall, boot)

    async def rings(self) -> None:
        """Return when it rings; it does so until it is set."""
        assert self._alarm is not None
        await trio.lowlevel.wait_readable(self._alarm)
