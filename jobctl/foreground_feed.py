"""What goes to a run's stdin: which bytes may be read, which sent, and which must be kept. No I/O here.

The rules: every byte has an offset, counted from the first that the run was ever sent. The daemon says how many it has
`received`, safe on disk, and up to which `limit` more may be sent. What it has not received is kept, in blocks that
are used again; after a lost connection the new Attach says from where to send once more. Bytes read from our stdin are
sent at once, so what is kept and what is under way are the same, but for keys typed while the daemon is away.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from jobctl.foreground_pages import Pages

    Piece: TypeAlias = "tuple[int, memoryview | Pages, bool]"  # offset, bytes, whether the input ends behind them

BLOCK_BYTES = 256 << 10  # messages.MAX_INPUT_BYTES, the most one Input may carry; a test compares
MIN_READ_BYTES = 64 << 10  # a block with less room is full: a pipe gives no more than that at a time, usually
MAX_KEPT_BYTES = 16 << 20  # however generous the daemon's credit is
MAX_SPARE = 16  # blocks kept for use again

WAITING, OPEN, SHUT, TAKEN = range(4)  # no answer yet; the run takes input; no more; from somebody else


class InputLostError(Exception):
    """The daemon does not have what it said it had: cannot happen, and must not be papered over."""


class _Block:
    """Bytes read, from `start` on, and room for more."""

    __slots__ = ("data", "start", "used")

    def __init__(self, data: bytearray, start: int) -> None:
        self.data = data
        self.start = start
        self.used = 0


class Feed:
    """One run's input, as one client sends it."""

    def __init__(self, ahead: int = 0, follow: bool = False, says_end: bool = True) -> None:
        """Where input begins.

        Args:
            ahead: how many bytes may be read that there is no credit for yet.
            follow: begin behind what the run has had already, and not at its first byte.
            says_end: the end of our stdin is that of the run's; a terminal has none.
        """
        self.state = WAITING
        self.received = 0  # the daemon has all before it
        self.sent = 0
        self.end = 0  # behind the last byte that was read
        self.limit = 0
        self.skip = 0  # bytes of our stdin to be thrown away first: the run has had them
        self.ended = False  # our stdin has, at `end`
        self._end_sent = False
        self._ahead = ahead
        self._follow = follow
        self._says_end = says_end
        self._blocks: list[_Block] = []
        self._spare: list[bytearray] = []

    # --- reading --------------------------------------------------------------------------------------------------
    def room(self) -> int:
        """How many bytes may be read from our stdin now."""
        if self.ended or self.state != OPEN:
            return 0
        if self.skip:
            return min(self.skip, BLOCK_BYTES)
        return min(self.room_ahead(), BLOCK_BYTES)

    def room_ahead(self) -> int:
        """How many bytes there is credit for and may be kept."""
        if self.ended or self.state != OPEN:
            return 0
        return max(0, min(self.limit + self._ahead, self.received + MAX_KEPT_BYTES) - self.end)

    def buffer(self) -> memoryview:
        """Where to read to; no longer than `room`, which is not 0."""
        last = self._last()
        return memoryview(last.data)[last.used : last.used + self.room()]

    def _last(self) -> _Block:
        """The block that is being filled."""
        if self._blocks and len(self._blocks[-1].data) - self._blocks[-1].used >= MIN_READ_BYTES:
            return self._blocks[-1]
        self._blocks.append(_Block(self._spare.pop() if self._spare else bytearray(BLOCK_BYTES), self.end))
        return self._blocks[-1]

    def add(self, count: int) -> None:
        """So many bytes were read into `buffer`."""
        if self.skip:
            self.skip -= count
            return
        self._blocks[-1].used += count
        self.end += count

    def hold(self, data: memoryview, start: int) -> None:
        """These bytes from `start` on were read, and are counted already; nothing else is held."""
        self._blocks.clear()
        for at in range(0, len(data), BLOCK_BYTES):
            piece = data[at : at + BLOCK_BYTES]
            block = _Block(bytearray(BLOCK_BYTES), start + at)
            block.data[: len(piece)] = piece
            block.used = len(piece)
            self._blocks.append(block)

    def put(self, data: bytes) -> None:
        """These few bytes follow, whether there is room or not: a key."""
        last = self._last()
        last.data[last.used : last.used + len(data)] = data
        self.add(len(data))

    def finish(self) -> None:
        """Our stdin has ended."""
        self.ended = True

    # --- sending --------------------------------------------------------------------------------------------------
    def next_piece(self) -> Piece | None:
        """What to send now; it counts as sent. Its bytes stay as they are until the daemon has them."""
        if self.state != OPEN:
            return None
        count = min(self.end, self.limit) - self.sent
        if count > 0:
            block = next(block for block in self._blocks if self.sent < block.start + block.used)
            at = self.sent - block.start
            count = min(count, block.used - at)
            piece = memoryview(block.data)[at : at + count]
            self.sent += count
        elif not self._has_end or self._end_sent or self.sent < self.end:
            return None
        else:
            piece = memoryview(b"")
        self._end_sent = self._has_end and self.sent == self.end
        return self.sent - len(piece), piece, self._end_sent

    @property
    def _has_end(self) -> bool:
        return self.ended and self._says_end

    # --- what the daemon says -------------------------------------------------------------------------------------
    def attached(self, received: int, limit: int, is_open: bool) -> None:
        """A new Attach was answered: go on from `received`.

        Raises:
            InputLostError: the daemon has less than it once said.
        """
        if self.state == TAKEN or (self.state == SHUT and not self.ended):
            return  # what was not read by then is gone: nobody may write to our stdin any more
        if self.state == WAITING and self._follow:
            self.received = self.end = received
        elif is_open and received < self.received:  # of what takes no more, nothing is kept to be counted
            raise InputLostError(f"cannot go on with stdin: jobd had {self.received} bytes of it, and has {received}")
        self.sent = min(received, self.end)
        self._end_sent = False
        self.fed(received, limit, is_open, taken=False)

    def fed(self, received: int, limit: int, is_open: bool, taken: bool) -> None:
        """The daemon says where the input stands."""
        self.limit = limit
        if received > self.sent:  # what we never sent is from somebody else, who came while we were away
            taken = True
        if self.state != TAKEN:
            self.state = TAKEN if taken else OPEN if is_open else SHUT
        if self.received < received <= self.sent:
            self.received = received
            self._forget()

    def _forget(self) -> None:
        """Let go of what the daemon has, and use its blocks again."""
        while self._blocks and (end := self._blocks[0].start + self._blocks[0].used) <= self.received:
            if len(self._blocks) == 1:  # the one that is being filled: from its beginning now
                self._blocks[0].start, self._blocks[0].used = end, 0
                return
            block = self._blocks.pop(0)
            if len(self._spare) < MAX_SPARE:
                self._spare.append(block.data)
