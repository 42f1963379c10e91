"""Points in time as journalctl's --since and --until take them. No re and no datetime."""

from __future__ import annotations

from time import gmtime, localtime, mktime

from jobctl.exits import UsageError
from jobctl.times import NS
from jobd.core.units import parse_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from time import struct_time

DAY_SEC = 86_400
USEC_NS = 1_000
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LONG_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
LAST = 2**63 - 1  # nanoseconds that a message can say: until the year 2262
MAX_DELAY_USEC = 2**53  # of the message: 285 years
_WORDS = {"today": 0, "yesterday": -1, "tomorrow": 1}  # midnight of the day, so many from now
_CLOCKS = {"noon": "12:00", "midnight": "00:00"}
_AGAIN = ("minutely", "hourly", "daily", "weekly", "monthly", "quarterly", "semiannually", "yearly", "annually")


def parse_time(text: str, now: int) -> int:
    """Read `2026-11-22 18:17:16`, `2026-11-22`, `18:17`, `yesterday`, `-1h`, `+5min`, `1h ago`, `@1700000000`.

    RFC 3339, as in our JSON, is read too.

    Args:
        text: what was typed; local time unless it ends with `UTC`, `Z` or an offset.
        now: nanoseconds since the epoch.

    Returns:
        Nanoseconds since the epoch. What no message can say is the first or the last moment that one can.

    Raises:
        UsageError: it is no point in time.
    """
    word = text.strip()
    try:
        if not word:
            raise ValueError(text)
        return max(-LAST - 1, min(LAST, _parse(word, now)))
    except (ValueError, OverflowError):
        raise UsageError(f"cannot read time {text!r}: write 2026-11-22 18:17:16, 18:17, yesterday or -1h") from None


def parse_start(text: str, now: int) -> int:
    """Read when something is to begin: as `parse_time`, but of a time of the day, or of a day of the week, the next.

    What at(1) and sbatch(1) have of it is read too: `now+5min`, `noon`, `03:00 tomorrow`.

    Raises:
        UsageError: it is no point in time, or has passed.
    """
    word = text.strip()
    try:
        at = _next(word, now)
        if at is None and word[:3].lower() == "now" and word[3:].lstrip()[:1] in ("+", "-"):
            at = _parse(word[3:].lstrip(), now)
        elif at is None:
            at = parse_time(word, now)
    except (ValueError, OverflowError, UsageError):
        raise UsageError(f"cannot read time {text!r}: {_what_to_write(word)}") from None
    if at >= LAST:
        raise UsageError(f"cannot start anything at {text!r}: that is for ever")
    if at < now:
        from jobctl.times import timestamp

        raise UsageError(f"cannot start anything at {text!r}: {timestamp(at)} has passed")
    return at


def _next(text: str, now: int) -> int | None:
    """The next time that CLOCK, or a day and it in either order, is; None: it is something else."""
    words = [_CLOCKS.get(word.lower(), word) for word in text.split()]
    named = [word.lower() for word in words if _is_day(word)]
    try:
        rest, offset = _zone(" ".join(word for word in words if not _is_day(word)))
        clock = _clock(rest)
    except ValueError:
        return None
    if len(named) > 1:
        return None
    here = localtime(now // NS) if offset is None else gmtime(now // NS + offset)
    if not named:
        days, again = 0, 1
    elif named[0] in _WORDS:
        days, again = _WORDS[named[0]], 0
    else:
        days, again = (_WEEKDAYS.index(named[0][:3]) - here.tm_wday) % 7, 7
    at = _on(here, days, clock, offset)
    return _on(here, days + again, clock, offset) if at <= now and again else at


def _is_day(word: str) -> bool:
    low = word.lower()
    return low in _WORDS or low in _WEEKDAYS or low in _LONG_WEEKDAYS


def _on(here: struct_time, days: int, clock: tuple[int, int, int, int], offset: int | None) -> int:
    """A time of the day, so many days from the day that it is `here`."""
    hour, minute, second, part = clock
    if offset is None:
        day = here.tm_mday + days
        return int(mktime((here.tm_year, here.tm_mon, day, hour, minute, second, 0, 0, -1))) * NS + part
    whole = _days(here.tm_year, here.tm_mon, here.tm_mday) + days
    return (whole * DAY_SEC + hour * 3600 + minute * 60 + second - offset) * NS + part


def _what_to_write(text: str) -> str:
    """In place of what is no time to begin at."""
    if "*" in text or text.removeprefix("@").lower() in _AGAIN:
        return "what is to begin again and again has a schedule in a job file"
    try:
        parse_duration(text)
    except ValueError:
        return "write 2026-12-01 03:00, 03:00, tomorrow 18:30, fri 17:00 or now+5min"
    return "after a while is --in"


def parse_delay(text: str) -> int:
    """Read after how long something is to begin; microseconds. Raises UsageError."""
    try:
        usec = parse_duration(text.removeprefix("+"))
    except ValueError as e:
        raise UsageError(str(e)) from None
    if usec is None or usec > MAX_DELAY_USEC:
        raise UsageError(f"cannot wait for {text!r}: that is for ever")
    return usec


def _parse(word: str, now: int) -> int:
    if word == "now":
        return now
    if word in _WORDS:
        today = localtime(now // NS)
        return int(mktime((today.tm_year, today.tm_mon, today.tm_mday + _WORDS[word], 0, 0, 0, 0, 0, -1))) * NS
    if word[:1] in ("-", "+"):
        return now + (_span(word[1:]) if word[0] == "+" else -_span(word[1:]))
    if word.endswith(" ago"):
        return now - _span(word[:-4])
    if word[:1] == "@":
        return _seconds(word[1:])
    return _calendar(word, now)


def _span(text: str) -> int:
    usec = parse_duration(text)
    if usec is None:
        raise ValueError(text)
    return usec * USEC_NS


def _seconds(text: str) -> int:
    whole, dot, part = text.partition(".")
    return _digits(whole) * NS + (_fraction(part) if dot else 0)


def _digits(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(text)
    return int(text)


def _fraction(text: str) -> int:
    return _digits(text[:9].ljust(9, "0"))


def _calendar(word: str, now: int) -> int:
    first, space, rest = word.partition(" ")
    if not first[:1].isdigit() and len(first) == 3 and space:  # a day of the week, as our own lists print it
        first, space, rest = rest.partition(" ")
    if "T" in first and not space:
        first, _, rest = first.partition("T")
    offset: int | None = None
    if ":" in first:
        first, rest = "", f"{first} {rest}".strip()
    rest, offset = _zone(rest)
    here = localtime(now // NS)
    year, month, day = (here.tm_year, here.tm_mon, here.tm_mday) if not first else _date(first)
    hour, minute, second, part = _clock(rest) if rest else (0, 0, 0, 0)
    if offset is None:
        return int(mktime((year, month, day, hour, minute, second, 0, 0, -1))) * NS + part
    return (_days(year, month, day) * DAY_SEC + hour * 3600 + minute * 60 + second - offset) * NS + part


def _zone(rest: str) -> tuple[str, int | None]:
    """Split off `Z`, `UTC` or `+02:00`: the clock, and seconds east of Greenwich; None for local time."""
    for name in (" UTC", "UTC", "Z"):
        if rest.endswith(name):
            return rest[: -len(name)].strip(), 0
    for sign in "+-":
        clock, found, zone = rest.rpartition(sign)
        if found:
            digits = zone.replace(":", "").ljust(4, "0")
            seconds = _digits(digits[:2]) * 3600 + _digits(digits[2:]) * 60
            return clock.strip(), seconds if sign == "+" else -seconds
    return rest, None


def _date(text: str) -> tuple[int, int, int]:
    parts = text.split("-")
    if len(parts) != 3:
        raise ValueError(text)
    year, month, day = (_digits(part) for part in parts)
    if not (1 <= month <= 12 and 1 <= day <= 31 and 1970 <= year <= 9999):
        raise ValueError(text)
    return year, month, day


def _clock(text: str) -> tuple[int, int, int, int]:
    parts = text.split(":")
    if not 2 <= len(parts) <= 3:
        raise ValueError(text)
    seconds, dot, part = (parts[2] if len(parts) == 3 else "0").partition(".")
    hour, minute, second = _digits(parts[0]), _digits(parts[1]), _digits(seconds)
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError(text)
    return hour, minute, second, _fraction(part) if dot else 0


def _days(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 in the Gregorian calendar (years counted from March, as Howard Hinnant's algorithm)."""
    year -= month < 3
    era, of_era = divmod(year, 400)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468
