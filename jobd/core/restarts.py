"""Whether a job starts again by itself after the end of a run, and when: systemd's table, a backoff, a limit. Pure.

Theory. An end has one *cause*, and the policy (`restart`) says for which causes the job starts again; the table below
is that of systemd.service(5). What somebody asked for is no cause: a job that was stopped stays so, as does one that
could not be started because of another, or whose end nobody saw (it may live on somewhere).

systemd has four signals count as a clean end of a service, as that is how daemons are told to leave, and none of a
oneshot, which is expected to come to its end. So do we for the policy. For the *result* it is so of jobs from a file
only: of a command that somebody runs, a signal is what he wants to hear about.

The delay doubles from one restart to the next, and is the first one again after a run that lived for long enough. Not
all that failed together come back together: a tenth, either way, is random.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

from jobd.core import service, units

if TYPE_CHECKING:
    from jobd.core.exits import Exit
    from jobd.core.spec import JobSpec

# What a run's `again` may say: what follows its end, whatever the policy.
RESTART, REST = "restart", "rest"
STOPPED: Final = "stopped"  # the result, and what `stop_asked` says, of a stop that somebody asked for

# systemd's EXIT_CLEAN_DAEMON (src/shared/exit-status.c).
CLEAN_SIGNALS: Final = frozenset((signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE))

CLEAN, CODE, SIGNAL, TIMEOUT, WATCHDOG, OOM = "clean", "code", "signal", "timeout", "watchdog", "oom"
CAUSES: Final = (CLEAN, CODE, SIGNAL, TIMEOUT, WATCHDOG, OOM)
POLICIES: Final[dict[str, frozenset[str]]] = {
    service.NO: frozenset(),
    service.ALWAYS: frozenset(CAUSES),
    service.ON_SUCCESS: frozenset((CLEAN,)),
    service.ON_FAILURE: frozenset((CODE, SIGNAL, TIMEOUT, WATCHDOG, OOM)),
    service.ON_ABNORMAL: frozenset((SIGNAL, TIMEOUT, WATCHDOG, OOM)),
    service.ON_ABORT: frozenset((SIGNAL,)),
    service.ON_WATCHDOG: frozenset((WATCHDOG,)),
}
# Results that have a cause. `protocol` (it ended, well, before it was ready) is abnormal to systemd, as a timeout is.
_CAUSE_OF: Final = {
    "success": CLEAN,
    "exit-code": CODE,
    "start-failed": CODE,
    "signal": SIGNAL,
    "core-dump": SIGNAL,
    "timeout": TIMEOUT,
    "protocol": TIMEOUT,
    "watchdog": WATCHDOG,
    "oom-kill": OOM,
}

FACTOR: Final = 2
JITTER: Final = 0.1  # of the delay, either way
HEALTHY_USEC: Final = 10 * units.USEC_PER_SEC  # a run that lived for less was not well, however short its delays are
MAX_STARTS: Final = 1000  # times of starts that are kept; a limit above it is none


def clean_signals(spec: JobSpec) -> frozenset[int]:
    """The signals that end such a job well besides those that it names itself."""
    return frozenset() if spec.type == service.ONESHOT else CLEAN_SIGNALS


def cause_of(result: str, end: Exit | None, spec: JobSpec) -> str:
    """What an end was; "" for one after which no policy starts a job again.

    Args:
        result: of the run.
        end: how its main process ended, if there was one.
        spec: of the run.
    """
    if result == "signal" and end is not None and end.signal in clean_signals(spec):
        return CLEAN
    return _CAUSE_OF.get(result, "")


def restarts(spec: JobSpec, result: str, end: Exit | None, stop_asked: str = "", again: str = "") -> bool:
    """Whether a job starts again after a run.

    Args:
        spec: of the run.
        result: of the run.
        end: how its main process ended, if there was one.
        stop_asked: the result with which it was stopped, if it was.
        again: what follows its end if that was said: RESTART or REST.
    """
    if again or stop_asked == STOPPED:
        return again == RESTART
    if end is not None and (end.code in spec.restart_prevent_codes or end.signal in spec.restart_prevent_signals):
        return False
    return cause_of(result, end, spec) in POLICIES[spec.restart]


# --- when -----------------------------------------------------------------------------------------------------------
def delay_usec(spec: JobSpec, last_usec: int, lived_usec: int) -> int:
    """The delay before the next start, without jitter.

    Args:
        spec: of the run that has ended.
        last_usec: the delay before that run; 0 if somebody had started it.
        lived_usec: how long its program ran.
    """
    first, longest = spec.restart_delay_usec, max(spec.restart_delay_usec, spec.restart_max_delay_usec)
    if last_usec <= 0 or lived_usec >= max(HEALTHY_USEC, spec.restart_max_delay_usec):
        return first
    return min(longest, max(first, FACTOR * last_usec))


def jittered_usec(delay: int, chance: float) -> int:
    """The delay with its random part. `chance` is from 0 to 1."""
    return round(delay * (1 - JITTER + 2 * JITTER * chance))


def left_usec(restart_at: int, delay: int, now: int) -> int:
    """What is left of a delay that an earlier daemon began: by the wall clock, but never more than the delay.

    Args:
        restart_at: when it ends, wall-clock ns.
        delay: without jitter, µs.
        now: wall-clock ns.
    """
    return max(0, min((restart_at - now) // 1000, jittered_usec(delay, 1.0)))


# --- how often ------------------------------------------------------------------------------------------------------
def may_start(spec: JobSpec, starts: str, now: int) -> bool:
    """Whether the start limit allows one more start. `starts` is as in JobRow; `now` is wall-clock ns."""
    most, window_usec = spec.start_limit
    if not most or not window_usec:
        return True
    return len(_within(starts, window_usec, now)) < most


def with_start(spec: JobSpec, starts: str, now: int) -> str:
    """`starts` with one more, and without those that no longer count."""
    most, window_usec = spec.start_limit
    if not most or not window_usec:
        return ""
    kept = [*_within(starts, window_usec, now), now][-min(most, MAX_STARTS) :]
    return " ".join(map(str, kept))


def _within(starts: str, window_usec: int, now: int) -> list[int]:
    """The starts in the window that ends now. Those in the future do not count: somebody has set the clock back."""
    return [at for word in starts.split() if now - 1000 * window_usec < (at := int(word)) <= now]
