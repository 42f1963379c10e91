"""Several connections over one pair of streams: what jobctl and jobd-stdio-bridge speak over ssh.

Frames of a type, the number of a channel, and a length; man/jobd-protocol.7 has them. The rules: whoever sends data on
a channel has been given room for them, so a reader who stops stops his own channel alone; of frames no more is queued
than keeps the stream busy; and nothing here ever waits.

jobd's own protocol carries several requests on one connection too, but has no flow control for each: a stdout that
nobody reads would hold up the signals of `run --pipe`. So the foreground has its three connections here as well, and a
daemon replaced over there is a channel that ends and another that is opened.
"""

from __future__ import annotations

from _collections import deque  # type: ignore[import-not-found]  # the C module; `collections` takes longer to load than all else here
from _socket import SHUT_WR
from select import POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable

MAGIC = b"JOBD1 "  # before everything else, with the software's version and a newline behind it
PREAMBLE = b"JOBDMUX1\n"  # from the client, which wants frames; a plain conversation begins with a NUL

QUESTION, ANSWER, DATA, ROOM, END, CLOSE = b"QADREC"
HEADER = Struct(">BII")  # type, channel, length of what follows
ROOM_GIVEN = Struct(">I")
DATA_BYTES = 64 << 10  # of one frame: a key has to wait for no more than that
WORDS_BYTES = 1 << 20  # of a question or an answer
WINDOW_BYTES = 2 << 20  # sent on a channel ahead of what was taken from it; at 50 ms that is 40 MiB/s
GIVE_BYTES = WINDOW_BYTES // 8  # taken before new room is given
QUEUED_BYTES = 256 << 10  # of frames: then nothing more is read from channels
RECEIVE_BYTES = 256 << 10
MAX_PIECES = 64  # in one sendmsg; the kernel takes 1024
MSG_FLAGS = 0x4000 | 0x40  # MSG_NOSIGNAL | MSG_DONTWAIT


class WireEndedError(Exception):
    """The other side has gone, or does not speak as it should."""


def shut_down(sock: socket, how: int) -> None:
    """shutdown(2); of a socket whose other end has gone there is nothing to shut down."""
    try:
        sock.shutdown(how)
    except OSError:
        return


class Channel:
    """One connection: a socket of ours here, one of the other side's there."""

    __slots__ = ("closing", "deaf", "ended", "number", "room", "sock", "taken", "waiting", "waiting_bytes")

    def __init__(self, number: int, sock: socket) -> None:
        self.number = number
        self.sock = sock
        self.room = WINDOW_BYTES  # what may still be sent to the other side
        self.taken = 0  # by our socket, since room was given last
        self.waiting: deque[memoryview] = deque()  # for our socket to take it
        self.waiting_bytes = 0
        self.deaf = False  # nothing more comes from our socket
        self.ended = False  # nothing more comes from the other side
        self.closing = False  # the other side has closed it


class Channels:
    """All channels of one pair of streams."""

    def __init__(
        self,
        receive: Callable[[int], bytes],
        send: Callable[[list[bytes | memoryview]], int],
        take: Callable[[int, int, bytes], None],
    ) -> None:
        """How to reach the other side.

        Args:
            receive: some bytes of the stream, b"" at its end; BlockingIOError where none are there.
            send: sends what goes without waiting, and answers how much that was; BlockingIOError if nothing did.
            take: is given each question and answer: its type, its number and its words.
        """
        self._receive = receive
        self._send = send
        self._take = take
        self._held = b""
        self._queue: deque[bytes | memoryview] = deque()
        self._queued = 0
        self._open: dict[int, Channel] = {}

    def __len__(self) -> int:
        return len(self._open)

    def add(self, number: int, sock: socket) -> None:
        """Relay `sock` as this channel, which the other side knows."""
        sock.setblocking(False)
        self._open[number] = Channel(number, sock)

    def close(self) -> None:
        """Close every socket."""
        for channel in self._open.values():
            channel.sock.close()
        self._open.clear()

    # --- polling --------------------------------------------------------------------------------------------------
    @property
    def wants_to_send(self) -> bool:
        """Whether frames are waiting for the stream to take them."""
        return bool(self._queue)

    def wants(self, wanted: dict[int, int]) -> None:
        """Add what to poll for on the channels' sockets."""
        full = self._queued >= QUEUED_BYTES
        for channel in self._open.values():
            events = POLLOUT if channel.waiting else 0
            if not channel.deaf and channel.room and not full:
                events |= POLLIN
            if events or channel.deaf:  # a socket that hung up, and that is not to be read, would keep poll(2) busy
                wanted[channel.sock.fileno()] = events

    def polled(self, ready: dict[int, int]) -> None:
        """See to what poll(2) found on the channels' sockets."""
        for channel in list(self._open.values()):
            events = ready.get(channel.sock.fileno(), 0)
            if events & POLLOUT:
                self._deliver(channel)
            if channel.number in self._open and events & (POLLIN | POLLHUP | POLLERR | POLLNVAL):
                self._read(channel, bool(events & (POLLHUP | POLLERR | POLLNVAL)))

    # --- from our sockets to the other side -----------------------------------------------------------------------
    def _read(self, channel: Channel, hung_up: bool) -> None:
        """Take what there is of one channel, or its end."""
        if not channel.deaf and channel.room:
            try:
                data = channel.sock.recv(min(channel.room, DATA_BYTES))
            except BlockingIOError:
                return
            except OSError:
                data, hung_up = b"", True
            if data:
                channel.room -= len(data)
                self.queue(DATA, channel.number, data)
                return
        if hung_up:
            self.queue(CLOSE, channel.number)
            self._forget(channel)
        elif not channel.deaf:
            channel.deaf = True
            self.queue(END, channel.number)
            self._forget_ended(channel)

    def queue(self, kind: int, number: int, words: bytes = b"") -> None:
        """Send a frame, when the stream takes it."""
        self._queue.append(HEADER.pack(kind, number, len(words)))
        if words:
            self._queue.append(words)
        self._queued += HEADER.size + len(words)

    def queue_plain(self, data: bytes) -> None:
        """Send these bytes, in no frame."""
        self._queue.append(data)
        self._queued += len(data)

    def flush(self) -> None:
        """Send what the stream takes now. Raises WireEndedError."""
        queue = self._queue
        while queue:
            try:
                sent = self._send([queue[i] for i in range(min(len(queue), MAX_PIECES))])
            except BlockingIOError:
                return
            except OSError as e:
                raise WireEndedError(f"cannot send: {e.strerror}") from e
            self._queued -= sent
            while queue and sent >= len(queue[0]):
                sent -= len(queue.popleft())
            if sent:
                queue[0] = memoryview(queue[0])[sent:]

    # --- from the other side to our sockets -----------------------------------------------------------------------
    def receive(self) -> None:
        """Take what has come. Raises WireEndedError."""
        try:
            data = self._receive(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as e:
            raise WireEndedError(f"cannot receive: {e.strerror}") from e
        if not data:
            raise WireEndedError("it has ended")
        self.feed(data)

    def feed(self, data: bytes) -> None:
        """Take these bytes of the stream. Raises WireEndedError."""
        data = self._held + data if self._held else data
        view, at = memoryview(data), 0
        while len(data) - at >= HEADER.size:
            kind, number, length = HEADER.unpack_from(data, at)
            if length > (DATA_BYTES if kind == DATA else WORDS_BYTES):
                raise WireEndedError(f"a frame of {length} bytes came")
            if len(data) - at < HEADER.size + length:
                break
            at += HEADER.size
            self._frame(kind, number, view[at : at + length])
            at += length
        self._held = data[at:]

    def _frame(self, kind: int, number: int, words: memoryview) -> None:
        if kind in (QUESTION, ANSWER):
            self._take(kind, number, bytes(words))
            return
        channel = self._open.get(number)
        if channel is None:
            return  # closed here, and the other side does not know it yet
        if kind == DATA:
            channel.waiting_bytes += len(words)
            if channel.waiting_bytes > WINDOW_BYTES or channel.ended:
                raise WireEndedError("more came on a channel than there was room for")
            channel.waiting.append(words)
            self._deliver(channel)
        elif kind == ROOM and len(words) == ROOM_GIVEN.size:
            channel.room += ROOM_GIVEN.unpack(words)[0]
        elif kind == END:
            channel.ended = True
            self._deliver(channel)
        elif kind == CLOSE:
            channel.closing = channel.deaf = True
            self._deliver(channel)
        else:
            raise WireEndedError(f"a frame of a type {kind} came")

    def _deliver(self, channel: Channel) -> None:
        """Give our socket what it takes, and then the end that came behind it."""
        while channel.waiting:
            piece = channel.waiting[0]
            try:
                count = channel.sock.send(piece, MSG_FLAGS)
            except BlockingIOError:
                break
            except OSError:  # nobody reads there any more; what it still had to say is read first
                channel.waiting.clear()
                channel.waiting_bytes = 0
                break
            channel.taken += count
            channel.waiting_bytes -= count
            if count < len(piece):
                channel.waiting[0] = piece[count:]
            else:
                channel.waiting.popleft()
        if channel.taken >= GIVE_BYTES and not (channel.ended or channel.closing):
            self.queue(ROOM, channel.number, ROOM_GIVEN.pack(channel.taken))
            channel.taken = 0
        if channel.waiting:
            return
        if channel.closing:
            self._forget(channel)
        elif channel.ended:
            shut_down(channel.sock, SHUT_WR)
            self._forget_ended(channel)

    def _forget_ended(self, channel: Channel) -> None:
        """Forget a channel that has come to its end both ways."""
        if channel.deaf and channel.ended and not channel.waiting:
            self._forget(channel)

    def _forget(self, channel: Channel) -> None:
        channel.sock.close()
        self._open.pop(channel.number, None)
