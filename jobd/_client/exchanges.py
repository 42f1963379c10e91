"""What is asked and how its answers are taken, without any I/O: one class for each shape of request.

A driver (trio's or the blocking one) sends what `request` builds whenever `state` is SEND, gives `take` every answer
while it is WAITING, and stops at DONE. When the connection is lost it calls `again`, reconnects, and goes on: an
exchange knows what it has already got, so that nothing is lost or repeated.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from jobd._client.faults import JobdError, Unavailable, error_for
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobd._client.session import Answer

T = TypeVar("T")
BodyT = TypeVar("BodyT", bound=m.Body)
RowT = TypeVar("RowT")


class State(Enum):
    SEND = auto()  # a request has to go out
    WAITING = auto()  # answers are due
    DONE = auto()


class Exchange(Generic[T]):
    """Base. `T` is what it gives out.

    Attributes:
        repeatable: the daemon can be asked again without doing anything twice.
        lasting: the answer takes as long as a job, and so is lost with every daemon that dies meanwhile. It goes on as
            long as there are daemons that greet us; its bound is its user's patience.
        open: the daemon still owes the end of the last request: leaving now takes a Cancel.
    """

    repeatable = True
    lasting = False
    resumable = False  # it can be interrupted and asked again at any time, even while answers are on their way

    def __init__(self) -> None:
        self.state = State.SEND
        self.open = False

    def request(self, id: int) -> m.Request:  # noqa: A002  # the field's name
        """The request to send now."""
        raise NotImplementedError

    def sent(self) -> None:
        self.state = State.WAITING
        self.open = True

    def take(self, answer: Answer) -> Sequence[T]:
        """What an answer gives. Raises JobdError for a Fault, or an answer that does not fit."""
        if isinstance(answer, m.Item):
            return self.item(answer.body)
        self.open = False
        if isinstance(answer, m.Fault):
            return self.fault(answer)
        self.state = State.DONE
        return self.reply(answer.body) if isinstance(answer, m.Reply) else self.end()

    def again(self, why: str) -> None:
        """The connection is gone. Raises Unavailable when it may not be asked again."""
        self.open = False
        if not self.repeatable:
            raise Unavailable(errors.UNAVAILABLE, f"cannot tell whether it was done: {why}")
        self.state = State.SEND

    def fault(self, fault: m.Fault) -> Sequence[T]:
        raise error_for(fault.code, fault.message, fault.details)

    def reply(self, body: m.AnyBody) -> Sequence[T]:
        raise unexpected(body)

    def item(self, body: m.AnyBody) -> Sequence[T]:
        raise unexpected(body)

    def end(self) -> Sequence[T]:
        raise JobdError(errors.MALFORMED, "cannot understand the daemon: end does not answer the request")


class One(Exchange[BodyT]):
    """One request, one Reply of a known kind."""

    def __init__(self, request: m.Request, kind: type[BodyT], *, repeatable: bool = True) -> None:
        super().__init__()
        self._request = request
        self._kind = kind
        self.repeatable = repeatable

    def request(self, id: int) -> m.Request:  # noqa: A002
        return msgspec.structs.replace(self._request, id=id)

    def reply(self, body: m.AnyBody) -> Sequence[BodyT]:
        return (expect(body, self._kind),)


class Pages(Exchange[list[RowT]], Generic[BodyT, RowT]):
    """A request whose answer comes page after page, each of which says from where to go on; gives all rows at the end.

    `page`: the rows of one, and its `more`.
    """

    def __init__(
        self, request: m.Request, kind: type[BodyT], page: Callable[[BodyT], tuple[Sequence[RowT], str]]
    ) -> None:
        super().__init__()
        self._request = request
        self._kind = kind
        self._page = page
        self._rows: list[RowT] = []

    def request(self, id: int) -> m.Request:  # noqa: A002
        return msgspec.structs.replace(self._request, id=id)

    def reply(self, body: m.AnyBody) -> Sequence[list[RowT]]:
        rows, more = self._page(expect(body, self._kind))
        self._rows += rows
        if not more:
            return (self._rows,)
        self._request = msgspec.structs.replace(self._request, after=more)
        self.state = State.SEND
        return ()


class RunPages(Exchange[list[m.RunView]]):
    """A History of `limit` rows, page after page; gives all rows at the end."""

    def __init__(self, request: m.History, limit: int, page: int = 1000) -> None:
        super().__init__()
        self._request = request
        self._limit = limit
        self._page = page  # the most rows that one reply may have
        self._rows: list[m.RunView] = []

    def request(self, id: int) -> m.Request:  # noqa: A002
        return msgspec.structs.replace(self._request, id=id, limit=min(self._limit - len(self._rows), self._page))

    def reply(self, body: m.AnyBody) -> Sequence[list[m.RunView]]:
        page = expect(body, m.Runs)
        self._rows += page.runs
        if page.more is None or not page.runs or len(self._rows) >= self._limit:
            return (self._rows,)
        self._request = msgspec.structs.replace(self._request, before=page.more, offset=0)
        self.state = State.SEND
        return ()


class Action(Exchange[list[m.Done]]):
    """Start, Stop, Restart or Kill: gives how each job went once all are done, or raises for the first that failed."""

    lasting = True

    def __init__(
        self, request: m.Request, progress: Callable[[m.Progress], None] | None, *, repeatable: bool = True
    ) -> None:
        super().__init__()
        self._request = request
        self._progress = progress
        self.repeatable = repeatable
        self._done: list[m.Done] = []

    def request(self, id: int) -> m.Request:  # noqa: A002
        self._done = []
        return msgspec.structs.replace(self._request, id=id)

    def item(self, body: m.AnyBody) -> Sequence[list[m.Done]]:
        if isinstance(body, m.Progress):
            if self._progress is not None:
                self._progress(body)
        else:
            self._done.append(expect(body, m.Done))
        return ()

    def end(self) -> Sequence[list[m.Done]]:
        for done in self._done:
            if done.code:
                error = error_for(done.code, done.text)
                error.results = self._done
                raise error
        return (self._done,)


class Removing(Action):
    """A Remove. What there is under the names is asked first and said along, so that asking again means the same."""

    def __init__(self, request: m.Remove, progress: Callable[[m.Progress], None] | None) -> None:
        super().__init__(request, progress)
        self._names = list(dict.fromkeys(request.names))
        self._known = False
        self._shown: dict[str, str] = {}  # names of our own making, and what they stand for

    def request(self, id: int) -> m.Request:  # noqa: A002
        return super().request(id) if self._known else m.Get(id=id, names=self._names)

    def reply(self, body: m.AnyBody) -> Sequence[list[m.Done]]:
        views = expect(body, m.Jobs).jobs
        names = self._names
        if any(set("*?[") & set(name) for name in names):
            self._shown = {f"{v.owner}/{v.job}": v.job for v in views if v.load != "not-found"}
            names = [v.job if v.load == "not-found" else f"{v.owner}/{v.job}" for v in views]
        if not names:
            self.state = State.DONE
            return ([],)
        runs = [v.run or bytes(16) for v in views]
        self._request = msgspec.structs.replace(self._request, names=names, runs=runs)
        self._known, self.state = True, State.SEND
        return ()

    def item(self, body: m.AnyBody) -> Sequence[list[m.Done]]:
        if isinstance(body, m.Done):
            body = msgspec.structs.replace(body, job=self._shown.get(body.job, body.job))
        return super().item(body)


def expect(body: m.AnyBody, kind: type[BodyT]) -> BodyT:
    """The body as the kind that answers the request. Raises JobdError."""
    if not isinstance(body, kind):
        raise unexpected(body)
    return body


def unexpected(body: m.AnyBody) -> JobdError:
    """The error for an answer that does not fit."""
    name = type(body).__struct_config__.tag
    return JobdError(errors.MALFORMED, f"cannot understand the daemon: {name} does not answer the request")
