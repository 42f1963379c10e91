"""Changes as JSON."""

from __future__ import annotations

from jobctl.names import SHARED, full_id, owner_name
from jobctl.signals import signal_name
from jobctl.times import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.shapes import Body, Json

NO_LIMIT = -1  # of slots


def change_row(body: Body) -> dict[str, Json]:
    """A row of `events`: a change, or what of them was missed."""
    if body["type"] == "missed":
        return {"missed": {"after": body["after"], "before": body["before"]}}
    slots, due = body.get("slots"), body.get("due")
    run, signal, by = body.get("run"), body.get("signal"), body.get("by_uid")
    return {
        "cursor": body["seq"],
        "time": rfc3339(body["at"]),
        "event": body["kind"],
        "job": body["job"] or None,
        "owner": None if body["owner"] == SHARED else owner_name(body["owner"]),
        "run": None if run is None else full_id(run),
        "number": body.get("number"),
        "active": body.get("active") or None,
        "sub": body.get("sub") or None,
        "state": body.get("state") or None,
        "result": body.get("result") or None,
        "exit_code": body.get("exit_code"),
        "signal": None if signal is None else signal_name(signal),
        "pid": body.get("pid"),
        "failed_step": body.get("step") or None,
        "reason": body.get("reason") or None,
        "queue": body.get("queue") or None,
        "slots": None if slots == NO_LIMIT else slots,
        "priority": body.get("priority"),
        "held": body.get("held"),
        "cause": body.get("cause") or None,
        "due": None if due is None else rfc3339(due),
        "by": None if by is None else owner_name(by),
        "by_uid": by,
        "by_gid": body.get("by_gid"),
        "by_pid": body.get("by_pid"),
    }
