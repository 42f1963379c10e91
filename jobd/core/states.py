"""The life of a job, as one table.

Theory. A job is at rest (`dead`, or `failed` when its last run ended badly) or it has exactly one live run. What the
job *is* is one stored word, systemd's SubState; `ActiveState` and the run's state are derived from it by tables below.
What somebody *wants* (the run's `stop_asked`) and *why* it came to rest (`Result`) are kept beside it, never in it.

A run begins in `start`, or in `queued` when it must wait (for a slot, or for a keeper). From `start` the program either
takes over (`running`) or a step before it fails. A run leaves `running` in two ways. Somebody stops it: the tree gets
its stop signal in `stop-sigterm` and, when its time is up, SIGKILL in `stop-sigkill`. Or its main process ends by
itself: if more of its tree is left, that is stopped through `final-sigterm` and `final-sigkill`. In all four, GONE
(no process of the tree is left) leads to rest, as GOOD or BAD. So stop means stopped: rest is never reached while a
process of the job is known to live.

Events that are deliberately ignored stand in the table with the state they leave unchanged. A pair that is not in the
table is a bug of ours and raises, naming both.
"""

from __future__ import annotations

from typing import Final

from jobd.core import records

# --- SubState -----------------------------------------------------------------------------------------------------
DEAD: Final = "dead"
FAILED: Final = "failed"
QUEUED: Final = "queued"
START: Final = "start"
RUNNING: Final = "running"
STOP_SIGTERM: Final = "stop-sigterm"
STOP_SIGKILL: Final = "stop-sigkill"
FINAL_SIGTERM: Final = "final-sigterm"
FINAL_SIGKILL: Final = "final-sigkill"

ACTIVE_STATE: Final = {
    DEAD: "inactive",
    FAILED: "failed",
    QUEUED: "activating",
    START: "activating",
    RUNNING: "active",
    STOP_SIGTERM: "deactivating",
    STOP_SIGKILL: "deactivating",
    FINAL_SIGTERM: "deactivating",
    FINAL_SIGKILL: "deactivating",
}
RUN_STATE: Final = {
    DEAD: records.FINISHED,
    FAILED: records.FINISHED,
    QUEUED: records.QUEUED,
    START: records.STARTING,
    RUNNING: records.RUNNING,
    STOP_SIGTERM: records.STOPPING,
    STOP_SIGKILL: records.STOPPING,
    FINAL_SIGTERM: records.STOPPING,
    FINAL_SIGKILL: records.STOPPING,
}
AT_REST: Final = frozenset((DEAD, FAILED))

# --- events -------------------------------------------------------------------------------------------------------
SUBMIT: Final = "submit"  # a run is accepted and starts at once
ENQUEUE: Final = "enqueue"  # a run is accepted and waits
BEGIN: Final = "begin"  # a waiting run starts
REQUEUE: Final = "requeue"  # the keeper died before the program could run
EXECD: Final = "execd"  # exec succeeded
STOP: Final = "stop"  # somebody, or the runtime limit, stops it
TIME_UP: Final = "time-up"  # the stop timeout ran out
LEFT: Final = "left"  # the main process ended, others of the tree live on
GOOD: Final = "good"  # nothing is left, and the result is a good one
BAD: Final = "bad"  # nothing is left, and the result is a failure (a failed start and `lost` too)
RESET: Final = "reset"  # reset-failed

EVENTS: Final = (SUBMIT, ENQUEUE, BEGIN, REQUEUE, EXECD, STOP, TIME_UP, LEFT, GOOD, BAD, RESET)

TRANSITIONS: Final[dict[tuple[str, str], str]] = {
    (DEAD, SUBMIT): START,
    (DEAD, ENQUEUE): QUEUED,
    (DEAD, RESET): DEAD,  # ignored: nothing to reset
    (FAILED, SUBMIT): START,
    (FAILED, ENQUEUE): QUEUED,
    (FAILED, RESET): DEAD,
    (QUEUED, BEGIN): START,
    (QUEUED, STOP): QUEUED,  # the stop is noted; GOOD (canceled) follows, for there is no process to stop
    (QUEUED, GOOD): DEAD,
    (QUEUED, BAD): FAILED,
    (QUEUED, RESET): QUEUED,  # ignored: only a failed job can be reset
    (START, EXECD): RUNNING,
    (START, REQUEUE): QUEUED,
    (START, STOP): STOP_SIGTERM,
    (START, LEFT): FINAL_SIGTERM,  # ended before we heard of its exec
    (START, GOOD): DEAD,
    (START, BAD): FAILED,
    (START, RESET): START,  # ignored
    (RUNNING, STOP): STOP_SIGTERM,
    (RUNNING, LEFT): FINAL_SIGTERM,
    (RUNNING, GOOD): DEAD,
    (RUNNING, BAD): FAILED,
    (RUNNING, EXECD): RUNNING,  # ignored: told again after a recovery
    (RUNNING, RESET): RUNNING,  # ignored
    (STOP_SIGTERM, STOP): STOP_SIGTERM,  # ignored: it is being stopped
    (STOP_SIGTERM, EXECD): STOP_SIGTERM,  # ignored: the stop came while exec was under way
    (STOP_SIGTERM, REQUEUE): QUEUED,  # the keeper died before the program could run; the stop still stands
    (STOP_SIGTERM, LEFT): STOP_SIGTERM,  # ignored: the others have the signal too, and the clock runs
    (STOP_SIGTERM, TIME_UP): STOP_SIGKILL,
    (STOP_SIGTERM, GOOD): DEAD,
    (STOP_SIGTERM, BAD): FAILED,
    (STOP_SIGTERM, RESET): STOP_SIGTERM,  # ignored
    (STOP_SIGKILL, STOP): STOP_SIGKILL,  # ignored: nothing is stronger
    (STOP_SIGKILL, EXECD): STOP_SIGKILL,  # ignored, as above
    (STOP_SIGKILL, LEFT): STOP_SIGKILL,  # ignored
    (STOP_SIGKILL, GOOD): DEAD,
    (STOP_SIGKILL, BAD): FAILED,
    (STOP_SIGKILL, RESET): STOP_SIGKILL,  # ignored
    (FINAL_SIGTERM, STOP): FINAL_SIGTERM,  # ignored: what is left is being stopped already
    (FINAL_SIGTERM, TIME_UP): FINAL_SIGKILL,
    (FINAL_SIGTERM, LEFT): FINAL_SIGTERM,  # ignored: told again after a recovery
    (FINAL_SIGTERM, GOOD): DEAD,
    (FINAL_SIGTERM, BAD): FAILED,
    (FINAL_SIGTERM, RESET): FINAL_SIGTERM,  # ignored
    (FINAL_SIGKILL, STOP): FINAL_SIGKILL,  # ignored
    (FINAL_SIGKILL, LEFT): FINAL_SIGKILL,  # ignored
    (FINAL_SIGKILL, GOOD): DEAD,
    (FINAL_SIGKILL, BAD): FAILED,
    (FINAL_SIGKILL, RESET): FINAL_SIGKILL,  # ignored
}


class ImpossibleTransition(AssertionError):  # noqa: N818  # named for what happened
    """An event that cannot happen in this state did: a bug of ours."""


def after(sub: str, event: str) -> str:
    """The state that follows `sub` on `event`.

    Raises:
        ImpossibleTransition: the table has no such pair.
    """
    try:
        return TRANSITIONS[sub, event]
    except KeyError:
        raise ImpossibleTransition(f"event {event!r} cannot happen in state {sub!r}") from None


def diagram() -> str:
    """The table as a Graphviz digraph; ignored events are left out."""
    lines = ["digraph job {"]
    edges: dict[tuple[str, str], list[str]] = {}
    for (sub, event), then in TRANSITIONS.items():
        if sub != then:
            edges.setdefault((sub, then), []).append(event)
    lines += [f'  "{a}" -> "{b}" [label="{", ".join(names)}"];' for (a, b), names in edges.items()]
    return "\n".join([*lines, "}", ""])
