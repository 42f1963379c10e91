"""A conversation with the daemon: blocking, one request at a time, by the small codec.

The rules: a request leaves in the same write as the Hello, so that the usual verb costs one round trip. When the
connection ends in the middle (the daemon was killed or replaced; the listening socket outlives it) the caller decides:
`call` connects again and asks again, for every request that may be asked twice; `stream` raises ConnectionLostError,
because only its caller knows from where to go on.
"""

from __future__ import annotations

import os
import time
from struct import Struct

from jobctl import terminal
from jobctl.connect import Target, open_target
from jobctl.exits import ConnectionLostError, Fault, NoDaemonError, ShutDownError, UsageError
from jobd.wire import frames
from jobd.wire.plainpack import PlainpackError, packb, unpackb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable, Iterator, Sequence

    from jobctl.progress import Ticker
    from jobctl.shapes import Body, Message, RunView

PROTOCOL_VERSION = 1  # messages.PROTOCOL_VERSION; a test compares
SOFTWARE = "jobctl"
MALFORMED, VERSION, UNAVAILABLE = "malformed", "version", "unavailable"  # of jobd.wire.errors
RECEIVE_BYTES = 64 << 10  # more would be mapped and unmapped anew for each receive (M_MMAP_THRESHOLD is 128 KiB)
MSG_NOSIGNAL = 0x4000  # SIGPIPE is for stdout (see __main__): a daemon that went away is an error to handle
LENGTH = Struct(">I")
RETRY_SEC = 0.05  # between attempts to connect while no socket is there: a keeper binding it anew takes less
LIVED_SEC = 5.0  # a connection that held this long was a good one, and its loss counts as the first
MAX_POLL_MS = 2**31 - 1  # poll(2) takes an int
# In a row, without a pause. Whoever kills daemons, be it once in a quarter of a second, does not keep a request from
# being answered for longer than it takes to be lucky; a daemon that dies of our request is not to be asked for ever.
MAX_LOSSES = 10
MAX_SLOW_LOSSES = 10  # further ones, where the answer is not a lasting one
# Before each further attempt, so that it costs a jobd that it might itself bring down no more than
# the pauses of its keeper, which forks the next daemon more slowly, too (jobd.keeper.daemonproc.BACKOFF_MAX_SEC).
PAUSE_SEC = 1.0


class Client:
    """The daemon, as a verb sees it. Connects at the first request."""

    def __init__(self, target: Target, start: bool = True) -> None:
        """`start`: whether the user's own daemon is started when it is meant and not there."""
        self.target = target
        self.start = start
        self.watch_stdout = False  # while waiting for the daemon, see whether anybody still reads what we write
        self.path = ""
        self.uid = os.geteuid()  # who the daemon says we are, once it has
        self.deadline: float | None = None  # of time.monotonic: when it has passed, waiting raises TimeoutError
        self.ticker: Ticker | None = None  # called now and then while we wait
        self._sock: socket | None = None
        self._data = b""
        self._pos = 0
        self._id = 0
        self.patient = True  # whether to ask more slowly, and say so, where one daemon dies after the other
        self._losses = 0
        self._since = 0.0
        self._greeted = False  # by the daemon of this connection
        self._asides: dict[int, Callable[[Body], None]] = {}  # by request: who takes the answer
        self._pending = b""  # our Hello, until the first request takes it along

    # --- connecting ---------------------------------------------------------------------------------------------
    def close(self) -> None:
        """End the connection, and with it whatever is being asked on it."""
        if self._sock is not None:
            self._sock.close()
        self._sock = None
        self._data, self._pos = b"", 0
        self._asides.clear()

    def reconnect(self, lasting: bool = False) -> None:
        """Connect again after a ConnectionLostError, waiting a while for the socket to come back.

        The user's own daemon is started again if it is gone: one that was told to end says so before it closes, so
        this one has left for want of work, or was killed.

        Args:
            lasting: the answer takes as long as a job, and so is lost with every daemon that dies meanwhile. Such a
                request goes on as long as there are daemons that greet us: its bound is its user's patience.

        Raises:
            NoDaemonError: it did not, or connections keep being lost.
            TimeoutError: the deadline has come meanwhile.
        """
        lived = time.monotonic() - self._since
        self._losses = 1 if lived > LIVED_SEC else self._losses + 1
        greeted = self._greeted
        self.close()
        if self._losses > MAX_LOSSES:
            often = f"the connection to jobd at {self.path} is lost again and again"
            if not (greeted and self.patient) or (not lasting and self._losses > MAX_LOSSES + MAX_SLOW_LOSSES):
                raise NoDaemonError(f"cannot go on: {often}")
            if self._losses == MAX_LOSSES + 1:
                terminal.warn(f"{often}; going on")
            self._pause(PAUSE_SEC)
        began = time.monotonic()
        while True:
            try:
                return self._open(self.start)
            except NoDaemonError:
                if time.monotonic() > began + self.target.patience_sec:
                    raise
                self._pause(RETRY_SEC)

    def _pause(self, seconds: float) -> None:
        if self.deadline is not None:
            seconds = min(seconds, self.deadline - time.monotonic())
            if seconds <= 0:
                raise TimeoutError
        time.sleep(seconds)

    def connect(self) -> str:
        """Connect, if we are not; the path of the daemon's socket. Raises NoDaemonError."""
        if self._sock is None:
            self._open(self.start)
        return self.path

    def connect_again(self) -> None:
        """Connect anew, at once. Raises NoDaemonError."""
        self.close()
        self._open(start=False)

    def _open(self, start: bool) -> None:
        self._sock, self.path = open_target(self.target, start)
        self._since = time.monotonic()
        self._greeted = False
        self._pending = frames.pack(packb({"type": "hello", "version": PROTOCOL_VERSION, "software": SOFTWARE}))

    # --- asking ---------------------------------------------------------------------------------------------------
    def call(self, request: dict[str, object], repeat: bool = True) -> Body:
        """Ask for one Reply.

        Args:
            request: the message, with its type and without an id.
            repeat: whether it may be asked again when the connection is lost before the answer came.

        Raises:
            Fault: the daemon refused.
            ConnectionLostError: only without `repeat`.
        """
        while True:
            try:
                for body in self.stream(request):
                    return body
                raise ConnectionLostError
            except ConnectionLostError:
                if not repeat:
                    raise
                self.reconnect()

    def stream(self, request: dict[str, object]) -> Iterator[Body]:
        """Ask, and yield the body of each Item (or of the one Reply) until the End.

        Raises:
            Fault: the daemon refused, at once or after some items.
            ConnectionLostError: the connection ended before the answer did.
        """
        wanted = self.ask(request)
        while True:
            message = self.receive()
            if message.get("id") != wanted:
                continue
            kind = message["type"]
            if kind == "item":
                yield message["body"]
            elif kind == "reply":
                yield message["body"]
                return
            elif kind == "end":
                return

    def ended(self, request: dict[str, object]) -> Iterator[RunView]:
        """As `stream`, for a Wait: the runs as they end."""
        for body in self.stream(request):
            if body["type"] == "ended":
                run: RunView = body["run"]  # type: ignore[assignment]  # of an Ended it is a RunView
                yield run

    def gather(self, requests: Sequence[dict[str, object]], meanwhile: Callable[[], None]) -> list[list[Body] | Fault]:
        """Ask several things in one write, and answer the bodies that each of them got, or the Fault.

        All of them may be asked again when the connection is lost. `meanwhile` is called after they were sent: jobd
        works on them while we load what shows the answers.

        Raises:
            Fault: about the connection itself.
        """
        while True:
            try:
                first = self.ask(*requests)
                meanwhile()
                return self._collect(first, len(requests))
            except ConnectionLostError:
                self.reconnect()

    def _collect(self, first: int, count: int) -> list[list[Body] | Fault]:
        """The answers to `count` requests, numbered from `first`, in whichever order they come."""
        found: list[list[Body] | Fault] = [[] for _ in range(count)]
        left = count
        while left:
            message = self._next()
            at = message.get("id", 0) - first
            kind = message["type"]
            if kind == "fault":
                if not 0 <= at < count:
                    raise _fault(message)
                found[at] = _fault(message)
            elif 0 <= at < count and kind != "end":
                bodies = found[at]
                assert isinstance(bodies, list)
                bodies.append(message["body"])
            left -= 0 <= at < count and kind != "item"
        return found

    def ask(self, *requests: dict[str, object]) -> int:
        """Send requests in one write, and answer the id of the first. Their answers are then read by `receive`.

        Raises:
            UsageError: a word in them can be said to no jobd, as it is not UTF-8.
        """
        if self._sock is None:
            self._open(self.start)
        first = self._id + 1
        self._id += len(requests)
        numbered = (pack_request({**request, "id": first + i}) for i, request in enumerate(requests))
        data = b"".join((self._pending, *numbered))
        self._pending = b""
        self._send(data)
        return first

    def ask_aside(self, request: dict[str, object], take: Callable[[Body], None]) -> None:
        """Ask for one Reply beside the request that is being read: `take` gets it, and nobody gets a Fault."""
        self._asides[self.ask(request)] = take

    def _send(self, data: bytes) -> None:
        assert self._sock is not None
        try:
            self._sock.sendall(data, MSG_NOSIGNAL)
        except OSError as e:
            # A daemon that refuses us says why before it closes: read that first.
            try:
                while True:
                    self.receive()
            except ConnectionLostError:
                raise ConnectionLostError from e

    # --- reading --------------------------------------------------------------------------------------------------
    def receive(self) -> Message:
        """The next message that is not a Hello.

        Raises:
            Fault: it is one, about our request or about the connection.
            ConnectionLostError: there is none any more.
        """
        message = self._next()
        if message["type"] == "fault":
            raise _fault(message)
        return message

    def _next(self) -> Message:
        """The next message that is not a Hello, maybe a Fault."""
        while True:
            (length,) = LENGTH.unpack(self.take(frames.HEADER))
            if length > frames.MAX:
                raise Fault(MALFORMED, f"cannot read from jobd: a frame of {length} bytes")
            message: Message = unpackb(self.take(length))  # type: ignore[assignment]  # we trust our daemon's shapes
            if message["type"] == "hello":
                self._greet(message)
            elif message.get("id") in self._asides:
                take = self._asides.pop(message["id"])
                if message["type"] == "reply":
                    take(message["body"])
            else:
                return message

    def take(self, count: int) -> bytes:
        """The next `count` bytes of the connection."""
        self.fill(count)
        self._pos += count
        return self._data[self._pos - count : self._pos]

    def fill(self, count: int, at_most: int = RECEIVE_BYTES) -> None:
        """See to it that at least `count` bytes are held; receive no more than `at_most` at a time."""
        have = len(self._data) - self._pos
        if have >= count:
            return
        pieces = [self._data[self._pos :]]
        while have < count:
            piece = self.receive_some(at_most)
            pieces.append(piece)
            have += len(piece)
        self._data, self._pos = b"".join(pieces), 0

    def receive_some(self, at_most: int) -> bytes:
        """What is there, at least one byte, straight from the socket."""
        assert self._sock is not None
        self._await_input()
        try:
            piece = self._sock.recv(at_most)
        except OSError as e:
            raise ConnectionLostError from e
        if not piece:
            raise ConnectionLostError
        return piece

    def receive_into(self, block: memoryview) -> int:
        """As `receive_some`, into `block`; answers how many bytes."""
        assert self._sock is not None
        self._await_input()
        try:
            count = self._sock.recv_into(block)
        except OSError as e:
            raise ConnectionLostError from e
        if not count:
            raise ConnectionLostError
        return count

    def _await_input(self) -> None:
        if self.watch_stdout:
            terminal.wait_input(self.fileno())
        elif self.deadline is not None or self.ticker is not None:
            self._poll()

    def _poll(self) -> None:
        """Wait for input; call the ticker when it is time, and raise TimeoutError at the deadline."""
        from select import POLLIN, poll

        poller = poll()
        poller.register(self.fileno(), POLLIN)
        forever = float("inf")
        while True:
            deadline = forever if self.deadline is None else self.deadline
            ticks = forever if self.ticker is None else self.ticker.at
            left_sec = max(0.0, min(deadline, ticks) - time.monotonic())
            if poller.poll(min(left_sec * 1000, MAX_POLL_MS)):
                return
            now = time.monotonic()
            if now >= deadline:
                raise TimeoutError
            if self.ticker is not None and now >= ticks:
                self.ticker.tick()

    @property
    def has_heard(self) -> bool:
        """Whether anything has come on this connection."""
        return bool(self._data)

    def held(self) -> bytes:
        """What has been received and not been taken."""
        return self._data[self._pos :]

    def fileno(self) -> int:
        """The socket's descriptor, for poll and splice."""
        assert self._sock is not None
        return self._sock.fileno()

    def _greet(self, hello: Message) -> None:
        check_version(hello, self.target)
        self._greeted = True
        self.uid = hello.get("uid", self.uid)


def _fault(message: Message) -> Fault:
    if message["code"] == UNAVAILABLE and message.get("id") is None:
        return ShutDownError(message["message"])
    return Fault(message["code"], message["message"], message.get("details"))


def pack_request(request: dict[str, object]) -> bytes:
    """The frame of a request. Raises UsageError: a word in it, or a number, can be said to no jobd."""
    try:
        return frames.pack(packb(request))
    except PlainpackError as e:
        word = getattr(e.__cause__, "object", None)
        what = f"for {word[:80]!r}: it is not valid UTF-8" if isinstance(word, str) else f"jobd: {e}"
        raise UsageError(f"cannot ask {what}") from None


def check_version(hello: Message, target: Target) -> None:
    """Note which daemon said this hello. Raises Fault if it speaks another protocol than ours."""
    target.software = hello.get("software", "jobd") + (f" on {target.host}" if target.host else "")
    if hello["version"] != PROTOCOL_VERSION:
        from jobctl.versions import other_protocol

        raise Fault(VERSION, other_protocol(target.software, hello["version"], PROTOCOL_VERSION))
