"""One stream of a run, from a connection of its own to a descriptor of its own.

The rules: a byte is taken from the connection once and written once, over as many connections as it takes; `offset` is
the first that was not taken. A stream whose reader does not read stops being received, and nothing else stops with it.
Bytes go from socket to pipe without passing through this process, as in logs_raw.
"""

from __future__ import annotations

from select import POLLIN, POLLOUT
from time import monotonic

from jobctl.exits import Fault
from jobctl.foreground_sink import SAFE_BYTES
from jobctl.logs_raw import AHEAD_BYTES, output_head
from jobctl.logs_source import NOT_FOUND, OUT, Query, dropped_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.foreground_link import Link
    from jobctl.foreground_sink import Sink
    from jobctl.shapes import Message

BLOCK_BYTES = 256 << 10  # of a copy, where the sink is no pipe; stays in the processor's cache
# Of a frame that is under way the kernel makes pieces of 64 KiB, and each would wake us: they may gather for a moment.
GATHER_BYTES = 128 << 10
GATHER_SEC = 0.0005
MAX_TURNS = 64  # pieces moved before the other stream has its turn


class Stream:
    """stdout or stderr of one run."""

    def __init__(self, number: int, sink: Sink, start: int, warn: Callable[[str], None]) -> None:
        """`start`: the offset of the first byte that is wanted; `warn` says a line to the user."""
        self.number = number
        self.sink = sink
        self.offset = start
        self.done = False  # its last byte is written, or nobody wants it
        self.link: Link | None = None
        self._warn = warn
        self._watched = True
        self._asked = 0
        self._began = False
        self._ended = False
        self._left = 0  # bytes of the Output under way that were not taken yet
        self._again = 0  # of these, so many had come before the last connection was lost
        self._tail = memoryview(b"")  # taken, and not written yet
        self._block = bytearray()
        self._waits_for_sink = False
        self.rests_until = 0.0  # more is sure to come, and is let gather
        self.goes_on = False  # its turns were used up: what is to be done next, poll(2) need not know of

    # --- connections ----------------------------------------------------------------------------------------------
    @property
    def needs_link(self) -> bool:
        """Whether there is more to come."""
        return not (self.done or self._ended)

    @property
    def is_asking(self) -> bool:
        """Whether this connection was asked for it."""
        return bool(self._asked)

    def ask(self, link: Link, run: bytes) -> None:
        """Go on with this connection."""
        self.link = link
        self._left = self._again = 0
        self._waits_for_sink = False
        query = Query("", run.hex())
        query.follow = True
        query.stdout, query.stderr = self.number == OUT, self.number != OUT
        query.out_from, query.err_from = (self.offset, 0) if self.number == OUT else (0, self.offset)
        self._asked = link.send({**query.request(), "one_run": True})

    def lose(self) -> None:
        """The connection is no more."""
        if self.link is not None:
            self.link.close()
        self.link = None
        self._asked = 0
        self.rests_until = 0.0

    def give_up(self) -> None:
        """Nobody wants the rest."""
        self.done = True
        self.lose()
        self._tail = memoryview(b"")

    # --- polling --------------------------------------------------------------------------------------------------
    def wants(self, wanted: dict[int, int]) -> None:
        """Add what to poll for: its reader, always, so that one who has gone is noticed; and what it waits for."""
        if self.done:
            return
        waits_for_sink = self._waits_for_sink or self.sink.pending or bool(self._tail)
        if self._watched:
            wanted[self.sink.fd] = wanted.get(self.sink.fd, 0) | (POLLOUT if waits_for_sink else 0)
        if self.link is not None and self._asked and not waits_for_sink and not self.rests_until:
            wanted[self.link.fileno()] = POLLIN if self.link.idle else POLLIN | POLLOUT

    def rest(self, now: float) -> float:
        """For how long (seconds) the connection need not be looked at: what is on its way may gather."""
        if self.rests_until <= now:
            self.rests_until = 0.0
            return 0.0
        return self.rests_until - now

    def polled(self, ready: dict[int, int]) -> None:
        """See to what poll(2) found.

        Raises:
            ConnectionLostError: the daemon has gone.
            Fault: it refused.
            GoneError, HangupError, OutputError: the sink's.
        """
        if self.done:
            return
        events = ready.get(self.sink.fd, 0)
        if events and not self.sink.check(events):
            self._watched = False
        link = self.link
        if link is not None and link.fileno() in ready and not link.idle:
            link.flush()
        if self.goes_on or events & POLLOUT or (link is not None and link.fileno() in ready):
            self._move()

    # --- moving ---------------------------------------------------------------------------------------------------
    def _move(self) -> None:
        """Move what can be moved without waiting."""
        moved = self.goes_on = False
        for _ in range(MAX_TURNS):
            if self.sink.pending:
                self.sink.flush()
            if self.sink.pending or not self._write_tail():
                self._waits_for_sink = True
                return
            if self._ended:
                self.done = True
                return
            if self.link is None:
                return
            if self._left:
                count = self._take(self.link)
                if not count:
                    # A splice does not say which of its two ends was not ready. If this one moved anything it was the
                    # socket, most likely; else it was not the one that poll(2) has just called ready.
                    self._waits_for_sink = self.sink.splices and not moved and not self._waits_for_sink
                    if self._left >= GATHER_BYTES and not self._waits_for_sink:
                        self.rests_until = monotonic() + GATHER_SEC
                    return
                moved = True
            elif not self._head(self.link):
                self._waits_for_sink = False
                return
        self.goes_on = True  # with what was received already, say, or with the end that has just been told

    def _write_tail(self) -> bool:
        """Write what was taken; whether that is all."""
        while self._tail:
            count = self.sink.write(self._tail, self.offset - len(self._tail))
            if not count:
                return False
            self._tail = self._tail[count:]
        return True

    def _take(self, link: Link) -> int:
        """Take some bytes of the Output under way, to the sink or to the tail; how many.

        A few are written in one go, as the job wrote them: lines of several jobctls into one pipe do not mix then.
        """
        while len(link.held) < self._left <= SAFE_BYTES:
            if not link.receive(self._left - len(link.held)):
                return 0
        if link.held:
            data = memoryview(link.take(min(self._left, len(link.held))))
        elif self.sink.splices and not self._again:
            count = self.sink.splice(link, self._left)
            self._left -= count
            self.offset += count
            return count
        else:
            if not self._block:
                self._block = bytearray(BLOCK_BYTES)
            room = min(self._left, self._again or self._left, BLOCK_BYTES)
            data = memoryview(self._block)[: link.receive_into(memoryview(self._block)[:room])]
        self._left -= len(data)
        again = min(self._again, len(data))
        self._again -= again
        self._tail = data[again:]
        self.offset += len(self._tail)
        return len(data)

    def _head(self, link: Link) -> bool:
        """See to the frame that comes next; False if it is not there yet.

        No more is received than belongs to the frame's head, so that the data are still in the socket to be spliced.
        """
        size = link.announced()
        whole = bool(size) and len(link.held) >= size
        if not whole and len(link.held) < AHEAD_BYTES:
            return link.receive(min(size or AHEAD_BYTES, AHEAD_BYTES) - len(link.held))  # and look again
        found = output_head(link.held, size)
        if found is not None:
            asked, body, start, count = found
            link.take(start)
            if asked == self._asked:
                self._began = True
                self._left = count
                self._again = min(max(0, self.offset - body["offset"]), count)
                self.offset = max(self.offset, body["offset"])
                return True
            self._left = self._again = count  # of a request before this one; cannot be, and would do no harm
            return True
        if not whole:
            return link.receive(size - len(link.held))
        message = link.next_message()
        if message is not None:
            self._note(message)
        return True

    def _note(self, message: Message) -> None:
        """A message that is no Output."""
        kind = message["type"]
        if message.get("id") != self._asked:
            return
        if kind == "end":
            self._ended = True
        elif kind == "fault":
            if message["code"] != NOT_FOUND or not self._began:
                raise Fault(message["code"], message["message"], message.get("details"))
            self._ended = True  # retention has taken the run: there is no more
        elif message["body"]["type"] == "dropped":
            self._warn(dropped_text(message["body"]))
            self.offset = max(self.offset, message["body"]["offset"])
