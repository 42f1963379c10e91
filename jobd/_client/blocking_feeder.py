"""The blocking client's end of a run's stdin."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from jobd._client.exchanges import State
from jobd._client.faults import LostError, Unavailable
from jobd._client.feeding import Feeding
from jobd._client.session import RETRY_DELAYS_SEC
from jobd.wire import errors

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from jobd._client.blocking_channel import Channel


class BlockingFeeder:
    """A run's stdin, on a connection of its own; see Feeder."""

    def __init__(self, connect: Callable[[Feeding], Channel], run: bytes) -> None:
        self._connect = connect
        self._feeding = Feeding(run)
        self._channel: Channel | None = None
        self._id = -1

    def __enter__(self) -> BlockingFeeder:
        self._take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.end()
        finally:
            self._close()

    def send(self, data: bytes) -> None:
        """Feed the run; returns when the daemon has it all on disk. A run that does not read holds this up.

        Raises:
            Conflict: the run has ended, has closed its stdin, or is fed by another client.
        """
        self._feeding.add(data)
        self._until(lambda: self._feeding.settled)

    def end(self) -> None:
        """End the stdin. What was fed before is read first."""
        self._feeding.finish()
        self._until(lambda: not self._feeding.is_open)

    def _until(self, done: Callable[[], bool]) -> None:
        while True:
            while self._channel is not None and (build := self._feeding.next(self._id)) is not None:
                try:
                    self._channel.tell(build)
                except LostError:
                    break  # the next answer that is waited for tells
            self._feeding.check()
            if done():
                return
            self._take()

    def _take(self) -> None:
        """The next answer, over as many connections as it takes."""
        feeding = self._feeding
        for delay in (*RETRY_DELAYS_SEC, None):
            try:
                if feeding.state is State.SEND:
                    self._channel = self._connect(feeding)
                    self._id = self._channel.send(feeding)
                if feeding.state is State.WAITING and self._channel is not None:
                    feeding.take(self._channel.receive(self._id))
                return
            except LostError as e:
                self._close()
                if feeding.state is State.WAITING:
                    feeding.again(str(e))
                if delay is None:
                    raise Unavailable(errors.UNAVAILABLE, f"cannot reach the daemon any more: {e}") from e
                time.sleep(delay)

    def _close(self) -> None:
        if self._channel is not None:
            self._channel.sock.close()
            self._channel = None
