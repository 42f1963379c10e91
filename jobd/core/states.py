"""The life of a job, as one table.

Theory. A job is at rest (`dead`, or `failed` when its last run ended badly), or it has exactly one live run, or it is
between two runs (`auto-restart`: the one has ended, and the next begins when its delay is over). What the job *is* is
one stored word, systemd's SubState; `ActiveState` and the run's state are derived from it by tables below. What
somebody *wants* (the run's `stop_asked`) and *why* it came to rest (`Result`) are kept beside it, never in it.

A run begins in `start`, or in `queued` when it must wait: for a slot, for a keeper, or for jobs that come before it.
In `start` the program is executed and becomes ready: at once (EXECD), or when it or a check says so (LAUNCHED, later
READY); a oneshot is in `start` for as long as it runs. A step that fails ends the run. From `running` it may be told to
`reload`, and comes back.

A run is left in two ways. Somebody or something stops it: first its stop command if it has one (`stop`), then the tree
gets its stop signal (`stop-sigterm`; `stop-watchdog` when it has not shown that it lives) and, when its time is up,
SIGKILL (`stop-sigkill`). Or its main process ends by itself: if more of its tree is left, that is stopped through
`final-sigterm` and `final-sigkill`; a job that remains after its exit goes to `exited` instead, and is active there
until it is stopped. Whichever way, rest comes when no process of the tree is left, as GOOD or BAD, or as RETRY when it
is to start again. So stop means stopped: rest is never reached while a process of the job is known to live.

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
EXITED: Final = "exited"
RELOAD: Final = "reload"
STOP_COMMAND: Final = "stop"
STOP_WATCHDOG: Final = "stop-watchdog"
STOP_SIGTERM: Final = "stop-sigterm"
STOP_SIGKILL: Final = "stop-sigkill"
FINAL_SIGTERM: Final = "final-sigterm"
FINAL_SIGKILL: Final = "final-sigkill"
AUTO_RESTART: Final = "auto-restart"

ACTIVE_STATE: Final = {
    DEAD: "inactive",
    FAILED: "failed",
    QUEUED: "activating",
    START: "activating",
    RUNNING: "active",
    EXITED: "active",
    RELOAD: "reloading",
    STOP_COMMAND: "deactivating",
    STOP_WATCHDOG: "deactivating",
    STOP_SIGTERM: "deactivating",
    STOP_SIGKILL: "deactivating",
    FINAL_SIGTERM: "deactivating",
    FINAL_SIGKILL: "deactivating",
    AUTO_RESTART: "activating",
}
RUN_STATE: Final = {
    DEAD: records.FINISHED,
    FAILED: records.FINISHED,
    QUEUED: records.QUEUED,
    START: records.STARTING,
    RUNNING: records.RUNNING,
    EXITED: records.RUNNING,
    RELOAD: records.RUNNING,
    STOP_COMMAND: records.STOPPING,
    STOP_WATCHDOG: records.STOPPING,
    STOP_SIGTERM: records.STOPPING,
    STOP_SIGKILL: records.STOPPING,
    FINAL_SIGTERM: records.STOPPING,
    FINAL_SIGKILL: records.STOPPING,
    AUTO_RESTART: records.FINISHED,
}
AT_REST: Final = frozenset((DEAD, FAILED))
NO_RUN: Final = frozenset((DEAD, FAILED, AUTO_RESTART))  # the newest run has ended

# --- events -------------------------------------------------------------------------------------------------------
SUBMIT: Final = "submit"  # a run is accepted and starts at once
ENQUEUE: Final = "enqueue"  # a run is accepted and waits
BEGIN: Final = "begin"  # a waiting run starts
REQUEUE: Final = "requeue"  # the keeper died before the program could run
EXECD: Final = "execd"  # exec succeeded, and nothing else is waited for
LAUNCHED: Final = "launched"  # exec succeeded, and it is not ready yet
READY: Final = "ready"  # it is
REMAIN: Final = "remain"  # its main process ended well, and it remains active
RELOAD_ASKED: Final = "reload-asked"
RELOADED: Final = "reloaded"  # or it could not be, which is told apart
STOP: Final = "stop"  # somebody, or a limit, stops it by a signal
HALT: Final = "halt"  # the same, by its stop command first
HANG: Final = "hang"  # it has not shown that it lives
HALTED: Final = "halted"  # the stop command has ended, or its time is up
TIME_UP: Final = "time-up"  # the stop timeout ran out
LEFT: Final = "left"  # the main process ended, others of the tree live on
GOOD: Final = "good"  # nothing is left, and the result is a good one
BAD: Final = "bad"  # nothing is left, and the result is a failure (a failed start and `lost` too)
RETRY: Final = "retry"  # nothing is left, and it starts again by itself
RESET: Final = "reset"  # reset-failed

EVENTS: Final = (
    SUBMIT, ENQUEUE, BEGIN, REQUEUE, EXECD, LAUNCHED, READY, REMAIN, RELOAD_ASKED, RELOADED, STOP, HALT, HANG, HALTED,
    TIME_UP, LEFT, GOOD, BAD, RETRY, RESET,
)  # fmt: skip

TRANSITIONS: Final[dict[tuple[str, str], str]] = {
    (DEAD, SUBMIT): START,
    (DEAD, ENQUEUE): QUEUED,
    (DEAD, RESET): DEAD,  # ignored: nothing to reset
    (FAILED, SUBMIT): START,
    (FAILED, ENQUEUE): QUEUED,
    (FAILED, RESET): DEAD,
    (QUEUED, BEGIN): START,
    (QUEUED, STOP): QUEUED,  # the stop is noted; GOOD (canceled) follows, for there is no process to stop
    (QUEUED, HALT): QUEUED,  # as above
    (QUEUED, GOOD): DEAD,
    (QUEUED, BAD): FAILED,
    (QUEUED, RETRY): AUTO_RESTART,
    (QUEUED, RESET): QUEUED,  # ignored: only a failed job can be reset
    (START, EXECD): RUNNING,
    (START, LAUNCHED): START,
    (START, READY): RUNNING,
    (START, REMAIN): EXITED,
    (START, REQUEUE): QUEUED,
    (START, STOP): STOP_SIGTERM,
    (START, HALT): STOP_COMMAND,
    (START, HANG): STOP_WATCHDOG,
    (START, LEFT): FINAL_SIGTERM,  # ended before we heard of its exec, or before it was ready
    (START, GOOD): DEAD,
    (START, BAD): FAILED,
    (START, RETRY): AUTO_RESTART,
    (START, RESET): START,  # ignored
    (RUNNING, RELOAD_ASKED): RELOAD,
    (RUNNING, STOP): STOP_SIGTERM,
    (RUNNING, HALT): STOP_COMMAND,
    (RUNNING, HANG): STOP_WATCHDOG,
    (RUNNING, LEFT): FINAL_SIGTERM,
    (RUNNING, REMAIN): EXITED,
    (RUNNING, GOOD): DEAD,
    (RUNNING, BAD): FAILED,
    (RUNNING, RETRY): AUTO_RESTART,
    (RUNNING, EXECD): RUNNING,  # ignored: told again after a recovery
    (RUNNING, READY): RUNNING,  # ignored: said twice
    (RUNNING, RESET): RUNNING,  # ignored
    (EXITED, STOP): STOP_SIGTERM,
    (EXITED, HALT): STOP_COMMAND,
    (EXITED, GOOD): DEAD,  # nothing was left, and there is nothing to stop
    (EXITED, BAD): FAILED,
    (EXITED, RESET): EXITED,  # ignored
    (RELOAD, RELOADED): RUNNING,
    (RELOAD, READY): RUNNING,  # READY=1 ends a reload that was announced by RELOADING=1
    (RELOAD, RELOAD_ASKED): RELOAD,  # ignored: it is at it
    (RELOAD, STOP): STOP_SIGTERM,
    (RELOAD, HALT): STOP_COMMAND,
    (RELOAD, HANG): STOP_WATCHDOG,
    (RELOAD, LEFT): FINAL_SIGTERM,
    (RELOAD, REMAIN): EXITED,
    (RELOAD, GOOD): DEAD,
    (RELOAD, BAD): FAILED,
    (RELOAD, RETRY): AUTO_RESTART,
    (RELOAD, RESET): RELOAD,  # ignored
    (STOP_COMMAND, HALTED): STOP_SIGTERM,
    (STOP_COMMAND, STOP): STOP_COMMAND,  # ignored: it is being stopped
    (STOP_COMMAND, HALT): STOP_COMMAND,  # ignored, as above
    (STOP_COMMAND, LEFT): STOP_COMMAND,  # ignored: its command goes on, and the others are next
    (STOP_COMMAND, TIME_UP): STOP_SIGTERM,
    (STOP_COMMAND, GOOD): DEAD,
    (STOP_COMMAND, BAD): FAILED,
    (STOP_COMMAND, RETRY): AUTO_RESTART,
    (STOP_COMMAND, RESET): STOP_COMMAND,  # ignored
    (STOP_WATCHDOG, STOP): STOP_WATCHDOG,  # ignored: it is being stopped
    (STOP_WATCHDOG, HALT): STOP_WATCHDOG,  # ignored, as above
    (STOP_WATCHDOG, LEFT): FINAL_SIGTERM,
    (STOP_WATCHDOG, TIME_UP): STOP_SIGKILL,
    (STOP_WATCHDOG, GOOD): DEAD,
    (STOP_WATCHDOG, BAD): FAILED,
    (STOP_WATCHDOG, RETRY): AUTO_RESTART,
    (STOP_WATCHDOG, RESET): STOP_WATCHDOG,  # ignored
    (STOP_SIGTERM, STOP): STOP_SIGTERM,  # ignored: it is being stopped
    (STOP_SIGTERM, HALT): STOP_SIGTERM,  # ignored, as above
    (STOP_SIGTERM, EXECD): STOP_SIGTERM,  # ignored: the stop came while exec was under way
    (STOP_SIGTERM, LAUNCHED): STOP_SIGTERM,  # ignored, as above
    (STOP_SIGTERM, REQUEUE): QUEUED,  # the keeper died before the program could run; the stop still stands
    (STOP_SIGTERM, LEFT): STOP_SIGTERM,  # ignored: the others have the signal too, and the clock runs
    (STOP_SIGTERM, TIME_UP): STOP_SIGKILL,
    (STOP_SIGTERM, GOOD): DEAD,
    (STOP_SIGTERM, BAD): FAILED,
    (STOP_SIGTERM, RETRY): AUTO_RESTART,
    (STOP_SIGTERM, RESET): STOP_SIGTERM,  # ignored
    (STOP_SIGKILL, STOP): STOP_SIGKILL,  # ignored: nothing is stronger
    (STOP_SIGKILL, HALT): STOP_SIGKILL,  # ignored, as above
    (STOP_SIGKILL, EXECD): STOP_SIGKILL,  # ignored, as above
    (STOP_SIGKILL, LAUNCHED): STOP_SIGKILL,  # ignored, as above
    (STOP_SIGKILL, LEFT): STOP_SIGKILL,  # ignored
    (STOP_SIGKILL, GOOD): DEAD,
    (STOP_SIGKILL, BAD): FAILED,
    (STOP_SIGKILL, RETRY): AUTO_RESTART,
    (STOP_SIGKILL, RESET): STOP_SIGKILL,  # ignored
    (FINAL_SIGTERM, STOP): FINAL_SIGTERM,  # ignored: what is left is being stopped already
    (FINAL_SIGTERM, HALT): FINAL_SIGTERM,  # ignored, as above
    (FINAL_SIGTERM, TIME_UP): FINAL_SIGKILL,
    (FINAL_SIGTERM, LEFT): FINAL_SIGTERM,  # ignored: told again after a recovery
    (FINAL_SIGTERM, GOOD): DEAD,
    (FINAL_SIGTERM, BAD): FAILED,
    (FINAL_SIGTERM, RETRY): AUTO_RESTART,
    (FINAL_SIGTERM, RESET): FINAL_SIGTERM,  # ignored
    (FINAL_SIGKILL, STOP): FINAL_SIGKILL,  # ignored
    (FINAL_SIGKILL, HALT): FINAL_SIGKILL,  # ignored
    (FINAL_SIGKILL, LEFT): FINAL_SIGKILL,  # ignored
    (FINAL_SIGKILL, GOOD): DEAD,
    (FINAL_SIGKILL, BAD): FAILED,
    (FINAL_SIGKILL, RETRY): AUTO_RESTART,
    (FINAL_SIGKILL, RESET): FINAL_SIGKILL,  # ignored
    (AUTO_RESTART, SUBMIT): START,
    (AUTO_RESTART, ENQUEUE): QUEUED,
    (AUTO_RESTART, STOP): DEAD,  # somebody stops it between two runs
    (AUTO_RESTART, HALT): DEAD,  # as above
    (AUTO_RESTART, GOOD): DEAD,
    (AUTO_RESTART, BAD): FAILED,  # it has been started too often
    (AUTO_RESTART, RESET): AUTO_RESTART,  # ignored
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
    """The table as a Graphviz digraph (docs/states.dot); ignored events are left out."""
    lines = ["digraph job {"]
    edges: dict[tuple[str, str], list[str]] = {}
    for (sub, event), then in TRANSITIONS.items():
        if sub != then:
            edges.setdefault((sub, then), []).append(event)
    lines += [f'  "{a}" -> "{b}" [label="{", ".join(names)}"];' for (a, b), names in edges.items()]
    return "\n".join([*lines, "}", ""])


if __name__ == "__main__":
    print(diagram(), end="")
