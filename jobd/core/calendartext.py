"""Calendar expressions: systemd's (`Mon..Fri 03:00`, `*-*~01`, `hourly`), and cron's five fields and words. Pure.

Both may end with a time zone. What is neither is refused with the reason.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from jobd.core import calendar as c
from jobd.core.calendar import SEC, Calendar, Part

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_TEXT: Final = 256  # characters of an expression; more than anybody writes by hand
_MIDNIGHT: Final = "00:00:00"
# systemd.time(7), "Calendar Events"; with the spellings that systemd takes besides.
_WORDS: Final = {
    "minutely": "*-*-* *:*:00", "hourly": "*-*-* *:00:00", "daily": f"*-*-* {_MIDNIGHT}",
    "weekly": f"Mon *-*-* {_MIDNIGHT}", "monthly": f"*-*-01 {_MIDNIGHT}", "quarterly": f"*-01,04,07,10-01 {_MIDNIGHT}",
    **dict.fromkeys(("yearly", "annually", "anually"), f"*-01-01 {_MIDNIGHT}"),
    **dict.fromkeys(("semiannually", "semi-annually", "biannually", "bi-annually"), f"*-01,07-01 {_MIDNIGHT}"),
}  # fmt: skip
# crontab(5), "EXTENSIONS".
_CRON_WORDS: Final = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip
_DAY_NAMES: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SYSTEMD_DAYS: Final = {
    **{name: day for day, name in enumerate(_DAY_NAMES)}, **{name[:3]: day for day, name in enumerate(_DAY_NAMES)},
}  # fmt: skip
_CRON_DAYS: Final = {name[:3]: (day + 1) % 7 for day, name in enumerate(_DAY_NAMES)}
_MONTH_NAMES: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_CRON_MONTHS: Final = {name: month for month, name in enumerate(_MONTH_NAMES, 1)}
_CRON_FIELD: Final = re.compile(r"[0-9*?,/A-Za-z-]+")
_ZONE: Final = re.compile(r"UTC|[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def parse(text: str) -> tuple[Calendar, ...]:
    """Read an expression: those of which any is meant, mostly one.

    Raises:
        ValueError: it is none; the text says why.
    """
    if len(text) > MAX_TEXT:
        raise ValueError(f"it has more than {MAX_TEXT} characters")
    words = text.split()
    if not words:
        raise ValueError("it is empty")
    if words[0][0] == "@" and not words[0][1:2].isdigit():
        words[:1] = _cron_word(words[0].lower()).split()
    cron = words[:5]
    if len(words) in (5, 6) and all(_CRON_FIELD.fullmatch(word) for word in cron):
        return _cron(cron, _zone(words[5], "; cron has five fields, without seconds") if len(words) == 6 else "")
    if "*" in words and len(words) < 5:  # a date has at least two of them, in one word
        raise ValueError("cron has five fields: minute, hour, day of the month, month and day of the week")
    return (_systemd(words),)


def _cron_word(word: str) -> str:
    found = _CRON_WORDS.get(word)
    if found is None:
        known = ", ".join(_CRON_WORDS)
        hint = "; enable has a job start with jobd" if word == "@reboot" else f"; there are {known}"
        raise ValueError(f"{word} is no calendar expression{hint}")
    return found


def _zone(word: str, hint: str = "") -> str:
    """A word as a time zone."""
    if word.upper() in ("UTC", "Z"):
        return "UTC"
    try:
        if _ZONE.fullmatch(word):
            ZoneInfo(word)
            return word
    except (KeyError, ValueError, OSError):
        pass
    raise ValueError(f"{word!r} is no time zone that this machine knows{hint}")


def _number(word: str, what: str) -> int:
    if not (word.isascii() and word.isdecimal()) or len(word) > 18:
        raise ValueError(f"{word!r} is no number, in the {what}")
    return int(word)


# --- systemd's ------------------------------------------------------------------------------------------------------
def _systemd(words: list[str]) -> Calendar:
    zone = ""
    if len(words) > 1 and words[-1][:1].isalpha() and not _is_weekdays(words[-1]):
        zone = _zone(words.pop())
    if len(words) == 1 and words[0].lower() in _WORDS:
        words = _WORDS[words[0].lower()].split()
    if len(words) == 1 and words[0][0] == "@":
        return _moment(words[0])
    weekdays = c.ALL_DAYS
    if _is_weekdays(words[0]):
        weekdays = _weekdays(words.pop(0))
    day = words.pop(0) if words and ":" not in words[0] else "*-*-*"
    time = words.pop(0) if words and ":" in words[0] else _MIDNIGHT
    if "-" in time and "T" in time:
        raise ValueError(f"{time!r} is no time; write a blank before the time, not T")
    if words:
        raise ValueError(f"{words[0]!r} is not understood; write [DAYS] [YEAR-MONTH-DAY] [HOUR:MINUTE[:SECOND]] [ZONE]")
    years, months, days, from_end = _date(day)
    hours, minutes, usecs = _time(time)
    return Calendar(
        weekdays=weekdays, years=years, months=months, days=days, from_end=from_end,
        hours=hours, minutes=minutes, usecs=usecs, zone=zone,
    )  # fmt: skip


def _moment(word: str) -> Calendar:
    """`@SECONDS`, once."""
    try:
        at = _EPOCH + timedelta(seconds=_number(word[1:], "seconds since 1970"))
    except OverflowError:
        at = datetime.max.replace(tzinfo=UTC)
    if at.year > c.LAST_YEAR:
        raise ValueError(f"{word} is after the year {c.LAST_YEAR}")
    return Calendar(
        years=(Part(at.year),), months=(Part(at.month),), days=(Part(at.day),), hours=(Part(at.hour),),
        minutes=(Part(at.minute),), usecs=(Part(at.second * SEC),), zone="UTC",
    )  # fmt: skip


def _is_weekdays(word: str) -> bool:
    return re.split(r",|\.\.|-", word.lower())[0] in _SYSTEMD_DAYS


def _weekdays(word: str) -> int:
    bits = 0
    for item in word.lower().strip(",").split(","):
        first, dots, last = item.partition(".." if ".." in item else "-")
        names = (first, last) if dots else (first, first)
        for name in names:
            if name not in _SYSTEMD_DAYS:
                raise ValueError(f"{name!r} is no day of the week")
        low, high = (_SYSTEMD_DAYS[name] for name in names)
        if low > high:
            raise ValueError(f"{item!r} goes over the end of the week; write {first}..sun,mon..{last}")
        bits |= sum(1 << day for day in range(low, high + 1))
    return bits


def _date(text: str) -> tuple[c.Parts, c.Parts, c.Parts, bool]:
    from_end = "~" in text
    head, _, days = text.rpartition("~" if from_end else "-")
    years, dash, months = head.rpartition("-")
    if not head or not days or "~" in head or "-" in years or (dash and not years):
        raise ValueError(f"{text!r} is no date; write YEAR-MONTH-DAY or MONTH-DAY, each a number or *")
    year = _parts(years, c.FIRST_YEAR, c.LAST_YEAR, "year") if dash else ()
    day = _parts(days, 1, 31, "day")
    for part in day if from_end else ():
        if part.stop is None and part.step and part.start <= part.step:
            raise ValueError(f"{days!r} has a step that leads nowhere: it goes towards the end of the month")
    return year, _parts(months, 1, 12, "month"), day, from_end and day != ()


def _time(text: str) -> tuple[c.Parts, c.Parts, c.Parts]:
    fields = text.split(":")
    if len(fields) not in (2, 3):
        raise ValueError(f"{text!r} is no time; write HOUR:MINUTE or HOUR:MINUTE:SECOND")
    usecs = _usecs(fields[2]) if len(fields) == 3 else (Part(0),)
    return _parts(fields[0], 0, 23, "hour"), _parts(fields[1], 0, 59, "minute"), usecs


def _usecs(text: str) -> c.Parts:
    if text == "*":
        return (Part(0, None, SEC),)
    return _parts(text, 0, c.MINUTE - 1, "second", SEC)


def _parts(text: str, least: int, most: int, what: str, unit: int = 1) -> c.Parts:
    """`*`, or a list of N, N..M, N/STEP and N..M/STEP."""
    if text == "*":
        return ()
    found = set()
    for item in text.split(","):
        span, slash, step_text = item.partition("/")
        first, dots, last = span.partition("..")
        if first == "*":
            raise ValueError(f'{item!r} is not understood; for every so many write "{least}/{step_text or 1}"')
        start, stop = _value(first, what, unit), _value(last, what, unit) if dots else None
        step = _scaled(step_text, what, unit) if slash else unit if dots else 0
        end = start if stop is None else stop
        if not least <= start <= most or not least <= end <= most:
            raise ValueError(f"{span!r} is no {what}: these are from {least // unit} to {most // unit}")
        if end < start:
            raise ValueError(f"{span!r} ends before it begins, in the {what}")
        if slash and (step == 0 or (stop is None and start + step > most)):
            raise ValueError(f"{item!r} has a step that leads nowhere, in the {what}")
        found.add(_part(start, stop, step))
    return tuple(sorted(found, key=lambda part: (part.start, -1 if part.stop is None else part.stop, part.step)))


def _part(start: int, stop: int | None, step: int) -> Part:
    if stop is None:
        return Part(start, None, step)
    stop -= (stop - start) % step
    return Part(start) if stop == start else Part(start, stop, step)


def _value(text: str, what: str, unit: int) -> int:
    value = _scaled(text, what, unit)
    if what == "year" and value < 100:  # as strptime(3) has it
        value += 2000 if value < 70 else 1900
    return value


def _scaled(text: str, what: str, unit: int) -> int:
    whole, dot, part = text.partition(".")
    if not dot or unit == 1:
        return _number(text, what) * unit
    if len(part) > 6:
        raise ValueError(f"{text!r} has more than six digits behind the point")
    return _number(whole, what) * unit + _number(part.ljust(6, "0"), what)


# --- cron's ---------------------------------------------------------------------------------------------------------
def _cron(words: list[str], zone: str) -> tuple[Calendar, ...]:
    """crontab(5). Where both a day of the month and one of the week are said, either is meant."""
    minutes = _cron_parts(words[0], 0, 59, "minute")
    hours = _cron_parts(words[1], 0, 23, "hour")
    days = _cron_parts(words[2], 1, 31, "day of the month")
    months = _cron_parts(words[3], 1, 12, "month", _CRON_MONTHS)
    on = _cron_parts(words[4], 0, 7, "day of the week", _CRON_DAYS)
    # Sunday is 0 and 7; ours begin with Monday.
    weekdays = sum({1 << (day - 1) % 7 for day in range(8) if _names(on, day)}) if on else c.ALL_DAYS
    both = Calendar(weekdays=weekdays, months=months, days=days, hours=hours, minutes=minutes, zone=zone)
    if words[2][0] in "*?" or words[4][0] in "*?":
        return (both,)
    return (
        Calendar(months=months, days=days, hours=hours, minutes=minutes, zone=zone),
        Calendar(weekdays=weekdays, months=months, hours=hours, minutes=minutes, zone=zone),
    )


def _names(parts: c.Parts, value: int) -> bool:
    return any(part.at_least(value, 7) == value for part in parts)


def _cron_parts(text: str, least: int, most: int, what: str, names: Mapping[str, int] | None = None) -> c.Parts:
    """`*`, or a list of N, N-M, */STEP, N/STEP and N-M/STEP; a name for a number."""
    if text in ("*", "?"):
        return ()
    found = set()
    for item in text.split(","):
        span, slash, step_text = item.partition("/")
        step = _number(step_text, what) if slash else 1
        if step == 0:
            raise ValueError(f"{item!r} has a step of 0, in the {what}")
        if span == "*":
            found.add(_cron_part(least, None, step, 6 if most == 7 else most))
            continue
        first, dash, last = span.partition("-")
        start = _cron_value(first, what, names or {})
        stop = _cron_value(last, what, names or {}) if dash else None
        if stop == 0 and start and most == 7:
            stop = 7  # fri-sun
        for value in (start, stop):
            if value is not None and not least <= value <= most:
                raise ValueError(f"{value} is no {what}: these are from {least} to {most}")
        if stop is not None and stop < start:
            raise ValueError(f"{span!r} ends before it begins, in the {what}")
        found.add(_part(start, stop, step) if dash else _cron_part(start, None, step if slash else 0, most))
    return tuple(sorted(found, key=lambda part: (part.start, -1 if part.stop is None else part.stop, part.step)))


def _cron_part(start: int, stop: int | None, step: int, most: int) -> Part:
    """cron takes a step that leads nowhere (`*/60`) for none."""
    return Part(start, stop, step if start + step <= most else 0)


def _cron_value(text: str, what: str, names: Mapping[str, int]) -> int:
    found = names.get(text.lower())
    return _number(text, what) if found is None else found
