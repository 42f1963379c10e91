"""Requests about what waits: queues, holds, timers, the figures of past runs; and when a submitted run may begin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, TypedDict

import msgspec

from jobd._client.exchanges import Action, Exchange, One, Pages, State, expect
from jobd._client.faults import Invalid
from jobd.core.ids import new_run_id
from jobd.wire import errors
from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Sequence

QueueState: TypeAlias = Literal["open", "paused", "draining"]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
USEC: Final = timedelta(microseconds=1)
NS_PER_USEC: Final = 1000
YEAR_NS: Final = 365 * 86_400 * 10**9


class When(TypedDict, total=False):
    """When a submitted run may begin; see Jobs.run."""

    queue: str | None
    priority: int | None
    weight: int | None
    after: str | Sequence[str]
    at: int | datetime | None
    delay: float | timedelta | None
    hold: bool
    singleton: bool
    array: str


def submission(request: m.Run, when: When) -> m.Run:
    """The request, with when it may begin.

    Raises:
        TypeError: a keyword that is none.
        Invalid: a time that cannot be meant.
    """
    if unknown := when.keys() - When.__annotations__:
        raise TypeError(f"run() got an unexpected keyword argument {min(unknown)!r}")
    at, delay = when.get("at"), when.get("delay")
    if at is not None and delay is not None:
        raise Invalid(errors.INVALID, "cannot begin both at a time and after a delay")
    after = when.get("after", ())
    settings = {key: str(value) for key in ("queue", "priority", "weight") if (value := when.get(key)) is not None}
    return msgspec.structs.replace(
        request,
        settings={**request.settings, **settings},
        after=[after] if isinstance(after, str) else list(after),
        not_before=None if at is None else nanoseconds(at),
        delay_usec=None if delay is None else microseconds(delay),
        hold=when.get("hold", False),
        singleton=when.get("singleton", False),
        array=when.get("array", ""),
    )


def nanoseconds(at: int | datetime) -> int:
    """A time as the wire has it; a datetime without a zone is of the local one, as everywhere in Python.

    Raises:
        Invalid: it is neither, or in seconds, of which as many nanoseconds are in the first months of 1970.
    """
    if isinstance(at, datetime):
        return (at.astimezone() - EPOCH) // USEC * NS_PER_USEC
    if not isinstance(at, int):
        raise Invalid(errors.INVALID, f"cannot begin at {at!r}: that is a datetime, or nanoseconds since the epoch")
    if 0 < at < YEAR_NS:
        raise Invalid(errors.INVALID, f"cannot begin at {at}: that is in 1970; nanoseconds since the epoch are meant")
    return at


def microseconds(delay: float | timedelta) -> int:
    """A delay as the wire has it. Raises Invalid for one that is negative, or no number."""
    span = delay if isinstance(delay, timedelta) else _span(delay)
    if span < timedelta():
        raise Invalid(errors.INVALID, f"cannot wait for {delay} seconds: that is before now")
    return span // USEC


def _span(seconds: float) -> timedelta:
    try:
        return timedelta(seconds=seconds)
    except TypeError:
        raise Invalid(errors.INVALID, f"cannot wait for {seconds!r}: that is seconds, or a timedelta") from None
    except (ValueError, OverflowError):
        raise Invalid(errors.INVALID, f"cannot wait for {seconds} seconds") from None


# --- queues -------------------------------------------------------------------------------------------------------
class QueuePages(Exchange[m.QueueDetail]):
    """A QueueShow, page after page; gives the queue as it was at first, with all runs."""

    def __init__(self, request: m.QueueShow) -> None:
        super().__init__()
        self._request = request
        self._first: m.QueueDetail | None = None
        self._runs: dict[bytes, m.RunView] = {}  # one that begins meanwhile may come twice

    def request(self, id: int) -> m.Request:  # noqa: A002  # the field's name
        return msgspec.structs.replace(self._request, id=id)

    def reply(self, body: m.AnyBody) -> Sequence[m.QueueDetail]:
        page = expect(body, m.QueueDetail)
        self._first = self._first or page
        self._runs.update((run.run, run) for run in page.runs)
        if not page.more:
            return (msgspec.structs.replace(self._first, runs=[*self._runs.values()], more=""),)
        self._request = msgspec.structs.replace(self._request, after=page.more)
        self.state = State.SEND
        return ()


class QueueRemoval(One[m.Ok]):
    """A QueueRemove. Asked for again, a queue that is not there any more has been removed by the first."""

    def __init__(self, name: str) -> None:
        super().__init__(m.QueueRemove(id=0, name=name), m.Ok)
        self._asked_again = False

    def again(self, why: str) -> None:
        super().again(why)
        self._asked_again = True

    def fault(self, fault: m.Fault) -> Sequence[m.Ok]:
        if self._asked_again and fault.code == errors.NOT_FOUND:
            self.state = State.DONE
            return (m.Ok(),)
        return super().fault(fault)


def queues(patterns: Sequence[str], *, all_queues: bool) -> One[m.Queues]:
    return One(m.QueueList(id=0, patterns=list(patterns), all=all_queues), m.Queues)


def queue(name: str) -> QueuePages:
    return QueuePages(m.QueueShow(id=0, name=name))


def queue_add(name: str, slots: int | None, *, shared: bool) -> One[m.Ok]:
    return One(m.QueueAdd(id=0, name=name, slots=m.NO_LIMIT if slots is None else slots, shared=shared), m.Ok)


def queue_slots(name: str, slots: int | None) -> One[m.Ok]:
    return One(m.QueueSet(id=0, name=name, slots=m.NO_LIMIT if slots is None else slots), m.Ok)


def queue_state(name: str, state: QueueState) -> One[m.Ok]:
    return One(m.QueueSet(id=0, name=name, state=state), m.Ok)


def queue_switch(first: str, second: str) -> One[m.Ok]:
    once = new_run_id().hex()  # asked again under it, they do not change back
    return One(m.QueueSwitch(id=0, first=first, second=second, once=once), m.Ok)


# --- runs that wait -----------------------------------------------------------------------------------------------
def cancel(names: Sequence[str], runs: Sequence[bytes] = ()) -> Action:
    return Action(m.CancelQueued(id=0, names=list(names), runs=list(runs)), None)


def hold(names: Sequence[str]) -> Action:
    return Action(m.Hold(id=0, names=list(names)), None)


def release(names: Sequence[str]) -> Action:
    return Action(m.Release(id=0, names=list(names)), None)


def timers(patterns: Sequence[str], *, all_timers: bool) -> Pages[m.Timers, m.TimerView]:
    request = m.ListTimers(id=0, patterns=list(patterns), all=all_timers)
    return Pages(request, m.Timers, lambda page: (page.timers, page.more))


def stats(jobs: Sequence[str], *, queue: str, since: int | None, until: int | None) -> Pages[m.Stats, m.StatsView]:
    request = m.HistoryStats(id=0, jobs=list(jobs), queue=queue, since=since, until=until)
    return Pages(request, m.Stats, lambda page: (page.stats, page.more))
