"""Frames: a 4-byte big-endian length and that many bytes of body. Bytes in, bodies out; no socket in sight.

The rules: a length is judged when its fourth byte is there, before anything is set aside for the body, and a byte is
copied at most three times however it arrives. jobctl's hot path imports this module, so it imports next to nothing.
"""

from __future__ import annotations

from struct import Struct

MAX = 1 << 20  # bytes of body; DESIGN.md, section 6 (messages.MAX_FRAME_BYTES is the same, and tested to be)
HEADER = 4

_length = Struct(">I")
_pack_length = _length.pack
_length_at = _length.unpack_from


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
    is not whole yet and is joined once, when it is: a 1 MiB frame in 1-byte pieces costs no more than in one.
    """

    __slots__ = ("_data", "_more", "_need", "_pos")

    def __init__(self) -> None:
        self._data = b""
        self._pos = 0
        self._more = bytearray()
        self._need = HEADER  # bytes that must be there before another look is worth it

    def feed(self, data: bytes) -> None:
        """Add what was received."""
        if self._pos == len(self._data) and not self._more:
            self._data = data
            self._pos = 0
        else:
            self._more += data

    def next(self) -> bytes | None:
        """The next whole body, or None until more is fed.

        Raises:
            FrameError: the next length is over MAX. The buffer stays there: the stream cannot be read any further.
        """
        start = self._pos + HEADER
        have = len(self._data) - self._pos
        if have < self._need:
            if have + len(self._more) < self._need or not self._more:
                return None
            have = self._join()
            start = HEADER
        (length,) = _length_at(self._data, self._pos)
        if length > MAX:
            raise FrameError(f"cannot read a frame of {length} bytes: the largest is {MAX}")
        if have < HEADER + length:
            self._need = HEADER + length
            if have + len(self._more) < self._need:
                return None
            self._join()
            start = HEADER
        self._need = HEADER
        self._pos = end = start + length
        return self._data[start:end]

    def _join(self) -> int:
        """Make one piece of all there is; return its length."""
        self._data = self._data[self._pos :] + self._more
        self._pos = 0
        self._more = bytearray()
        return len(self._data)

    @property
    def pending(self) -> int:
        """How many bytes of a frame that is not whole yet (or of frames not taken yet) are held."""
        return len(self._data) - self._pos + len(self._more)
