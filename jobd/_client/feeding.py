"""What a run is fed, without any I/O: the request that says so, and the bytes that the daemon does not have yet."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from jobd._client.exchanges import Exchange
from jobd._client.faults import Conflict, JobdError
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Feeding(Exchange[None]):
    """An Attach for the sake of stdin. Each answer gives one None: look at where it stands.

    After a loss it attaches again, and `sent` goes back to what the daemon has: nothing is lost or doubled.
    """

    def __init__(self, run: bytes) -> None:
        super().__init__()
        self._run = run
        self._begun = False
        self._base = 0  # offset of the first byte that is kept
        self._kept: deque[bytes] = deque()  # not known to be safe yet
        self._added = 0  # offset behind the last of them
        self._sent = 0
        self._end = False  # nothing is added any more
        self._end_sent = False
        self.received = 0
        self.limit = 0
        self.is_open = True

    def request(self, id: int) -> m.Request:  # noqa: A002
        return m.Attach(id=id, run=self._run)

    def item(self, body: m.AnyBody) -> Sequence[None]:
        if isinstance(body, m.Attached):
            self._begin(body)
        elif not isinstance(body, m.Fed):
            raise JobdError(errors.MALFORMED, "cannot understand the daemon: it does not say what the run was fed")
        self.received = max(self.received, body.received)  # of a run that has ended meanwhile it is 0
        self.limit, self.is_open = body.limit, body.open
        while self._kept and self._base + len(self._kept[0]) <= self.received:
            self._base += len(self._kept.popleft())
        return (None,)

    def _begin(self, body: m.Attached) -> None:
        if not self._begun:
            self._begun = True
            self._base = self._added = body.received
        self._sent, self._end_sent = max(body.received, self._base), False

    def end(self) -> Sequence[None]:
        """The run has ended."""
        self.is_open = False
        return (None,)

    def add(self, data: bytes) -> None:
        """More for the run."""
        for at in range(0, len(data), m.MAX_INPUT_BYTES):
            self._kept.append(data[at : at + m.MAX_INPUT_BYTES])
        self._added += len(data)

    def finish(self) -> None:
        """Nothing follows what was added."""
        self._end = True

    def next(self, request: int) -> Callable[[int], m.Request] | None:
        """What may be sent now, for the Attach `request`; None: wait for an answer."""
        if not self.is_open or not self._begun:
            return None
        at, eof = self._sent, self._end and self._sent == self._added
        data = b"" if eof else self._piece()
        if not data and (not eof or self._end_sent):
            return None
        self._sent += len(data)
        self._end_sent = eof
        return lambda id: m.Input(id=id, request=request, offset=at, data=data, eof=eof)  # noqa: A006

    def _piece(self) -> bytes:
        start = self._base
        for piece in self._kept:
            if start + len(piece) > self._sent:
                return piece[self._sent - start : max(0, self.limit - start)]
            start += len(piece)
        return b""

    @property
    def settled(self) -> bool:
        """Whether the daemon has all that was added; the run reads it when it likes."""
        return self._begun and self.received >= self._added

    def check(self) -> None:
        """Raise Conflict if what was added cannot be had by the run any more."""
        if not self.is_open and not self.settled:
            raise Conflict(errors.NOT_APPLICABLE, "cannot feed the run: it has ended, or takes no more input")
