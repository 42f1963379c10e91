"""Points in time that come again: what an expression of systemd's or cron's means, and when the next one is. Pure.

An expression is read (`jobd.core.calendartext`) into one Calendar, or into two where cron means "either": what remains
is systemd's representation (systemd.time(7)), a list of values and steps for each part of a date and of a time.

Theory of the two nights on which the clock is changed. Times are looked for on the clock of the wall, and then laid
upon real time. When the clock goes forward, some times of the wall do not exist: what was to be then is done once, at
the first moment after. When it goes back, some come twice: what is said for one time of the day is done at the first.
What is said for every hour, or for every so many minutes, is no time of the day, and goes by real time on both nights:
nothing is made good, and what comes twice is done twice. (systemd leaves out what does not exist; cron does as we do.)

Times are integer microseconds since the epoch; those of the wall are counted as if it were that of UTC.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, tzinfo
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SEC: Final = 1_000_000
MINUTE, HOUR, DAY = 60 * SEC, 3600 * SEC, 86_400 * SEC
FIRST_YEAR, LAST_YEAR = 1970, 2199  # systemd's (src/shared/calendarspec.c); what is not until then is never
WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
ALL_DAYS: Final = 0b1111111
# How long before a time of the wall it is looked for a change of the clock: more than any zone is from UTC, and than
# any has been changed by since 1970 (Samoa left out a day).
NEAR: Final = 2 * DAY
# A day that is in no year of these is in none: the 29th of February comes on each day of the week in 40 years at most.
CYCLE_YEARS: Final = 40
_EPOCH: Final = date(1970, 1, 1).toordinal()


class Part(Struct, frozen=True):
    """Some values: `start`, and with a step all from there on that are so far apart, up to `stop` if there is one."""

    start: int
    stop: int | None = None
    step: int = 0

    def at_least(self, value: int, most: int) -> int | None:
        """The first of them that is not below a value, if one is there up to `most`."""
        if value <= self.start:
            found = self.start
        elif self.step:
            found = self.start + -(-(value - self.start) // self.step) * self.step
        else:
            return None
        return found if found <= (most if self.stop is None else min(most, self.stop)) else None


Parts = tuple[Part, ...]  # of one place in an expression; none is all values


class Calendar(Struct, frozen=True, kw_only=True):
    """One expression."""

    weekdays: int = ALL_DAYS  # bits, Monday the lowest
    years: Parts = ()
    months: Parts = ()
    days: Parts = ()
    from_end: bool = False  # days count from the end of the month: the last is 1
    hours: Parts = ()
    minutes: Parts = ()
    usecs: Parts = (Part(0),)  # seconds, in microseconds
    zone: str = ""  # "" is where we are

    @property
    def every_hour(self) -> bool:
        """Whether no hour is said."""
        return len({hour for hour in range(24) if _first(self.hours, hour, 23) == hour}) == 24

    @property
    def goes_on(self) -> bool:
        """Whether it says no time of the day, but something that comes again and again."""
        return self.every_hour or not self.minutes or any(part.step for part in self.minutes if part.stop is None)


# --- when -----------------------------------------------------------------------------------------------------------
def elapse_after(calendars: Iterable[Calendar], after: int, here: tzinfo) -> int | None:
    """The first time of any of these after a moment; None: there is none any more.

    Args:
        calendars: the expressions.
        after: a moment.
        here: the zone of those that say none.

    Raises:
        KeyError: a zone is not known.
    """
    found = [_elapse_after(calendar, after, zone_of(calendar, here)) for calendar in calendars]
    return min((at for at in found if at is not None), default=None)


def elapses(calendars: Iterable[Calendar], after: int, here: tzinfo, count: int) -> list[int]:
    """The next so many of them."""
    known = tuple(calendars)
    found: list[int] = []
    while len(found) < count and (at := elapse_after(known, found[-1] if found else after, here)) is not None:
        found.append(at)
    return found


def zone_of(calendar: Calendar, here: tzinfo) -> tzinfo:
    """The zone that it is meant in. KeyError: this machine does not know it."""
    if not calendar.zone:
        return here
    return UTC if calendar.zone == "UTC" else ZoneInfo(calendar.zone)


def _elapse_after(calendar: Calendar, after: int, zone: tzinfo) -> int | None:
    at, wall = after, after + _offset(zone, after) + 1
    while (found := _on_the_wall(calendar, wall)) is not None:
        near = max(at, found - NEAR)
        offset = _offset(zone, near)
        real = found - offset
        change = _change(zone, near, real)
        if change is None:
            if calendar.goes_on or not _comes_again(zone, real):
                return real
            at, wall = real, found + 1
            continue
        before, since = change + offset, change + _offset(zone, change)
        if before <= found < since and not calendar.every_hour:
            return change
        at = change
        wall = max(found, since) if before < since else since if calendar.goes_on else before
    return None


def _offset(zone: tzinfo, at: int) -> int:
    """How far the clock of the wall is before that of UTC."""
    offset = datetime.fromtimestamp(at // SEC, zone).utcoffset()
    assert offset is not None
    return offset.days * DAY + offset.seconds * SEC


def _comes_again(zone: tzinfo, at: int) -> bool:
    """Whether the wall shows a time for the second time."""
    return datetime.fromtimestamp(at // SEC, zone).fold == 1


def _change(zone: tzinfo, low: int, high: int) -> int | None:
    """The first moment of another offset between two that are a few days apart, if their offsets differ."""
    offset = _offset(zone, low)
    if high <= low or _offset(zone, high) == offset:
        return None
    before, since = low // SEC, high // SEC
    while since - before > 1:
        middle = (before + since) // 2
        if _offset(zone, middle * SEC) == offset:
            before = middle
        else:
            since = middle
    return since * SEC


# --- on the wall ----------------------------------------------------------------------------------------------------
def _on_the_wall(calendar: Calendar, wall: int) -> int | None:
    """The first time of the wall that is not before this one."""
    number, rest = divmod(wall, DAY)
    if not 1 <= _EPOCH + number <= date.max.toordinal():
        return None
    today = date.fromordinal(_EPOCH + number)
    for day in _days(calendar, today):
        time = _time(calendar, rest if day == today else 0)
        if time is not None:
            return (day.toordinal() - _EPOCH) * DAY + time
    return None


def _days(calendar: Calendar, today: date) -> Iterator[date]:
    """The days that it names, from today on."""
    last = LAST_YEAR if calendar.years else min(LAST_YEAR, today.year + CYCLE_YEARS)
    for year in _values(calendar.years, max(today.year, FIRST_YEAR), last):
        for month in _values(calendar.months, today.month if year == today.year else 1, 12):
            first = date(year, month, 1)
            length = (date(year + month // 12, month % 12 + 1, 1) - first).days
            begin = today.day if (year, month) == (today.year, today.month) else 1
            days = _from_end(calendar.days, length) if calendar.from_end else calendar.days
            for day in _values(days, begin, length):
                if calendar.weekdays >> (first.weekday() + day - 1) % 7 & 1:
                    yield first.replace(day=day)


def _from_end(parts: Parts, length: int) -> Parts:
    """Days that count from the end of a month as days of one of this length. A step goes on towards the end."""
    return tuple(
        Part(
            length + 1 - (part.start if part.stop is None else part.stop),
            part.stop and length + 1 - part.start,
            part.step,
        )
        for part in parts
    )


def _time(calendar: Calendar, rest: int) -> int | None:
    """The first time of a day that it names, from this one on."""
    for hour in _values(calendar.hours, rest // HOUR, 23):
        left = max(0, rest - hour * HOUR)
        for minute in _values(calendar.minutes, left // MINUTE, 59):
            usec = _first(calendar.usecs, max(0, left - minute * MINUTE), MINUTE - 1)
            if usec is not None:
                return hour * HOUR + minute * MINUTE + usec
    return None


def _values(parts: Parts, value: int, most: int) -> Iterator[int]:
    """The values of one place, from this one on."""
    while (found := _first(parts, value, most)) is not None:
        yield found
        value = found + 1


def _first(parts: Parts, value: int, most: int) -> int | None:
    """The first of them."""
    if not parts:
        return value if value <= most else None
    return min((found for part in parts if (found := part.at_least(value, most)) is not None), default=None)


# --- in words -------------------------------------------------------------------------------------------------------
def normalized(calendar: Calendar) -> str:
    """The expression in full, as `systemd-analyze calendar` prints it."""
    words = [] if calendar.weekdays == ALL_DAYS else [_weekday_text(calendar.weekdays)]
    day = "~" if calendar.from_end else "-"
    words.append(f"{_text(calendar.years, 4)}-{_text(calendar.months)}{day}{_text(calendar.days)}")
    words.append(f"{_text(calendar.hours)}:{_text(calendar.minutes)}:{_usec_text(calendar.usecs)}")
    return " ".join([*words, calendar.zone] if calendar.zone else words)


def _weekday_text(bits: int) -> str:
    words: list[str] = []
    day = 0
    while day < 7:
        end = day
        while bits >> end & 1:
            end += 1
        run = WEEKDAYS[day:end]
        words += [f"{run[0]}..{run[-1]}"] if len(run) > 2 else run
        day = end + 1
    return ",".join(words)


def _text(parts: Parts, digits: int = 2) -> str:
    words = []
    for part in parts:
        stop = "" if part.stop is None else f"..{part.stop:0{digits}}"
        step = f"/{part.step}" if part.step and (part.step > 1 or part.stop is None) else ""
        words.append(f"{part.start:0{digits}}{stop}{step}")
    return ",".join(words) or "*"


def _usec_text(parts: Parts) -> str:
    if parts == (Part(0, None, SEC),):
        return "*"
    words = []
    for part in parts:
        stop = "" if part.stop is None else f"..{_seconds(part.stop, 2)}"
        step = f"/{_seconds(part.step)}" if part.step and (part.step != SEC or part.stop is None) else ""
        words.append(f"{_seconds(part.start, 2)}{stop}{step}")
    return ",".join(words)


def _seconds(usec: int, digits: int = 1) -> str:
    whole, rest = divmod(usec, SEC)
    return f"{whole:0{digits}}" + (f".{rest:06}" if rest else "")
