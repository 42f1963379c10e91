"""Queues as rows of JSON, and what a job's or a run's row says of its queue. Imported only when JSON was asked for."""

from __future__ import annotations

from jobctl.names import owner_name
from jobctl.times import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.shapes import JobView, Json, QueueView, RunView


def queue_row(view: QueueView) -> dict[str, Json]:
    """An element of `queue list`, and the head of `queue show`."""
    owner = view.get("owner")
    return {
        "queue": view["name"],
        "owner": None if owner is None else owner_name(owner),
        "shared": owner is None,
        "state": view.get("state", "open"),
        "slots": view.get("slots"),
        "used": view.get("used", 0),
        "running": view.get("running", 0),
        "waiting": view.get("waiting", 0),
        "held": view.get("held", 0),
        "reason": view.get("reason") or None,
    }


def place_row(view: JobView | RunView) -> dict[str, Json]:
    """Of a job's or a run's row, what it waits for and where."""
    not_before = view.get("not_before")
    after: list[Json] = [*view.get("after", [])]
    return {
        "queue": view.get("queue") or None,
        "priority": view.get("priority", 0),
        "weight": view.get("weight", 1),
        "position": view.get("position") or None,
        "held": view.get("held", False),
        "not_before": None if not_before is None else rfc3339(not_before),
        "after": after,
        "array_index": view.get("array_index"),
    }


def array_row(view: JobView) -> dict[str, Json]:
    """Of a job's row, which elements it has as an array, and of which array it is an element."""
    counts: dict[str, Json] = {**view.get("counts", {})}
    return {"array": view.get("array") or None, "array_of": view.get("array_of") or None, "elements": counts or None}


def clock_row(view: JobView) -> dict[str, Json]:
    """Of a job's row, its schedule."""
    due, last = view.get("elapse_next"), view.get("elapse_last")
    return {
        "schedule": [*view.get("schedule", [])],
        "next_elapse_at": None if due is None else rfc3339(due),
        "last_elapse_at": None if last is None else rfc3339(last),
    }
