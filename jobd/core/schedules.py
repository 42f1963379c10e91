"""When a job's schedule starts it. Pure: times and chance come in.

A time that has come is seen to: the job is started, or it is said why not. `elapse_last` is the last of these, and
`elapse_next` the one to come, with its jitter. Both are of the wall's clock, which people set.

Set forward, or not looked at for a while (nobody was there, the machine slept), times have passed. What is late by a
moment is done all the same, as that is how long a daemon takes that was killed; of all else a persistent job makes one
run good, however much was missed, and any other none. Set back, times come again: those of the day that were seen to
are not done twice, if the clock was corrected by a few hours; and when it is set right after it was far ahead, nobody
waits for what was reckoned meanwhile. That is cron's rule, too. Times in nanoseconds since the epoch.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from jobd.core import calendar, calendartext

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import tzinfo

    from jobd.core.calendar import Calendar
    from jobd.core.spec import JobSpec

NSEC: Final = 1000  # in a microsecond
# As systemd's AccuracySec= has it by default: what comes up to a minute late is in time.
GRACE_NSEC: Final = 60 * 10**9
# cron(8): by how much the clock may be set back without a time of the day being done again.
CORRECTION_NSEC: Final = 3 * 3600 * 10**9
LAST_NSEC: Final = 2**63 - 1  # that a row can name, in the year 2262: a jitter of centuries goes beyond
SPACING_NSEC: Final = 10**8  # between two times of a job
CAUSE: Final = "schedule"  # of the runs


def is_scheduled(spec: JobSpec) -> bool:
    """Whether a job starts by the clock."""
    return bool(spec.schedule)


def same(old: JobSpec, new: JobSpec) -> bool:
    """Whether two definitions are due at the same times."""
    return old.schedule == new.schedule and old.schedule_jitter_usec == new.schedule_jitter_usec


@lru_cache(maxsize=1024)
def _calendars(text: str) -> tuple[Calendar, ...]:
    return calendartext.parse(text)


def calendars(texts: Iterable[str]) -> tuple[Calendar, ...]:
    """What expressions mean; one that cannot be read any more, as its time zone has gone, means nothing."""
    found: tuple[Calendar, ...] = ()
    for text in texts:
        try:
            found += _calendars(text)
        except ValueError:
            continue
    return found


def after(spec: JobSpec, moment: int, here: tzinfo, chance: float = 0.0) -> int | None:
    """The next time behind a moment; None: there is none any more.

    Args:
        spec: of the job.
        moment: in nanoseconds.
        here: the time zone of expressions that name none.
        chance: from 0 to 1, the part of its jitter by which it is late.
    """
    try:
        found = calendar.elapse_after(calendars(spec.schedule), moment // NSEC, here)
    except (KeyError, ValueError, OverflowError, OSError):  # no such zone any more; a clock beyond all calendars
        return None
    if found is None:
        return None
    at = (found + round(spec.schedule_jitter_usec * chance)) * NSEC
    return at if at <= LAST_NSEC else None


def following(spec: JobSpec, due: int, now: int, here: tzinfo, chance: float = 0.0) -> int | None:
    """The time behind one that is due, and not before now: what was missed in between is not made good one by one.

    Nor does a job come so often that nobody else has a turn: `*:*:0/0.000001` can be written.
    """
    found = after(spec, due, here, chance)
    soonest = now + SPACING_NSEC
    return after(spec, soonest - NSEC, here, chance) if found is not None and found < soonest else found


def afresh(spec: JobSpec, last: int | None, now: int, here: tzinfo, chance: float = 0.0) -> int | None:
    """The next time by a clock that may have been set: `last` is the last that was seen to, and may be to come."""
    begin = now
    if last is not None and 0 < last - now <= CORRECTION_NSEC and not _goes_on(spec):
        begin = last
    return after(spec, begin, here, chance)


def _goes_on(spec: JobSpec) -> bool:
    return all(each.goes_on for each in calendars(spec.schedule))


def is_late(due: int, now: int) -> bool:
    """Whether a time has passed."""
    return now - due > GRACE_NSEC
