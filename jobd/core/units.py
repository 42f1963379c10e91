"""Durations and sizes, read and written as systemd does (`1min 30s`, `512M`, `infinity`). Pure, and light to import.

Durations are integer microseconds, sizes integer bytes; None is infinity.
"""

from __future__ import annotations

USEC_PER_SEC = 1_000_000
INFINITY = "infinity"

# systemd.time(7): units and their spellings. A month is 30.44 days, a year 365.25, as there.
_DAY = 86_400 * USEC_PER_SEC
_DURATION_UNITS = {
    **dict.fromkeys(("usec", "us", "µs", "μs"), 1),
    **dict.fromkeys(("msec", "ms"), 1_000),
    **dict.fromkeys(("seconds", "second", "sec", "s", ""), USEC_PER_SEC),
    **dict.fromkeys(("minutes", "minute", "min", "m"), 60 * USEC_PER_SEC),
    **dict.fromkeys(("hours", "hour", "hr", "h"), 3_600 * USEC_PER_SEC),
    **dict.fromkeys(("days", "day", "d"), _DAY),
    **dict.fromkeys(("weeks", "week", "w"), 7 * _DAY),
    **dict.fromkeys(("months", "month", "M"), 2_629_800 * USEC_PER_SEC),
    **dict.fromkeys(("years", "year", "y"), 31_557_600 * USEC_PER_SEC),
}
# systemd's sizes are powers of 1024 (parse_size with base 1024).
_SIZE_UNITS = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50, "E": 1 << 60}
_MAX = 2**63 - 1


def _number(text: str, at: int) -> tuple[str, int]:
    """The decimal number that begins at `at`, and where it ends."""
    end = at
    while end < len(text) and (text[end] in "0123456789" or text[end] == "."):
        end += 1
    return text[at:end], end


def _scaled(number: str, unit: int, text: str, what: str) -> int:
    whole, dot, part = number.partition(".")
    if not (whole or part) or "." in part or (dot and not part):
        raise ValueError(f"cannot read {what} {text!r}: {number!r} is not a number")
    value = int(whole or "0") * unit
    if part:
        value += int(part) * unit // 10 ** len(part)
    if value > _MAX:
        raise ValueError(f"cannot read {what} {text!r}: it is too large")
    return value


def parse_duration(text: str) -> int | None:
    """Read a duration such as `90`, `1min 30s`, `1.5h` or `infinity`.

    Returns:
        Microseconds, or None for infinity.

    Raises:
        ValueError: it is not one; the text says what is wrong.
    """
    stripped = text.strip()
    if stripped == INFINITY:
        return None
    if not stripped:
        raise ValueError("cannot read an empty duration")
    total, at = 0, 0
    while at < len(stripped):
        number, at = _number(stripped, at)
        if not number:
            raise ValueError(f"cannot read duration {text!r}: a number is missing at {stripped[at:]!r}")
        while at < len(stripped) and stripped[at] == " ":
            at += 1
        start = at
        while at < len(stripped) and stripped[at] not in "0123456789. ":
            at += 1
        unit = _DURATION_UNITS.get(stripped[start:at])
        if unit is None:
            raise ValueError(f"cannot read duration {text!r}: unknown unit {stripped[start:at]!r}")
        total += _scaled(number, unit, text, "duration")
        while at < len(stripped) and stripped[at] == " ":
            at += 1
    if total > _MAX:
        raise ValueError(f"cannot read duration {text!r}: it is too large")
    return total


_SPANS = (
    ("y", 31_557_600 * USEC_PER_SEC), ("month", 2_629_800 * USEC_PER_SEC), ("w", 7 * _DAY), ("d", _DAY),
    ("h", 3_600 * USEC_PER_SEC), ("min", 60 * USEC_PER_SEC), ("s", USEC_PER_SEC), ("ms", 1_000), ("us", 1),
)  # fmt: skip


def format_duration(usec: int | None, accuracy: int = 1) -> str:
    """Write a duration as systemd does: `1min 30s`, `2.5s` as `2s 500ms`, None as `infinity`.

    Args:
        usec: microseconds.
        accuracy: parts smaller than this many microseconds are left out (unless nothing else would be left).
    """
    if usec is None:
        return INFINITY
    if usec <= 0:
        return "0"
    words: list[str] = []
    left = usec
    for name, unit in _SPANS:
        if left < unit or (words and unit < accuracy):
            continue
        count, left = divmod(left, unit)
        words.append(f"{count}{name}" if name != "month" else f"{count}month{'s' if count > 1 else ''}")
        if unit <= accuracy:
            break
    return " ".join(words)


def parse_size(text: str) -> int | None:
    """Read a size such as `512M`, `1.5G`, `4096` or `infinity`; powers of 1024.

    Returns:
        Bytes, or None for infinity.

    Raises:
        ValueError: it is not one; the text says what is wrong.
    """
    stripped = text.strip()
    if stripped == INFINITY:
        return None
    number, at = _number(stripped, 0)
    if not number:
        raise ValueError(f"cannot read size {text!r}: it does not begin with a number")
    suffix = stripped[at:].strip()
    if len(suffix) > 1 and suffix[0] != "B":
        suffix = suffix.removesuffix("iB").removesuffix("B")
    unit = _SIZE_UNITS.get(suffix)
    if unit is None:
        raise ValueError(f"cannot read size {text!r}: unknown unit {suffix!r} (K, M, G, T, P, E)")
    return _scaled(number, unit, text, "size")


def format_size(size: int | None) -> str:
    """Write a size as systemd does in status: `648.0K`, `1.2M`, `532B`; None as `infinity`."""
    if size is None:
        return INFINITY
    for suffix in "EPTGMK":
        unit = _SIZE_UNITS[suffix]
        if size >= unit:
            return f"{size * 10 // unit / 10:.1f}{suffix}"
    return f"{size}B"
