"""Frames: a 4-byte big-endian length and that many bytes of body. Bytes in, bodies out; no socket in sight.

The rules: a length is judged when its fourth byte is there, before anything is set aside for the body, and a byte is
copied at most three times however it arrives. jobctl's hot path imports this module, so it imports next to nothing.
"""

from __future__ import annotations

from struct import Struct
from sys import getrefcount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    Body: TypeAlias = bytes | bytearray | memoryview

MAX = 1 << 20  # bytes of body; DESIGN.md, section 6 (messages.MAX_FRAME_BYTES is the same, and tested to be)
HEADER = 4
LARGE = 64 << 10  # a longer body gets room of its own, once a quarter of it is there: who only announces costs nothing

ROOM = (256 << 10) + 512  # of a room that is used again: what an Input of the largest size takes
MAX_ROOMS = 20  # a client sends 4 MiB ahead (runtime.feeder.WINDOW_BYTES)
HEAD = 128  # more than there is before the data of an Input

_length = Struct(">I")
_pack_length = _length.pack
_length_at = _length.unpack_from


def _count(rooms: list[bytearray]) -> int:
    return getrefcount(rooms[0])


FREE_COUNT = _count([bytearray()])  # of what is in a list and nowhere else


class FrameError(ValueError):
    """The peer announced a frame that is too large, or we were about to send one."""


def header(length: int) -> bytes:
    """The frame header for a body of `length` bytes. Raises FrameError when that is over MAX."""
    if length > MAX:
        raise FrameError(f"cannot send a frame of {length} bytes: the largest is {MAX}")
    return _pack_length(length)


def pack(body: bytes) -> bytes:
    """The frame that carries `body`. Raises FrameError when the body is over MAX bytes."""
    return header(len(body)) + body


class FrameBuffer:
    """Takes bytes as they come, gives back whole bodies.

    `_data[_pos:]` and then `_more` is what has been fed and not given out. `_more` collects the pieces of a frame that
    is not whole yet and is joined once, when it is: a 1 MiB frame in 1-byte pieces costs no more than in one. The rest
    of a large body can be received to its place at once, in `space`.
    """

    __slots__ = ("_data", "_got", "_large", "_more", "_need", "_pos", "_rooms", "announced", "most", "wants")

    def __init__(self) -> None:
        self.most = MAX  # bytes of body that are taken
        self.announced = 0  # bytes of the body that has begun, once they are known
        self._data = b""
        self._pos = 0
        self._more = bytearray()
        self._need = HEADER  # bytes that must be there before another look is worth it
        self._large: bytearray | memoryview | None = None  # a large body, of which `_got` bytes are there
        self._got = 0
        self._rooms: list[bytearray] | None = None
        self.wants = LARGE  # how many bytes to receive at a time, where there is no `space`

    def expect_flood(self) -> None:
        """Many large bodies will come: use their room again, as soon as nobody refers to it any more.

        They are memoryviews then. It saves the system the giving and taking of memory, which is half the work.
        """
        if self._rooms is None:
            self._rooms = []

    def feed(self, data: bytes) -> None:
        """Add what was received."""
        if self._large is not None and self._got < len(self._large):
            count = min(len(data), len(self._large) - self._got)
            self._large[self._got : self._got + count] = data[:count]
            self._got += count
            data = data[count:]
        if self._pos == len(self._data) and not self._more:
            self._data = data
            self._pos = 0
        else:
            self._more += data

    def space(self) -> memoryview | None:
        """Where what comes next belongs, for recv_into, and then `filled`. None: it is to be fed."""
        if self._large is None or self._got == len(self._large):
            return None
        return memoryview(self._large)[self._got :]

    def filled(self, count: int) -> None:
        """So many bytes were received into `space`, which is not to be held any longer."""
        self._got += count

    def next(self) -> Body | None:
        """The next whole body, or None until more is fed.

        Raises:
            FrameError: the next length is over MAX. The buffer stays there: the stream cannot be read any further.
        """
        if self._large is not None:
            if self._got < len(self._large):
                return None
            body, self._large = self._large, None
            self.announced = 0
            if self._rooms is not None:
                self.wants = HEAD  # of the next: the rest goes to its room then
            return body
        start = self._pos + HEADER
        have = len(self._data) - self._pos
        if have < self._need:
            if have + len(self._more) < self._need or not self._more:
                return None
            have = self._join()
            start = HEADER
        (length,) = _length_at(self._data, self._pos)
        if length > self.most:
            raise FrameError(f"cannot read a frame of {length} bytes: the largest is {self.most}")
        if have < HEADER + length:
            self.announced = length
            self._need = HEADER + length
            if have + len(self._more) < self._need:
                self._make_room(length)
                return None
            self._join()
            start = HEADER
        self._need = HEADER
        self.announced = 0
        self.wants = LARGE
        self._pos = end = start + length
        return self._data[start:end]

    def _make_room(self, length: int) -> None:
        """Set aside what a large body needs, once enough of it has come."""
        if length <= LARGE:
            self.wants = LARGE
            return
        if self._rooms is not None and length <= ROOM:
            large: bytearray | memoryview = memoryview(self._room(self._rooms))[:length]
        elif self.pending * 4 < length:
            self._need = length // 4 + 1
            return
        else:
            large = bytearray(length)
        have = self._join() - HEADER
        self._large = large
        self._large[:have] = memoryview(self._data)[HEADER:]
        self._got = have
        self._data = b""
        self._need = HEADER

    @staticmethod
    def _room(rooms: list[bytearray]) -> bytearray:
        """One that nobody uses."""
        for number in range(len(rooms)):
            if getrefcount(rooms[number]) == FREE_COUNT:
                return rooms[number]
        room = bytearray(ROOM)
        if len(rooms) < MAX_ROOMS:
            rooms.append(room)
        return room

    def _join(self) -> int:
        """Make one piece of all there is; return its length."""
        self._data = self._data[self._pos :] + self._more
        self._pos = 0
        self._more = bytearray()
        return len(self._data)

    @property
    def pending(self) -> int:
        """How many bytes of a frame that is not whole yet (or of frames not taken yet) are held."""
        large = 0 if self._large is None else HEADER + self._got
        return large + len(self._data) - self._pos + len(self._more)
