"""How the trio client carries out an exchange: over one connection after another, until all is said."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

from jobd._client.exchanges import Exchange, State
from jobd._client.faults import JobdError, LostError, OverflowedError, Unavailable, error_for
from jobd._client.link import Link, Mailbox
from jobd._client.results import Chunk
from jobd._client.session import RETRY_DELAYS_SEC, delay_before
from jobd._client.watching import Told
from jobd.wire import endpoint, errors

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Sequence
    from typing import Self

    from jobd._client.watching import Watching
    from jobd.wire import messages as m

T = TypeVar("T")


class Connector:
    """Holds the connection and makes a new one when it is lost. `peer` is the last daemon's Hello."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.peer: m.Hello | None = None
        self._nursery = nursery
        self._connecting = trio.Lock()
        self._endpoint: endpoint.Endpoint | None = None
        self._link: Link | None = None

    @property
    def path(self) -> str:
        """Of the daemon's socket."""
        return "" if self._endpoint is None else self._endpoint.path

    async def connect_first(self, socket: str | None, mode: str) -> None:
        """Find the daemon and connect. Raises JobdError."""
        try:
            self._endpoint, sock = await _in_thread(lambda: endpoint.connect(socket, mode))
        except endpoint.EndpointError as e:
            raise error_for(e.code, e.message) from e
        failure: LostError | None = None
        try:
            await self._adopt(sock)
        except LostError as e:  # it left just as we came
            failure = e
        for delay in RETRY_DELAYS_SEC:
            if failure is None:
                return
            await trio.sleep(delay)
            try:
                await self.connected()
                return
            except LostError as e:
                failure = e
        raise Unavailable(errors.UNAVAILABLE, f"cannot reach the daemon: {failure}") from failure

    async def connected(self) -> Link:
        """The connection, made anew if it is lost. Raises LostError, or JobdError for a daemon that refuses us."""
        async with self._connecting:
            if self._link is not None and self._link.lost is None:
                return self._link
            known = self._endpoint
            assert known is not None
            try:
                _, sock = await _in_thread(lambda: (known, known.connect()))
            except endpoint.EndpointError as e:
                if e.code != errors.UNAVAILABLE:
                    raise error_for(e.code, e.message) from e
                raise LostError(e.message) from e
            return await self._adopt(sock)

    async def _adopt(self, sock: _socket.socket) -> Link:
        link = Link(sock)
        await link.greet()
        self._nursery.start_soon(link.read)
        self._nursery.start_soon(link.write)
        self._link = link
        self.peer = link.session.peer
        return link


class Call(Generic[T]):
    """One exchange on its way."""

    def __init__(self, connector: Connector, exchange: Exchange[T]) -> None:
        self._connector = connector
        self._exchange = exchange
        self._link: Link | None = None
        self._box: Mailbox | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._losses = 0  # since the last answer
        self._greeted = False  # by the daemon that was asked last

    async def take(self) -> Sequence[T] | None:
        """What the next answer that gives something gives; None when all is said. Cancelling loses nothing."""
        exchange = self._exchange
        while exchange.state is not State.DONE:
            try:
                box = self._box if exchange.state is State.WAITING else await self._send()
                assert box is not None
                items = exchange.take(await box.get())
                self._losses = 0
            except OverflowedError:
                exchange.again("too slow a reader")
                continue
            except LostError as e:
                await self._lost(e)
                continue
            except JobdError:
                self.leave()
                raise
            if items:
                return items
        self.leave()
        return None

    async def _send(self) -> Mailbox:
        self.leave()
        self._greeted = False
        self._token = trio.lowlevel.current_trio_token()
        self._link = await self._connector.connected()
        self._greeted = True
        self._box = await self._link.open(self._exchange)
        self._exchange.sent()
        return self._box

    async def _lost(self, error: LostError) -> None:
        if self._exchange.state is State.WAITING:  # else it was not sent, and may be sent now
            self._exchange.again(str(error))
        delay = delay_before(self._losses, self._exchange.lasting and self._greeted)
        if delay is None:
            raise Unavailable(errors.UNAVAILABLE, f"cannot reach the daemon any more: {error}") from error
        self._losses += 1
        await trio.sleep(delay)

    @property
    def id(self) -> int:
        """The id of the request under way, for what belongs to it; -1 before there is one."""
        return -1 if self._box is None else self._box.id

    async def tell(self, build: Callable[[int], m.Request]) -> None:
        """Send what has no answer of its own, on the same connection. Raises LostError."""
        assert self._link is not None
        await self._link.tell(build)

    def leave(self) -> None:
        """Take no more answers; the daemon is told if it owes any. Never waits."""
        if self._box is not None and self._link is not None:
            self._link.leave(self._box, cancel=self._exchange.open)
        self._box = None

    def abandon(self) -> None:
        """As `leave`, from a finalizer: it may run in another thread, or in the middle of anything."""
        if self._box is not None and self._token is not None:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self.leave)


class Stream(Generic[T]):
    """Things as they come: an async iterator. To leave early, just stop; `aclose` does it at once."""

    def __init__(self, connector: Connector, exchange: Exchange[T]) -> None:
        self._call = Call(connector, exchange)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        items = await self._call.take()
        if items is None:
            raise StopAsyncIteration
        return items[0]  # an answer holds one or none

    async def aclose(self) -> None:
        """Read no more."""
        self._call.leave()
        await trio.lowlevel.checkpoint()

    def __del__(self) -> None:
        self._call.abandon()


class Chunks(Stream[Chunk]):
    """Output as it comes. It reconnects when the daemon is replaced, and goes on at the very next byte."""


class Changes(Stream[Told]):
    """Changes as they come. It reconnects when the daemon is replaced, and goes on at the next change.

    Attributes:
        cursor: give it as `after` to go on behind what was read, at any time and under any daemon. None at first.
    """

    def __init__(self, connector: Connector, exchange: Watching) -> None:
        super().__init__(connector, exchange)
        self._exchange = exchange

    @property
    def cursor(self) -> int | None:
        return self._exchange.cursor


async def _in_thread(
    work: Callable[[], tuple[endpoint.Endpoint, _socket.socket]],
) -> tuple[endpoint.Endpoint, _socket.socket]:
    """Connect in a thread: it may wait for the keeper's backlog, or for a daemon to be started."""
    abandoned = False

    def watched() -> tuple[endpoint.Endpoint, _socket.socket]:
        found = work()
        if abandoned:
            found[1].close()
        return found

    try:
        return await trio.to_thread.run_sync(watched, abandon_on_cancel=True)
    except trio.Cancelled:
        abandoned = True
        raise
