"""One client that feeds a run: what an Attach request is while it lasts, and what its Inputs come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobd.core.spec import PTY
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.runtime.feeder import Feed, Feeder
    from jobd.runtime.run import Run

# An eighth of what may be on its way (runtime.feeder.WINDOW_BYTES), so that the client is never kept waiting for it.
NEWS_BYTES: Final = 512 << 10


class Feeding:
    """An Attach under way to a run that takes input. It feeds the run until another takes over."""

    __slots__ = ("error", "run", "stdin")

    def __init__(self, run: Run, stdin: Feed) -> None:
        self.run = run
        self.stdin = stdin
        self.error = ""  # why it cannot go on

    @property
    def current(self) -> bool:
        """Whether it is this one that feeds the run."""
        return self.stdin.client is self

    def take_over(self) -> None:
        """Be the one; who was it before is told."""
        self.stdin.client = self
        self.stdin.changed.set()

    def leave(self) -> None:
        """The Attach is over; the run's stdin stays as it is for the next."""
        if self.current:
            self.stdin.client = None

    def state(self) -> m.Fed:
        """Where the stdin stands, for this client."""
        stdin = self.stdin
        taken = not self.current
        return m.Fed(received=stdin.received, limit=stdin.limit, open=stdin.open and not taken, taken=taken)

    def is_news(self, state: m.Fed, told: m.Fed) -> bool:
        """Whether a client that was told `told` has to know `state` now; in a flood it need not know every step."""
        if (state.open, state.taken) != (told.open, told.taken):
            return True
        if state.received == self.stdin.next:
            return state != told
        return state.received - told.received >= NEWS_BYTES or state.limit - told.limit >= NEWS_BYTES

    def feed(self, feeder: Feeder, request: m.Input) -> None:
        """Take what is new in a request. What cannot be taken ends the Attach, by `error`."""
        stdin = self.stdin
        if not (self.current and stdin.open) or stdin.ending or self.error:
            return  # it was on its way when that changed
        end = request.offset + len(request.data)
        if request.offset > stdin.next:
            self._fail(f"cannot take input at byte {request.offset}: byte {stdin.next} comes next")
        elif end > stdin.limit:
            self._fail(f"cannot take input up to byte {end}: the limit is {stdin.limit}")
        else:
            if end > stdin.next:
                feeder.feed(self.run.id, request.data[stdin.next - request.offset :])
                stdin.next = end
            if request.eof and end == stdin.next and self.run.spec.stdin != PTY:
                stdin.ending = True
                feeder.feed(self.run.id, b"")

    def _fail(self, why: str) -> None:
        self.error = why
        self.stdin.changed.set()
