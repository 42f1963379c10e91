"""The combined view of two streams: which bytes follow which. Pure: bytes are looked at through two questions only.

Records come in the order in which they were read. The view goes on with one stream and changes to the other only after
a newline, at the end of a stream, or when more than HOLD_BYTES of the other wait; what comes meanwhile is held back (as
offsets, never as bytes). Every byte of a stream appears once and in its order, whatever the other does.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

# A line longer than this is broken rather than holding the other stream back (DESIGN.md, section 5).
HOLD_BYTES = 64 * 1024


class Extent(NamedTuple):
    """Bytes of one stream, with the times at which they (or, joined, the first of them) were read."""

    stream: int
    start: int
    end: int
    wall: int
    mono: int


class Bytes(Protocol):
    """What the merge must know of the streams' bytes. Bytes that are gone count as whole lines."""

    def newline_before(self, stream: int, offset: int) -> bool:
        """Whether `offset` begins a line: it is 0 or follows a newline."""
        ...

    def line_end(self, stream: int, start: int, end: int) -> int | None:
        """The offset behind the first newline in [start, end)."""
        ...


class Merge:
    """The state between two records: the stream that the view is in, up to where, and what is held of the other.

    Whenever something is held, the current stream stands in the middle of a line.
    """

    __slots__ = ("_bytes", "_held", "_held_bytes", "_over", "current", "current_end")

    def __init__(self, data: Bytes, current: int = 0, current_end: int = 0) -> None:
        self._bytes = data
        self.current = current
        self.current_end = current_end
        self._held: list[Extent] = []
        self._held_bytes = 0
        self._over = 0  # streams that ended, as bits

    def look_through(self, data: Bytes) -> None:
        """Have the bytes be those of `data` from now on: the same ones, by who has them open now."""
        self._bytes = data

    @property
    def held(self) -> int:
        """How many bytes are held back."""
        return self._held_bytes

    def waiting(self) -> list[Extent]:
        """What is held back."""
        return list(self._held)

    def feed(self, extent: Extent) -> list[Extent]:
        """Takes the next bytes in reading order; returns what the view shows now."""
        if extent.stream == self.current or not self.current:
            if not self._held:
                self._show(extent)
                return [extent]
            return self._same_while_held(extent)
        if self._held or not (self._over & self.current or self._bytes.newline_before(self.current, self.current_end)):
            self._held.append(extent)
            self._held_bytes += extent.end - extent.start
            return self.release() if self._held_bytes > HOLD_BYTES else []
        self._show(extent)
        return [extent]

    def ended(self, stream: int) -> list[Extent]:
        """No more bytes of `stream` come."""
        self._over |= stream
        return self.release() if stream == self.current else []

    def release(self) -> list[Extent]:
        """Changes to the held bytes now, wherever the current stream stands."""
        shown, self._held, self._held_bytes = self._held, [], 0
        if shown:
            self._show(shown[-1])
        return shown

    def _show(self, extent: Extent) -> None:
        self.current, self.current_end = extent.stream, extent.end

    def _same_while_held(self, extent: Extent) -> list[Extent]:
        """The current stream goes on: its line may end here, and then the held bytes come next."""
        cut = self._bytes.line_end(extent.stream, extent.start, extent.end)
        if cut is None:
            self._show(extent)
            return [extent]
        head = extent._replace(end=cut)
        self._show(head)
        shown = [head, *self.release()]
        return shown + self.feed(extent._replace(start=cut)) if cut < extent.end else shown
