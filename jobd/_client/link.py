"""One connection of the trio client: a task that reads and routes answers by their id, and a task that writes.

Each request in flight has a Mailbox, bounded in bytes. When one is full the reading task waits for it to be emptied,
so that the socket's own flow control slows the daemon down. If others wait for answers meanwhile, they go first: the
request is canceled, if it can be resumed, and its owner asks again from where he is once he has emptied his mailbox.
"""

from __future__ import annotations

import math
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from jobd._client.faults import JobdError, LostError, OverflowedError, error_for
from jobd._client.session import RECEIVE_BYTES, Answer, Session
from jobd.wire import messages as m

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import TypeVar

    from jobd._client.exchanges import Exchange

    T = TypeVar("T")

MAILBOX_BYTES: Final = 1 << 20  # one largest frame: anything smaller could not take what may come
ANSWER_BYTES: Final = 200  # what an answer without data counts for
WAITING_FRAMES: Final = 64  # requests handed to the writing task before the next one waits


class Mailbox:
    """The answers to one request, in order, until it is closed."""

    def __init__(self, link: Link, id: int, resumable: bool) -> None:  # noqa: A002  # the field's name
        self.id = id
        self.resumable = resumable
        self.held = 0  # bytes
        self.failure: Exception | None = None
        self._link = link
        self._put, self._get = trio.open_memory_channel[Answer](math.inf)  # `held` is the bound

    @property
    def full(self) -> bool:
        return self.held >= MAILBOX_BYTES

    def put(self, answer: Answer) -> None:
        self.held += _size(answer)
        self._put.send_nowait(answer)

    async def get(self) -> Answer:
        """The next answer. Raises what ended the mailbox, after all that came before: LostError, OverflowedError …"""
        try:
            answer = await self._get.receive()
        except trio.EndOfChannel:
            assert self.failure is not None
            raise _fresh(self.failure) from None
        self.held -= _size(answer)
        self._link.changed()
        return answer

    def end(self, failure: Exception) -> None:
        self.failure = failure
        self._put.close()


class Link:
    """A connection. `lost` is set once it is of no more use."""

    def __init__(self, sock: _socket.socket) -> None:
        self.session = Session()
        self.lost: Exception | None = None
        self._boxes: dict[int, Mailbox] = {}
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(socket.socket(fileno=sock.detach())))
        self._ids, self._to_write = trio.open_memory_channel[int](WAITING_FRAMES)
        self._frames: dict[int, bytes] = {}  # of those that wait to be written
        self._cancels: list[bytes] = []
        self._changed = trio.Event()

    async def greet(self) -> None:
        """Say hello and wait for the daemon's. Raises LostError or JobdError."""
        try:
            with suppress(trio.BrokenResourceError):  # a daemon that refuses us has said why, and closed
                await self._stream.send_all(self.session.hello())
            while self.session.peer is None:
                self.session.feed(await self._stream.receive_some(RECEIVE_BYTES))
                while self.session.next() is not None:
                    pass  # an answer that nobody asked for
        except (trio.BrokenResourceError, trio.ClosedResourceError) as e:
            await self.close()
            raise LostError("the connection was closed") from e
        except BaseException:
            with trio.CancelScope(shield=True, deadline=-math.inf):  # closing a socket waits for nothing
                await self.close()
            raise

    async def open(self, exchange: Exchange[T]) -> Mailbox:
        """Send a request. Raises LostError, or Invalid for one that cannot be sent."""
        if self.lost is not None:
            raise _fresh(self.lost)
        id, frame = self.session.request(exchange.request)  # noqa: A001
        box = self._boxes[id] = Mailbox(self, id, exchange.resumable)
        self.changed()  # a reader that fills its mailbox is not alone any more
        try:
            await self._send(id, frame)
        except BaseException:
            self._boxes.pop(id, None)
            raise
        return box

    async def tell(self, build: Callable[[int], m.Request]) -> None:
        """Send a request that has no answer of its own. Raises LostError."""
        await self._send(*self.session.request(build))

    def leave(self, box: Mailbox, *, cancel: bool) -> None:
        """Take no more answers to a request; with `cancel` tell the daemon so. Never waits."""
        known = self._boxes.pop(box.id, None)
        self.changed()
        if known is not None and cancel and self.lost is None:
            self._cancel(box.id)

    def changed(self) -> None:
        """Something that the reading task may wait for has changed."""
        self._changed.set()

    async def close(self) -> None:
        self._fail(LostError("the connection was closed"))
        await self._stream.aclose()

    # --- tasks ---
    async def read(self) -> None:
        """Route answers until the connection ends."""
        try:
            while True:
                self.session.feed(await self._stream.receive_some(RECEIVE_BYTES))
                while (answer := self.session.next()) is not None:
                    await self._route(answer)
        except (LostError, JobdError) as e:
            self._fail(e)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as e:
            self._fail(LostError(f"the connection broke: {e.__cause__ or e}"))
        finally:
            with trio.CancelScope(shield=True, deadline=-math.inf):
                await self.close()

    async def write(self) -> None:
        """Send what is handed over. A task of its own: a request canceled half-way must not leave half a frame."""
        try:
            async for id in self._to_write:  # noqa: A001
                data = self._frames.pop(id, b"") + b"".join(self._cancels)
                self._cancels.clear()  # before the wait, in which others come
                if data:
                    await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the reading task finds out, after what can still be read
        finally:
            self._to_write.close()

    async def _send(self, id: int, frame: bytes) -> None:  # noqa: A002  # the field's name
        """Hand a frame to the writing task. Raises LostError."""
        self._frames[id] = frame
        try:
            await self._ids.send(id)
        except BaseException as e:
            self._frames.pop(id, None)
            if isinstance(e, (trio.BrokenResourceError, trio.ClosedResourceError)):
                raise LostError("the connection broke") from e
            raise

    async def _route(self, answer: Answer) -> None:
        assert answer.id is not None, "the session raises faults without an id"
        box = self._boxes.get(answer.id)
        if box is None:  # canceled; the daemon had sent this before it knew
            return
        box.put(answer)
        if not isinstance(answer, m.Item):
            del self._boxes[answer.id]
            return
        while box.full and answer.id in self._boxes:
            if box.resumable and len(self._boxes) > 1:
                self.leave(box, cancel=True)
                box.end(OverflowedError())
                return
            self._changed = trio.Event()
            await self._changed.wait()

    def _cancel(self, id: int) -> None:  # noqa: A002  # the field's name
        if self._frames.pop(id, None) is not None:  # the daemon would not know what this is about
            return
        own, frame = self.session.cancel(id)
        try:
            self._ids.send_nowait(own)
            self._frames[own] = frame
        except trio.WouldBlock:
            self._cancels.append(frame)  # goes with the next frame that is written; there are many
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    def _fail(self, failure: Exception) -> None:
        if self.lost is None:
            self.lost = failure
        self._ids.close()
        for box in self._boxes.values():
            box.end(self.lost)
        self._boxes.clear()
        self.changed()


def _fresh(failure: Exception) -> Exception:
    """A copy to raise: one failure ends many requests, in many tasks, and each has its own traceback."""
    if isinstance(failure, JobdError):
        return error_for(failure.code, failure.message, failure.details)
    return type(failure)(*failure.args)


def _size(answer: Answer) -> int:
    if isinstance(answer, m.Item) and isinstance(answer.body, m.Output):
        return ANSWER_BYTES + len(answer.body.data)
    return ANSWER_BYTES
