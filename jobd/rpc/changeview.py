"""Events, as clients see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobd.core.records import BY_GID, CAUSE, QUEUE_PREFIX
from jobd.wire import messages as m

if TYPE_CHECKING:
    from jobd.core.records import Event

# What of an event's data a Change shows, and under which name; hashes, boot ids and the like are nobody's business.
_SHOWN: Final = {
    "job.active": "active",
    "job.sub": "sub",
    "state": "state",
    "result": "result",
    "exit_code": "exit_code",
    "signal": "signal",
    "pid": "pid",
    "step": "step",
    "reason": "reason",
    "act.reason": "reason",
    "priority": "priority",
    "held": "held",
    "cause": "cause",
    CAUSE: "cause",
    "job.elapse_next": "due",
    "not_before": "due",
    QUEUE_PREFIX + "name": "queue",
    QUEUE_PREFIX + "state": "state",
}
# Of what an event makes from nothing, what is as usual is not told.
_USUAL: Final = (("priority", 0), ("held", False), ("cause", ""))


def change(event: Event, number: int | None) -> m.Change:
    """An event, by name what is for people to know; `number` is its run's. Values that it did not set are left out."""
    data = event.data
    shown = {name: data[key] for key, name in _SHOWN.items() if key in data and data[key] is not None}
    if "seq" in data:  # all of a run's row
        shown = {name: value for name, value in shown.items() if (name, value) not in _USUAL}
    if queue := data.get("queue"):
        shown["queue"] = str(queue).removeprefix("/")
    if QUEUE_PREFIX + "slots" in data:
        slots = data[QUEUE_PREFIX + "slots"]
        shown["slots"] = m.NO_LIMIT if slots is None else slots
    return m.Change(
        seq=event.seq,
        at=event.at,
        kind=event.kind,
        job=event.job,
        owner=event.owner,
        run=event.run,
        number=number,
        by_uid=event.by_uid,
        by_pid=event.by_pid,
        by_gid=gid if isinstance(gid := data.get(BY_GID), int) else None,
        **shown,  # type: ignore[arg-type]  # the rows' fields have the same types
    )
