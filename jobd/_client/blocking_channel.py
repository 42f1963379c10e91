"""One connection of the blocking client."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from jobd._client.faults import LostError
from jobd._client.session import RECEIVE_BYTES, Answer, Session

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from jobd._client.exchanges import Exchange
    from jobd.wire import messages as m

T = TypeVar("T")


class Channel:
    """One connection, for one request at a time."""

    __slots__ = ("session", "sock")

    def __init__(self, sock: _socket.socket, end: float | None = None) -> None:
        """Raises LostError, and TimeoutError when the daemon has not greeted us by `end`, of time.monotonic."""
        self.sock = sock
        self.session = Session()
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # a daemon that refuses us has said why, and closed
                sock.sendall(self.session.hello())
            while self.session.peer is None:
                if end is not None:
                    sock.settimeout(max(end - time.monotonic(), 1e-6))
                self.session.feed(sock.recv(RECEIVE_BYTES))
                while self.session.next() is not None:
                    pass  # an answer that nobody asked for
        except OSError as e:
            sock.close()
            if isinstance(e, TimeoutError):
                raise
            raise LostError(f"the connection broke: {e.strerror}") from e
        except BaseException:
            sock.close()
            raise

    def send(self, exchange: Exchange[T]) -> int:
        """Send its request; returns the id. Raises LostError, Invalid."""
        id, frame = self.session.request(exchange.request)  # noqa: A001
        try:
            self.sock.sendall(frame)
        except OSError as e:
            raise LostError(f"the connection broke: {e.strerror}") from e
        exchange.sent()
        return id

    def tell(self, build: Callable[[int], m.Request]) -> None:
        """Send what has no answer of its own. Raises LostError."""
        try:
            self.sock.sendall(self.session.request(build)[1])
        except OSError as e:
            raise LostError(f"the connection broke: {e.strerror}") from e

    def receive(self, id: int) -> Answer:  # noqa: A002  # the field's name
        """The next answer to request `id`. Raises LostError, JobdError, TimeoutError."""
        session = self.session
        while True:
            answer = session.next()
            if answer is None:
                try:
                    session.feed(self.sock.recv(RECEIVE_BYTES))
                except TimeoutError:
                    raise
                except OSError as e:
                    raise LostError(f"the connection broke: {e.strerror}") from e
            elif answer.id == id:
                return answer

    def is_stale(self) -> bool:
        """Whether the daemon has closed it: between two requests nothing else makes it readable."""
        from select import POLLIN, poll

        watch = poll()
        watch.register(self.sock.fileno(), POLLIN)
        return bool(watch.poll(0))
