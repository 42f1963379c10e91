"""Reading changes of jobs: how far a reader is, and how he goes on there after losing the connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from jobd._client.exchanges import Exchange
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Told: TypeAlias = m.Change | m.Missed


class Watching(Exchange[Told]):
    """Events: gives each change once, in order. `cursor`: everything asked for up to this number was given."""

    resumable = True

    def __init__(self, request: m.Events) -> None:
        super().__init__()
        self.lasting = request.follow
        self.cursor = request.after
        self._request = request
        self._moved = False
        self._gap: m.Missed | None = None  # the last that was given

    def request(self, id: int) -> m.Request:  # noqa: A002  # the field's name
        lines = None if self._moved else self._request.lines  # of those some have come
        return msgspec.structs.replace(self._request, id=id, after=self.cursor, lines=lines)

    def item(self, body: m.AnyBody) -> Sequence[Told]:
        if isinstance(body, m.Missed):
            if body == self._gap:
                return ()
            self._gap = body
            if body.before < body.after:  # the cursor was of another database: all that there is comes
                self.cursor = 0
            return (body,)
        if not isinstance(body, (m.Change, m.Reached)):
            return super().item(body)
        if isinstance(body, m.Change) and self.cursor is not None and body.seq <= self.cursor:
            return ()
        self.cursor = body.seq
        self._moved = True
        return (body,) if isinstance(body, m.Change) else ()

    def end(self) -> Sequence[Told]:
        return ()


class BlockingChanges:
    """Changes as they come: an iterator. It reconnects when the daemon is replaced, and goes on at the next change.

    Attributes:
        cursor: give it as `after` to go on behind what was read, at any time and under any daemon. None at first.
    """

    def __init__(self, exchange: Watching, changes: Iterator[Told]) -> None:
        self._exchange = exchange
        self._changes = changes

    @property
    def cursor(self) -> int | None:
        return self._exchange.cursor

    def __iter__(self) -> BlockingChanges:
        return self

    def __next__(self) -> Told:
        return next(self._changes)
