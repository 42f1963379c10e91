"""One client connection: frames in, frames out, and the requests under way on it.

Quick requests are answered in place; each long one is a task in the connection's nursery, which ends with it. Runs
never belong to a connection. A frame is written whole before the next one begins, whoever sends it.
"""

from __future__ import annotations

import os
import select
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NoReturn

import trio

from jobd.rpc.shares import MAX_UNSENT, ROOT, Share
from jobd.wire import codec, errors
from jobd.wire import messages as m
from jobd.wire.frames import LARGE, MAX, FrameBuffer, FrameError

if TYPE_CHECKING:
    from jobd.rpc.feeding import Feeding
    from jobd.runtime.followers import Bundle
    from jobd.wire.frames import Body

# A connection that carries a flood gets room for a whole piece; the kernel gives what net.core.wmem_max allows.
FLOOD_BYTES: Final = 64 << 10
SEND_BUFFER_BYTES: Final = 1 << 20
HELLO_SEC: Final = 5.0  # DESIGN.md, section 6
BODY_SEC: Final = 10.0  # DESIGN.md, section 6: the rest of a frame that has begun
HELLO_BYTES: Final = 32 << 10  # of a hello: 4,096 characters of software, and little else
DROP_BYTES: Final = 416 << 10  # of a socket's buffer: twice the usual, which is what anybody may ask for
STALL_SEC: Final = 60.0  # in which a client that has more to ask reads no byte of an answer
MAX_FLOODS: Final = 16  # connections of one uid that keep room for floods of input, 5 MiB each; others are slower
MAX_FRAMES: Final = 4  # of one bundle, by the number of the request: our clients have one or two
MAX_UNDER_WAY: Final = 4096  # long requests of one connection at once; root's too


class Gone(Exception):  # noqa: N818  # an event, not an error
    """The client is not there any more."""


class Connection:
    """A connected, authenticated client."""

    def __init__(self, sock: socket.socket, share: Share | None = None) -> None:
        self.sock = sock
        self.share = Share(ROOT) if share is None else share
        self._buffer = FrameBuffer()
        self._buffer.most = HELLO_BYTES
        self._floods = False  # it keeps room for what feeds runs
        self._has_place = False  # among those that receive something large
        self._lock = trio.Lock()
        self._wide = False  # the socket takes more at a time
        self.tasks: dict[int, trio.CancelScope] = {}
        self._idle: trio.Event | None = None
        self.feeds: dict[int, Feeding] = {}  # by the Attach that they belong to
        self.readers = 0  # of logs and events, under way (Context.reading)

    def feed(self, attach: int, feeding: Feeding) -> None:
        """The Inputs of this Attach are for that run, from now on."""
        self.feeds[attach] = feeding
        if not self._floods and self.share.floods < MAX_FLOODS:
            self._floods = True
            self.share.floods += 1
            self._buffer.expect_flood()

    def close(self) -> None:
        """Nothing comes on it, or goes, any more."""
        self.sock.close()
        if self._floods:
            self.share.floods -= 1

    # --- reading --------------------------------------------------------------------------------------------------
    def greeted(self) -> None:
        """The hello was in order: what comes may be large."""
        self._buffer.most = MAX

    async def read_body(self, first_within: float = float("inf")) -> Body | None:
        """The next frame's body; None at the end of the stream.

        Args:
            first_within: seconds within which the frame must begin.

        Raises:
            ProtocolError: the length is over the limit, or the frame did not come within its time.
            Gone: the connection broke.
        """
        try:
            return await self._read_body(first_within)
        finally:
            if self._has_place:
                self._has_place = False
                self.share.large.release()

    async def _read_body(self, first_within: float) -> Body | None:
        until: float | None = None  # when the rest of the frame has to be there, however it comes
        while True:
            try:
                body = self._buffer.next()
            except FrameError as error:
                raise codec.ProtocolError(errors.MALFORMED, str(error)) from error
            if body is not None:
                return body
            if self._buffer.announced > LARGE and not self._has_place:
                await self._take_place()  # until then the rest waits in the kernel, and no clock runs
                self._has_place = True
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

    async def _take_place(self) -> None:
        try:
            self.share.large.acquire_nowait()  # a flood of input has one such frame after the other
        except trio.WouldBlock:
            await self.share.large.acquire()

    async def hung_up(self) -> None:
        """Return when the client is gone altogether, and not only has nothing more to say.

        That is not an event of its own to trio. An epoll that is asked for nothing tells of it and of nothing else.
        """
        poll = select.poll()
        poll.register(self.sock, 0)
        if poll.poll(0):
            return
        with select.epoll() as epoll:
            epoll.register(self.sock, 0)
            await trio.lowlevel.wait_readable(epoll.fileno())

    def _recv_now(self) -> int:
        """Receive what is there into the buffer, and return how many bytes; 0 at the end. Raises BlockingIOError."""
        space = self._buffer.space()
        try:
            if space is not None:
                count = self.sock.recv_into(space)
                self._buffer.filled(count)
                return count
            data = self.sock.recv(self._buffer.wants)
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
            await self._readable()
        else:
            with trio.move_on_after(limit) as scope:
                await self._readable()
            if scope.cancelled_caught:
                return None
        try:
            return self._recv_now()
        except BlockingIOError:
            return await self._recv(limit)

    async def _readable(self) -> None:
        if self.share.crowd is None:
            await trio.lowlevel.wait_readable(self.sock)
        else:
            await self.share.crowd.wait_readable(self.sock.fileno())

    # --- requests under way ---------------------------------------------------------------------------------------
    async def idle(self) -> None:
        """Return when no request is under way."""
        if self.tasks:
            self._idle = trio.Event()
            await self._idle.wait()

    def settle(self, request: int) -> None:
        """A long request has been answered, or broken off."""
        del self.tasks[request]
        self.share.requests -= 1
        if not self.tasks and self._idle is not None:
            self._idle.set()

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

    async def send(self, frame: bytes, *, held_back: bool = False) -> None:
        """Send one frame whole. Waits as long as the client does not read.

        Args:
            held_back: no more of the client's requests are read meanwhile. One that goes on asking and reads nothing
                for a minute has lost its way, and is dropped.

        Raises:
            Gone: the connection broke, or had to be dropped.

        Cancelling in the middle of a frame breaks the connection, since the next frame could not be told from it.
        """
        rest = self.try_send(frame)
        if not rest:
            return
        begun = len(rest) < len(frame)
        share = self.share
        if share.unsent + len(rest) > MAX_UNSENT and share.uid != ROOT:
            self._drop(
                begun or self._lock.locked(), f"{share.unsent} bytes of answers wait for uid {share.uid} to read them"
            )
        share.unsent += len(rest)
        try:
            await self._lock.acquire()
        except trio.Cancelled:
            share.unsent -= len(rest)
            if begun:
                self.break_off()
            raise
        try:
            await self._finish(rest, begun, held_back)
        finally:
            share.unsent -= len(rest)
            self._lock.release()

    async def _finish(self, rest: bytes, begun: bool, held_back: bool = False) -> None:
        view = memoryview(rest)
        try:
            while view:
                try:
                    sent = self.sock.send(view)
                except BlockingIOError:
                    await self._writable(begun, held_back)
                    continue
                view = view[sent:]
                begun = True
        except trio.Cancelled:
            if begun:
                self.break_off()
            raise
        except OSError as error:
            raise Gone from error

    async def _writable(self, begun: bool, held_back: bool) -> None:
        while held_back:
            with trio.move_on_after(STALL_SEC):
                await trio.lowlevel.wait_writable(self.sock)
                return
            if self._has_more_to_ask():
                self._drop(begun, f"no answer was read for {STALL_SEC:g} s, and there are more requests")
        await trio.lowlevel.wait_writable(self.sock)

    def _has_more_to_ask(self) -> bool:
        if self._buffer.pending:
            return True
        try:
            return bool(self.sock.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def _drop(self, within: bool, why: str) -> NoReturn:
        """End the connection of a client that does not read; the fault is for when it does. Raises Gone."""
        if not within:  # a frame
            with suppress(OSError):  # its buffer is full: a little more room
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, DROP_BYTES)
                self.sock.send(codec.encode(m.Fault(code=errors.LAGGED, message=f"cannot go on: {why}")))
        self.break_off()
        raise Gone(why)

    async def send_file(self, prefix: bytes, fd: int, offset: int, count: int) -> None:
        """Send one frame whose tail is `count` bytes of a file. As `send`."""
        if count >= FLOOD_BYTES and not self._wide:
            self._wide = True
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
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
        await self.share.turn()  # a client that reads as fast as we send must not starve the others

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

    async def items(self, request: int, bodies: Bundle) -> None:
        """Several of the answers, in one write; the caller sees to it that they are not many."""
        frames = bodies.frames.get(request)
        if frames is None:
            frames = b"".join(codec.encode(m.Item(id=request, body=body)) for body in bodies)
            if len(bodies.frames) < MAX_FRAMES:
                bodies.frames[request] = frames
        if frames:
            await self.send(frames)

    async def end(self, request: int) -> None:
        """No more answers."""
        await self.send(codec.encode(m.End(id=request)))

    async def fault(self, code: str, text: str, request: int | None, details: dict[str, str] | None = None) -> None:
        """An error as the answer."""
        await self.send(codec.encode(m.Fault(code=code, message=text, id=request, details=details or {})))
