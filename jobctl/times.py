"""Points in time and spans as systemctl and journalctl write them. Times are wall-clock nanoseconds.

No datetime and no re: the hot path imports this. Local time is the caller's zone, as time.localtime knows it.
"""

from __future__ import annotations

from time import gmtime, localtime, strftime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

NS = 1_000_000_000
USEC = 1_000

_MSEC = 1_000
_SEC = 1_000_000
_MINUTE = 60 * _SEC
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_WEEK = 7 * _DAY
_MONTH = 2_629_800 * _SEC  # systemd's: a year is 365.25 days, a month a twelfth of it
_YEAR = 31_557_600 * _SEC


def timestamp(at: int) -> str:
    """`Sun 2026-11-22 02:55:03 UTC`, as systemctl."""
    return strftime("%a %Y-%m-%d %H:%M:%S %Z", localtime(at // NS))


def rfc3339(at: int) -> str:
    """`2026-11-22T02:55:03.123456Z`, for JSON."""
    seconds, rest = divmod(at, NS)
    return f"{strftime('%Y-%m-%dT%H:%M:%S', gmtime(seconds))}.{rest // USEC:06d}Z"


# From this span on, how it is written (systemd's format_timestamp_relative).
_AGO: tuple[tuple[int, Callable[[int], str]], ...] = (
    (_YEAR, lambda u: f"{_count(u // _YEAR, 'year')} {_count(u % _YEAR // _MONTH, 'month')}"),
    (_MONTH, lambda u: f"{_count(u // _MONTH, 'month')} {_count(u % _MONTH // _DAY, 'day')}"),
    (_WEEK, lambda u: f"{_count(u // _WEEK, 'week')} {_count(u % _WEEK // _DAY, 'day')}"),
    (2 * _DAY, lambda u: f"{u // _DAY} days"),
    (25 * _HOUR, lambda u: f"1 day {(u - _DAY) // _HOUR}h"),
    (6 * _HOUR, lambda u: f"{u // _HOUR}h"),
    (_HOUR, lambda u: f"{u // _HOUR}h {u % _HOUR // _MINUTE}min"),
    (5 * _MINUTE, lambda u: f"{u // _MINUTE}min"),
    (_MINUTE, lambda u: f"{u // _MINUTE}min {u % _MINUTE // _SEC}s"),
    (_SEC, lambda u: f"{u // _SEC}s"),
    (_MSEC, lambda u: f"{u // _MSEC}ms"),
)


def ago(usec: int) -> str:
    """A span as systemd's "… ago", without the word."""
    for least, written in _AGO:
        if usec >= least:
            return written(usec)
    return f"{max(usec, 0)}us"


def since(at: int, now: int, stamp: Callable[[int], str] = timestamp) -> str:
    """`Sun 2026-11-22 02:55:03 UTC; 3min 2s ago`."""
    if at > now:
        return f"{stamp(at)}; {ago((at - now) // USEC)} left"
    return f"{stamp(at)}; {ago((now - at) // USEC)} ago"


def span(usec: int) -> str:
    """How long something took, as systemd shows it to the millisecond: `435ms`, `1.234s`, `2min 3.456s`."""
    if usec < _SEC:
        return f"{usec // _MSEC}ms" if usec >= _MSEC else "<1ms"
    seconds = f"{usec % _MINUTE // _MSEC / 1000:.3f}".rstrip("0").rstrip(".")
    if usec < _MINUTE:
        return f"{seconds}s"
    whole = coarse_span(usec - usec % _MINUTE)
    return whole if seconds == "0" else f"{whole} {seconds}s"


def coarse_span(usec: int) -> str:
    """The same to the second, where it took longer than a minute."""
    if usec < _MINUTE:
        return span(usec)
    from jobd.core.units import format_duration

    return format_duration(usec, _SEC)


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


# --- stamps of log lines ------------------------------------------------------------------------------------------
def short(at: int) -> str:
    """`Nov 22 02:55:03`, as journalctl -o short."""
    return strftime("%b %d %H:%M:%S", localtime(at // NS))


def short_precise(at: int) -> str:
    """`Nov 22 02:55:03.123456`."""
    return f"{short(at)}.{at % NS // USEC:06d}"


def short_iso(at: int) -> str:
    """`2026-11-22T02:55:03+0000`."""
    return strftime("%Y-%m-%dT%H:%M:%S%z", localtime(at // NS))


def short_iso_precise(at: int) -> str:
    """`2026-11-22T02:55:03.123456+0000`."""
    return strftime(f"%Y-%m-%dT%H:%M:%S.{at % NS // USEC:06d}%z", localtime(at // NS))


def unix(at: int) -> str:
    """`1795316103.123456`, seconds since 1970."""
    return f"{at // NS}.{at % NS // USEC:06d}"


def monotonic(at: int) -> str:
    """`[ 5431.123456]`, seconds since boot, as dmesg."""
    return f"[{at // NS:5d}.{at % NS // USEC:06d}]"
