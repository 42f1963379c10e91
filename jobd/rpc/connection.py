"""One client connection: frames in, frames out, and the requests under way on it.

Quick requests are answered in place; each long one is a task in the connection's nursery, which ends with it. Runs
never belong to a connection. A frame is written whole before the next one begins, whoever sends it.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from jobd.wire import codec, errors
from jobd.wire import messages as m
from jobd.wire.frames import FrameBuffer, FrameError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobd.rpc.feeding import Feeding
    from jobd.wire.frames import Body

RECV_BYTES: Final = 64 << 10  # one read takes a small request whole and a 1 MiB one in sixteen
HELLO_SEC: Final = 5.0  # DESIGN.md, section 6
BODY_SEC: Final = 10.0  # DESIGN.md, section 6: the rest of a frame that has begun
TURN: Final = 32  # requests answered in place before other connections get their turn
MAX_UNDER_WAY: Final = 4096  # long requests of one connection at once


class Gone(Exception):  # noqa: N818  # an event, not an error
    """The client is not there any more."""


class Connection:
    """A connected, authenticated client."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = FrameBuffer()
        self._lock = trio.Lock()
        self.tasks: dict[int, trio.CancelScope] = {}
        self.feeds: dict[int, Feeding] = {}  # by the Attach that they belong to
        self.readers = 0  # of logs and events, under way (Context.reading)

    # --- reading --------------------------------------------------------------------------------------------------
    async def read_body(self, first_within: float = float("inf")) -> Body | None:
        """The next frame's body; None at the end of the stream.

        Args:
            first_within: seconds within which the frame must begin.

        Raises:
            ProtocolError: the length is over the limit, or the frame did not come within its time.
            Gone: the connection broke.
        """
        until: float | None = None  # when the rest of the frame has to be there, however it comes
        while True:
            try:
                body = self._buffer.next()
            except FrameError as error:
                raise codec.ProtocolError(errors.MALFORMED, str(error)) from error
            if body is not None:
                return body
            if until is None and self._buffer.pending > 0:
                until = trio.current_time() + BODY_SEC
            limit = first_within if until is None else until - trio.current_time()
            received = await self._recv(limit) if limit > 0 else None
            if received is None:
                what = f"a hello did not come within {first_within:g} s"
                if until is not None:
                    what = f"the rest of a frame did not come within {BODY_SEC:g} s"
                raise codec.ProtocolError(errors.MALFORMED, what)
            if not received:
                return None

    def _recv_now(self) -> int:
        """Receive what is there into the buffer, and return how many bytes; 0 at the end. Raises BlockingIOError."""
        space = self._buffer.space()
        try:
            if space is not None:
                count = self.sock.recv_into(space)
                self._buffer.filled(count)
                return count
            data = self.sock.recv(RECV_BYTES)
        except BlockingIOError:
            raise
        except OSError as error:
            raise Gone from error
        self._buffer.feed(data)
        return len(data)

    async def _recv(self, limit: float) -> int | None:
        """As `_recv_now`, when there is something; None when nothing came within `limit` seconds."""
        with suppress(BlockingIOError):
            return self._recv_now()
        if limit == float("inf"):
            await trio.lowlevel.wait_readable(self.sock)
        else:
            with trio.move_on_after(limit) as scope:
                await trio.lowlevel.wait_readable(self.sock)
            if scope.cancelled_caught:
                return None
        try:
            return self._recv_now()
        except BlockingIOError:
            return await self._recv(limit)

    # --- writing --------------------------------------------------------------------------------------------------
    def try_send(self, frame: bytes) -> bytes:
        """Send what goes at once; returns the rest. For a sender that is alone on the connection just now."""
        if self._lock.locked():
            return frame
        try:
            sent = self.sock.send(frame)
        except BlockingIOError:
            return frame
        except OSError as error:
            raise Gone from error
        return frame[sent:]

    async def send(self, frame: bytes) -> None:
        """Send one frame whole. Waits as long as the client does not read.

        Raises:
            Gone: the connection broke.

        Cancelling in the middle of a frame breaks the connection, since the next frame could not be told from it.
        """
        rest = self.try_send(frame)
        if not rest:
            return
        begun = len(rest) < len(frame)
        try:
            await self._lock.acquire()
        except trio.Cancelled:
            if begun:
                self.break_off()
            raise
        try:
            await self._finish(rest, begun)
        finally:
            self._lock.release()

    async def _finish(self, rest: bytes, begun: bool) -> None:
        view = memoryview(rest)
        try:
            while view:
                try:
                    sent = self.sock.send(view)
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(self.sock)
                    continue
                view = view[sent:]
                begun = True
        except trio.Cancelled:
            if begun:
                self.break_off()
            raise
        except OSError as error:
            raise Gone from error

    async def send_file(self, prefix: bytes, fd: int, offset: int, count: int) -> None:
        """Send one frame whose tail is `count` bytes of a file. As `send`."""
        async with self._lock:
            await self._finish(prefix, begun=False)
            try:
                while count:
                    try:
                        sent = os.sendfile(self.sock.fileno(), fd, offset, count)
                    except BlockingIOError:
                        await trio.lowlevel.wait_writable(self.sock)
                        continue
                    if not sent:
                        raise Gone  # the file is shorter than its index says: nothing true can follow in this frame
                    offset += sent
                    count -= sent
            except trio.Cancelled:
                self.break_off()
                raise
            except OSError as error:
                raise Gone from error
        await trio.lowlevel.checkpoint()  # a client that reads as fast as we send must not starve the others

    def break_off(self) -> None:
        """Make both ends see the end of this connection."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it is gone already

    # --- answers --------------------------------------------------------------------------------------------------
    async def reply(self, request: int, body: m.AnyBody) -> None:
        """The one answer of a request."""
        await self.send(codec.encode(m.Reply(id=request, body=body)))

    async def item(self, request: int, body: m.AnyBody) -> None:
        """One of several answers."""
        await self.send(codec.encode(m.Item(id=request, body=body)))

    async def items(self, request: int, bodies: Iterable[m.AnyBody]) -> None:
        """Several of the answers, in one write; the caller sees to it that they are not many."""
        frames = b"".join(codec.encode(m.Item(id=request, body=body)) for body in bodies)
        if frames:
            await self.send(frames)

    async def end(self, request: int) -> None:
        """No more answers."""
        await self.send(codec.encode(m.End(id=request)))

    async def fault(self, code: str, text: str, request: int | None, details: dict[str, str] | None = None) -> None:
        """An error as the answer."""
        await self.send(codec.encode(m.Fault(code=code, message=text, id=request, details=details or {})))
