"""The messages about what waits: queues, holds, timers, and the figures of what has run."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

from jobd.wire.fields import Id, JobName, Message, Names, Nanos, Patterns, RunIds, Word

__all__ = [
    "MAX_SLOTS", "NO_LIMIT", "After", "CancelQueued", "HistoryStats", "Hold", "ListTimers", "QueueAdd", "QueueList",
    "QueueName", "QueueRemove", "QueueSet", "QueueShow", "QueueSwitch", "Release", "Slots",
]  # fmt: skip

MAX_SLOTS = 1_000_000  # no machine runs more at once, and sums of weights stay small
NO_LIMIT = -1  # in the place of a number of slots
QueueName: TypeAlias = Annotated[str, Meta(max_length=96)]  # NAME, OWNER/NAME or shared/NAME; "" is none
Slots: TypeAlias = Annotated[int, Meta(ge=NO_LIMIT, le=MAX_SLOTS)]
After: TypeAlias = Annotated[list[Annotated[str, Meta(max_length=160)]], Meta(max_length=256)]  # JOB[:ok|:failed|:any]


class QueueList(Message, frozen=True, kw_only=True, tag="queue-list"):
    """Queues: the caller's own and the shared ones; with `all`, of everybody all of whose jobs he sees. Reply: Queues.

    `patterns`: only those whose name one of these fits.
    """

    id: Id
    patterns: Patterns = []
    all: bool = False


class QueueShow(Message, frozen=True, kw_only=True, tag="queue-show"):
    """One queue and its runs in order: those that run, then those that wait. Reply: QueueDetail.

    `after` is the last reply's `more`. When the run that this means has begun meanwhile, the answer begins anew:
    nothing is left out, and some may come twice.
    """

    id: Id
    name: QueueName
    limit: Annotated[int, Meta(ge=1, le=1000)] = 1000
    after: Annotated[str, Meta(max_length=64)] = ""


class QueueAdd(Message, frozen=True, kw_only=True, tag="queue-add"):
    """Make a queue: the caller's own, or with `shared` everybody's, which is for administrators. Reply: Ok.

    One that is there with the same slots is done; with others it is EXISTS.
    """

    id: Id
    name: QueueName
    slots: Slots = 1
    shared: bool = False


class QueueSet(Message, frozen=True, kw_only=True, tag="queue-set"):
    """Change a queue. Reply: Ok. `state`: open, paused (starts nothing), draining (takes nothing new), "" as it is."""

    id: Id
    name: QueueName
    slots: Slots | None = None
    state: Word = ""


class QueueRemove(Message, frozen=True, kw_only=True, tag="queue-remove"):
    """Take a queue away. Reply: Ok. EXISTS while runs are in it; one that is not there is NOT_FOUND."""

    id: Id
    name: QueueName


class QueueSwitch(Message, frozen=True, kw_only=True, tag="queue-switch"):
    """Two waiting runs of one queue change places. Reply: Ok.

    `once`: the act's own name, made by the client; asked for again under it, they do not change back.
    """

    id: Id
    first: JobName
    second: JobName
    once: Word = ""


class CancelQueued(Message, frozen=True, kw_only=True, tag="cancel-queued"):
    """End runs that wait, before they begin. Items: Done per job (NOT_APPLICABLE: it runs already); End.

    `runs`: as Stop.
    """

    id: Id
    names: Names
    runs: RunIds = []


class Hold(Message, frozen=True, kw_only=True, tag="hold"):
    """Have waiting runs wait until they are released. Items: Done per job; End."""

    id: Id
    names: Names


class Release(Message, frozen=True, kw_only=True, tag="release"):
    """Let held runs begin in their turn. Items: Done per job; End."""

    id: Id
    names: Names


class ListTimers(Message, frozen=True, kw_only=True, tag="list-timers"):
    """What starts by the clock: jobs with a schedule, and runs that wait for their time. Reply: Timers, the next first.

    `all`: those that are not armed, too. `after` is the last reply's `more`.
    """

    id: Id
    patterns: Patterns = []
    all: bool = False
    after: Annotated[str, Meta(max_length=160)] = ""


class HistoryStats(Message, frozen=True, kw_only=True, tag="history-stats"):
    """Figures of finished runs, for each job. Reply: Stats, by owner and name. Fields as in History.

    Names that differ in the number at their end are one row (`make-*`, `train-1@*`), unless the job has a definition or
    is named here. `after` is the last reply's `more`.
    """

    id: Id
    jobs: Patterns = []
    queue: QueueName = ""
    since: Nanos | None = None
    until: Nanos | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 1000
    after: Annotated[str, Meta(max_length=96)] = ""
