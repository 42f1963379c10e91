"""A flood on stdin, passed on without being copied: its pages go from our pipe to the daemon's socket.

The rules are those of `Feed`; only where the bytes are is another matter. What was taken from stdin and not sent is in
one pipe of ours (`ahead`), what was sent and is not known to be safe in another (`kept`), by tee(2) the same pages. So
no frame is announced whose bytes are not ours already, and after a lost connection nothing is missing: both pipes are
read back into memory, and go out again from there. A stream has to be long before this is worth two pipes.
"""

from __future__ import annotations

import os

from jobctl.foreground_feed import BLOCK_BYTES, OPEN, Feed, InputLostError
from jobctl.logs_raw import F_SETPIPE_SZ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.foreground_feed import Piece

PASS_AFTER_BYTES = 2 << 20  # read before: importing ctypes takes as long as copying some MiB
PIPE_BYTES = 1 << 20  # the most an ordinary user may ask for (/proc/sys/fs/pipe-max-size)
# A pipe holds a number of pieces, however small. If so few bytes fill one, copying them is faster.
LEAST_BYTES = 128 << 10
_FLAGS = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE


def _find_tee() -> Callable[[int, int, int], int]:
    """tee(2), which Python does not have. Raises OSError or ImportError where there is none."""
    import ctypes

    tee = ctypes.CDLL(None, use_errno=True).tee
    tee.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_size_t, ctypes.c_uint)
    tee.restype = ctypes.c_ssize_t

    def call(source: int, target: int, count: int) -> int:
        done: int = tee(source, target, count, os.SPLICE_F_NONBLOCK)
        if done < 0:
            raise OSError(ctypes.get_errno(), "tee")
        return done

    return call


class Pages:
    """The two pipes. Its length is that of the frame under way: so many bytes of `ahead` are announced already."""

    def __init__(self) -> None:
        """Raises OSError: it cannot be had."""
        from fcntl import fcntl

        self.announced = 0
        self.full = False  # `kept` is, as far as is known
        self._fds: list[int] = []
        try:
            try:
                self._tee = _find_tee()
            except (ImportError, AttributeError) as e:
                raise OSError(str(e)) from e
            for _ in range(2):
                self._fds += os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
                fcntl(self._fds[-1], F_SETPIPE_SZ, PIPE_BYTES)
            self._fds.append(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC))
        except OSError:
            self.close()
            raise
        self._ahead, self._to_ahead, self._kept, self._to_kept, self._null = self._fds

    def __len__(self) -> int:
        return self.announced

    def close(self) -> None:
        """Let go of all that is in them."""
        for fd in self._fds:
            os.close(fd)
        self._fds = []

    def take(self, source: int, count: int) -> int:
        """Move bytes from a pipe to `ahead`, which is empty; 0 at the end. Raises as splice(2)."""
        return os.splice(source, self._to_ahead, count, flags=_FLAGS)

    def announce(self, count: int) -> int:
        """Keep the next bytes, as far as there is room, and make them the frame under way; how many they are."""
        try:
            self.announced = self._tee(self._ahead, self._to_kept, count)
        except BlockingIOError:
            self.full = True
        return self.announced

    def send(self, socket: int) -> None:
        """Send of the frame under way what the socket takes. Raises as splice(2)."""
        self.announced -= os.splice(self._ahead, socket, self.announced, flags=_FLAGS)

    def drop(self, count: int) -> None:
        """The first bytes that are kept are safe."""
        self.full = False
        while count:
            count -= os.splice(self._kept, self._null, count, flags=_FLAGS)

    def read_back(self) -> bytes:
        """All that is kept, and what was not announced yet; both pipes are empty then."""
        _read(self._ahead, self.announced)
        self.announced = 0
        return _read(self._kept, PIPE_BYTES) + _read(self._ahead, PIPE_BYTES)


def _read(fd: int, count: int) -> bytes:
    found = b""
    try:
        while len(found) < count:
            found += os.read(fd, count - len(found))
    except BlockingIOError:
        pass
    return found


class PassingFeed(Feed):
    """As Feed; when much has come from a pipe, the rest is passed on in its pages."""

    def __init__(self, ahead: int = 0, follow: bool = False, says_end: bool = True) -> None:
        super().__init__(ahead, follow, says_end)
        self._pages: Pages | None = None
        self._passing = False  # else: as soon as all that is in blocks is safe
        self._copied = 0  # bytes since the last try
        self._kept_from = 0  # offset of the first byte that is kept

    @property
    def passes(self) -> bool:
        """Whether stdin is to be taken by `take`, and not read into `buffer`."""
        return self._passing

    def add(self, count: int) -> None:
        """As Feed.add."""
        super().add(count)
        self._copied += count
        if self._copied >= PASS_AFTER_BYTES and not self.skip and self._pages is None:
            self._copied = 0
            try:
                self._pages = Pages()
            except OSError:
                self._copied = -(1 << 62)  # not again

    def room(self) -> int:
        """As Feed.room. Nothing is taken while something waits in a pipe: so the pipe is never the one that is full."""
        if self._pages is None:
            return super().room()
        if not self._passing:
            if self.state != OPEN or self.received < self.end:
                return 0
            self._passing = True
            self._kept_from = self.end
            self._blocks.clear()
            self._spare.clear()
        if self.sent < self.end or self._pages.announced:
            return 0
        return min(super().room_ahead(), PIPE_BYTES)

    def take(self, source: int) -> int:
        """Take from stdin, a pipe, as much as there is room for; 0 at the end. Raises as splice(2)."""
        assert self._pages is not None
        count = self._pages.take(source, self.room())
        self.end += count
        return count

    def next_piece(self) -> Piece | None:
        """As Feed.next_piece; the bytes of a piece may be in the pipe."""
        if not self._passing or self.state != OPEN or self.sent >= min(self.end, self.limit):
            return super().next_piece()
        assert self._pages is not None
        if self._pages.full or self._pages.announced:  # the latter on a connection that has broken in a frame
            return None
        offset = self.sent
        count = self._pages.announce(min(min(self.end, self.limit) - offset, BLOCK_BYTES))
        if count:
            self.sent += count
            self._end_sent = self._has_end and self.sent == self.end
            return offset, self._pages, self._end_sent
        if offset - self.received < LEAST_BYTES:
            self._read_back()
            self._copied = -(1 << 62)
            return super().next_piece()
        return None

    def attached(self, received: int, limit: int, is_open: bool) -> None:
        """As Feed.attached."""
        if self._passing:
            self._read_back()
        super().attached(received, limit, is_open)

    def close(self) -> None:
        """Let go of the pipes."""
        if self._pages is not None:
            self._pages.close()

    def _read_back(self) -> None:
        """Have in memory what is in the pipes, as if it had been read."""
        assert self._pages is not None
        data = self._pages.read_back()
        self._pages.close()
        self._pages, self._passing, self._copied = None, False, 0
        if self._kept_from + len(data) != self.end:
            raise InputLostError(f"cannot go on with stdin: {self.end - self._kept_from - len(data)} bytes are lost")
        self.hold(memoryview(data), self._kept_from)

    def _forget(self) -> None:
        if not self._passing:
            super()._forget()
            return
        assert self._pages is not None
        self._pages.drop(self.received - self._kept_from)
        self._kept_from = self.received
