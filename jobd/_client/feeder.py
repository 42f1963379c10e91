"""The trio client's end of a run's stdin."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from jobd._client.faults import LostError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from jobd._client.call import Call
    from jobd._client.feeding import Feeding


class Feeder:
    """A run's stdin, for one task. An async context manager: leaving it ends the stdin, unless by an exception.

    It reconnects when the daemon is replaced, and goes on at the very next byte. Another client that feeds the run
    takes it over; who leaves without the end can come back, or somebody else can, with another `feed`.
    """

    def __init__(self, call: Call[None], feeding: Feeding) -> None:
        self._call = call
        self._feeding = feeding

    async def __aenter__(self) -> Feeder:
        await self._call.take()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                await self.end()
        finally:
            self._call.leave()

    async def send(self, data: bytes) -> None:
        """Feed the run; returns when the daemon has it all on disk. A run that does not read holds this up.

        Cancelling leaves open how much of it was taken.

        Raises:
            Conflict: the run has ended, has closed its stdin, or is fed by another client.
        """
        self._feeding.add(data)
        await self._until(lambda: self._feeding.settled)

    async def end(self) -> None:
        """End the stdin. What was fed before is read first."""
        self._feeding.finish()
        await self._until(lambda: not self._feeding.is_open)

    async def _until(self, done: Callable[[], bool]) -> None:
        while True:
            with suppress(LostError):  # the next answer that is waited for tells
                while (build := self._feeding.next(self._call.id)) is not None:
                    await self._call.tell(build)
            self._feeding.check()
            if done():
                return
            await self._call.take()
