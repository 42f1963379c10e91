"""One connection of a job in the foreground: nothing here ever waits, so that one loop can serve several.

What is to be sent is queued and goes out as the socket takes it; what has come is given out message by message. A
connection whose other end has gone is noticed by reading, so that a daemon's last words are heard first.
"""

from __future__ import annotations

from _socket import SO_SNDBUF, SOL_SOCKET
from struct import Struct

from jobctl.client import LENGTH, MALFORMED, MSG_NOSIGNAL, PROTOCOL_VERSION, SOFTWARE, check_version, pack_request
from jobctl.connect import open_target
from jobctl.exits import ConnectionLostError, Fault
from jobctl.foreground_pages import Pages
from jobd.wire import frames
from jobd.wire.plainpack import packb, unpackb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.connect import Target
    from jobctl.shapes import Message

RECEIVE_BYTES = 64 << 10
SEND_BUFFER_BYTES = 1 << 20  # so that an Input is sent in one go; the kernel gives what net.core.wmem_max allows
DATA = packb("data") + b"\xc6"  # the key, and the type byte of bin 32
_size = Struct(">I").pack


class Link:
    """A connection to the daemon, without waiting."""

    def __init__(self, target: Target, start: bool) -> None:
        """Connect. `start`: whether the user's own daemon is started when it is meant and not there.

        Raises:
            NoDaemonError: there is none.
        """
        self._target = target
        self._sock, self.path = open_target(target, start)
        self._sock.setblocking(False)
        self._sock.setsockopt(SOL_SOCKET, SO_SNDBUF, SEND_BUFFER_BYTES)
        self.greeted = False  # the daemon's Hello has come: it will serve us
        self.uid = -1  # who the daemon says we are
        self.held = b""  # received, and not taken
        self._queue: list[bytes | memoryview | Pages] = []
        self._id = 0
        self._queue.append(frames.pack(packb({"type": "hello", "version": PROTOCOL_VERSION, "software": SOFTWARE})))
        self.flush()

    def close(self) -> None:
        """End the connection."""
        self._sock.close()

    def fileno(self) -> int:
        """For poll and splice."""
        return self._sock.fileno()

    # --- sending --------------------------------------------------------------------------------------------------
    @property
    def idle(self) -> bool:
        """Whether all that was to be sent has been."""
        return not self._queue

    def send(self, request: dict[str, object]) -> int:
        """Send a request; the id it got."""
        self._id += 1
        self._queue.append(pack_request({**request, "id": self._id}))
        self.flush()
        return self._id

    def send_input(self, attach: int, offset: int, data: memoryview | Pages, eof: bool) -> None:
        """Send an Input. `data` is not copied: it must stay as it is while this is not idle."""
        self._id += 1
        head = bytearray(packb({"type": "input", "id": self._id, "request": attach, "offset": offset, "eof": eof}))
        head[0] += 1  # a map of fewer than 16 pairs, and one more: the data, which come last
        head += DATA + _size(len(data))
        self._queue.append(frames.header(len(head) + len(data)) + head)
        if data:
            self._queue.append(data)
        self.flush()

    def flush(self) -> None:
        """Send what the socket takes now. That the other end has gone, reading says."""
        try:
            while self._queue:
                first = self._queue[0]
                if isinstance(first, Pages):
                    first.send(self._sock.fileno())
                    if not first:
                        del self._queue[0]
                else:
                    self._send_buffers()
        except BlockingIOError:
            return
        except OSError:
            self._queue.clear()

    def _send_buffers(self) -> None:
        """Send what the socket takes of all that comes before the next Pages."""
        buffers: list[bytes | memoryview] = []
        for item in self._queue:
            if isinstance(item, Pages):
                break
            buffers.append(item)
        sent = self._sock.sendmsg(buffers, (), MSG_NOSIGNAL)
        for buffer in buffers:
            if sent < len(buffer):
                self._queue[0] = memoryview(buffer)[sent:]
                return
            sent -= len(buffer)
            del self._queue[0]

    # --- reading --------------------------------------------------------------------------------------------------
    def receive(self, at_most: int = RECEIVE_BYTES) -> bool:
        """Take what has come, if anything has.

        Raises:
            ConnectionLostError: nothing more comes.
        """
        try:
            piece = self._sock.recv(at_most)
        except BlockingIOError:
            return False
        except OSError as e:
            raise ConnectionLostError from e
        if not piece:
            raise ConnectionLostError
        self.held += piece
        return True

    def receive_into(self, block: memoryview) -> int:
        """Take what comes next straight into `block`; 0 if nothing is there. Raises as `receive`."""
        try:
            count = self._sock.recv_into(block)
        except BlockingIOError:
            return 0
        except OSError as e:
            raise ConnectionLostError from e
        if not count:
            raise ConnectionLostError
        return count

    def take(self, count: int) -> bytes:
        """The first `count` bytes of what is held."""
        piece, self.held = self.held[:count], self.held[count:]
        return piece

    def announced(self) -> int:
        """The size of the frame that comes next, with its header; 0 if that is not there yet.

        Raises:
            Fault: it is too large.
        """
        if len(self.held) < frames.HEADER:
            return 0
        (length,) = LENGTH.unpack_from(self.held)
        if length > frames.MAX:
            raise Fault(MALFORMED, f"cannot read from jobd: a frame of {length} bytes")
        size: int = frames.HEADER + length
        return size

    def next_message(self) -> Message | None:
        """The next whole message that is held and not a Hello.

        Raises:
            Fault: it is one about the connection itself, or of a daemon of another protocol, or of what is none.
        """
        while (size := self.announced()) and len(self.held) >= size:
            data = self.take(size)[frames.HEADER :]
            try:
                message: Message = unpackb(data)  # type: ignore[assignment]  # our daemon's
                kind = message["type"]
            except (LookupError, TypeError, ValueError) as e:
                if self.greeted:
                    raise
                raise Fault(MALFORMED, f"cannot understand what answers at {self.path}: it is no jobd") from e
            if kind == "hello":
                check_version(message, self._target)
                self.uid = message.get("uid", self.uid)
                self.greeted = True
            elif kind == "fault" and message.get("id") is None:
                raise Fault(message["code"], message["message"], message.get("details"))
            else:
                return message
        return None
