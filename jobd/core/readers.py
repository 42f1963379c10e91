"""Readers of values of a job file: each takes a value of TOML and gives that of the spec, or says what it should be.

They serve `run -p` as well, where text is given (`jobd.core.settings`). What a reader raises goes on after its key:
`must be a duration, such as "1min 30s", not "soon"`.
"""

from __future__ import annotations

import math
import os
import re
import warnings
from typing import TYPE_CHECKING, Final

from jobd.core import names, targets, units
from jobd.core.spec import FOR_EVER, NOBODY, SpecError, parse_signal
from jobd.core.tomlread import SHOWN, ReadError, kind, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Reader = Callable[[object], object]

MAX_TEXT: Final = 128 << 10  # characters of one string: execve(2) takes no longer argument
MAX_PATTERN: Final = 1000  # characters of a regular expression
# Of a regular expression that is not all ASCII: each may take 6 ms to compile, which the daemon does for every run.
MAX_WIDE_RANGES: Final = 16
_PLAIN_ESCAPE: Final = re.compile(r"\\[^xuUN0-7]", re.DOTALL)
_WIDE: Final = re.compile(r"[^\x00-\x7f]|\\[xuUN0-7]")
MAX_SUN_PATH: Final = 107  # bytes of a socket's path (unix(7))
MIN_LOG_SIZE: Final = 4096
MIN_MEMORY: Final = 1 << 20  # no program starts in less; 512 was meant to be "512M"
TOO_SMALL: Final = "nothing runs in that"
_ENDLESS: Final = ("unlimited", "inf", "infinite", "max", "none", "never", "no", "off", "-1", "forever", "false")
MANY: Final = 10  # processors; who writes a larger number means percent
_OCTAL: Final = frozenset("01234567")
MAX_COUNT: Final = 1 << 22  # tasks: PID_MAX_LIMIT of Linux
MAX_PERCENT: Final = 100 * 8192  # the most processors that Linux can be built for
MAX_SIZE: Final = 1 << 62  # more than any machine has, and what the kernel takes
MOST_PRIORITY: Final = 1_000_000  # sums and differences of such stay far from any limit
MOST_SLOTS: Final = 1_000_000  # jobd.wire.scheduling.MAX_SLOTS
MAX_STARTS: Final = 1000  # of a start limit: jobd remembers no more (jobd.core.restarts)


def quoted(value: object) -> str:
    """A value as it may stand in a message."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value:.{SHOWN}}{"…" if len(value) > SHOWN else ""}"'
    return str(value)[:SHOWN] if isinstance(value, int | float) else kind(value)


def text(value: object) -> str:
    """A string; it may be empty."""
    if not isinstance(value, str):
        raise ReadError(f"must be a string, not {kind(value)}")
    if "\0" in value:
        raise ReadError("has a NUL, which no program can be given")
    if len(value) > MAX_TEXT:
        raise ReadError(f"has more than {MAX_TEXT} characters")
    return value


def full_text(value: object) -> str:
    """A string that is not empty."""
    found = text(value)
    if not found.strip():
        raise ReadError("is empty")
    return found


def boolean(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        hint = f"; write it without quotes: {value}" if value in ("true", "false") else ""
        raise ReadError(f"must be true or false, not {quoted(value)}{hint}")
    return value


def number(least: int, most: int) -> Callable[[object], int]:
    """A whole number in these bounds."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ReadError(f"must be a whole number from {least} to {most}, not {quoted(value)}")
        if not least <= value <= most:
            raise ReadError(f"must be from {least} to {most}, not {value}")
        return value

    return read


def choice(options: Sequence[str], meant: Mapping[str, str] | None = None) -> Callable[[object], str]:
    """One of these words; `meant` has others' words for them."""

    def read(value: object) -> str:
        if isinstance(value, str) and value in options:
            return value
        word = quoted(value).strip('"')
        hint = (meant or {}).get(word) or names.closest(word, options)
        if hint is not None:
            hint = f'; did you mean "{hint}"?' if hint in options else f"; {hint}"
        raise ReadError(f"must be one of {listed(options)}, not {quoted(value)}{hint or ''}")

    return read


# --- durations and sizes ------------------------------------------------------------------------------------------
def _plain(value: object, what: str) -> str:
    """A number or a string as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ReadError(f"must be {what}, not {quoted(value)}")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ReadError(f'must be {what}; write "{units.INFINITY}"')
        return f"{value:f}"
    return str(value) if isinstance(value, str) or abs(value) < 1 << 70 else "9" * 22


def duration(*, zero: str = "", infinity: str = "") -> Callable[[object], int | None]:
    """Microseconds, None for infinity. `zero`, `infinity`: why these are refused; by default they are not."""

    def read(value: object) -> int | None:
        what = 'a duration, such as "1min 30s"'
        word = _plain(value, what)
        try:
            found = units.parse_duration(word)
        except ValueError as error:
            raise ReadError(f"must be {what}, not {quoted(value)}{_hint(word) or f': {_why(error)}'}") from error
        if found == 0 and zero:
            raise ReadError(f"cannot be 0: {zero}")
        if found is None and infinity:
            raise ReadError(f'cannot be "{units.INFINITY}": {infinity}')
        return found

    return read


def _hint(word: str) -> str:
    """What somebody may have meant by a word that is neither a number nor infinity."""
    if word.strip().lower() in _ENDLESS:
        return f'; write "{units.INFINITY}"'
    return ""


def zero_is_off(value: object) -> int | None:
    """A duration of which 0 means, as in systemd, that there is none."""
    return duration()(value) or None


def size(least: int, hint: str = "") -> Callable[[object], int | None]:
    """Bytes, None for infinity."""

    def read(value: object) -> int | None:
        what = 'a size, such as "512M"'
        word = _plain(value, what)
        if word.strip().endswith("%"):
            raise ReadError(f"must be {what}: a part of all there is ({quoted(value)}) is not supported")
        try:
            found = units.parse_size(word)
        except ValueError as error:
            raise ReadError(f"must be {what}, not {quoted(value)}{_hint(word) or f': {_why(error)}'}") from error
        if found is not None and found > MAX_SIZE:
            raise ReadError(f'cannot be {quoted(value)}: that is more than there is; write "{units.INFINITY}"')
        if found is not None and found < least:
            meant = f'; did you mean "{found}M"?' if hint and 0 < found == _int(word) else hint and f"; {hint}"
            raise ReadError(f"cannot be {quoted(value)}: {found} bytes are less than {least}{meant}")
        return found

    return read


def percentage(value: object) -> int | None:
    """`50%`; None for infinity."""
    what = 'a percentage of one processor, such as "50%"'
    if value == units.INFINITY:
        return None
    word = value.strip() if isinstance(value, str) else ""
    digits = word.removesuffix("%").strip()
    if not word.endswith("%") or not digits.isascii() or not digits.isdecimal():
        hint = ""
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1000:
            hint = f'; write "{value}%"' if value >= MANY else f'; write "{round(value * 100)}%" for {value} processors'
        elif digits and digits == word and digits.isascii() and digits.isdecimal():
            hint = f'; write "{digits[:SHOWN]}%"'
        raise ReadError(f"must be {what}, not {quoted(value)}{hint}")
    if len(digits) > 6 or not 1 <= int(digits) <= MAX_PERCENT:
        raise ReadError(f'must be from "1%" to "{MAX_PERCENT}%", not {quoted(value)}')
    return int(digits)


def count(value: object) -> int | None:
    """At least 1; None for infinity."""
    if value == units.INFINITY:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise ReadError(f'must be a number or "{units.INFINITY}", not {quoted(value)}')
    if not 1 <= value <= MAX_COUNT:
        raise ReadError(f"must be from 1 to {MAX_COUNT}, not {value}")
    return value


def for_ever(read: Callable[[object], int | None]) -> Callable[[object], int]:
    """The same with FOR_EVER for infinity, where None is what a daemon's settings say."""

    def read_more(value: object) -> int:
        found = read(value)
        return FOR_EVER if found is None else found

    return read_more


def resource_limit(unit: Callable[[str], int | None]) -> Callable[[object], tuple[int, int]]:
    """The soft and the hard limit, -1 for infinity: `1024`, `"1024:4096"`."""

    def read(value: object) -> tuple[int, int]:
        what = 'a limit, such as 1024, "1024:4096" or "infinity"'
        word = _plain(value, what)
        soft, colon, hard = word.partition(":")
        try:
            found = [unit(part.strip()) for part in ((soft, hard) if colon else (soft, soft))]
        except ValueError as error:
            raise ReadError(f"must be {what}, not {quoted(value)}{_hint(word) or f': {_why(error)}'}") from error
        low, high = (-1 if limit is None else limit for limit in found)
        if high != -1 and (low == -1 or low > high):
            raise ReadError(f"has a soft limit above the hard one: {quoted(value)}")
        return low, high

    return read


def plain_limit(word: str) -> int | None:
    """A number, or infinity."""
    if word == units.INFINITY:
        return None
    if not word.isascii() or not word.isdecimal() or len(word) > 18:
        raise ValueError(f"{word[:SHOWN]!r} is not a number")
    return int(word)


def start_limit(value: object) -> tuple[int, int]:
    """`5/10s`: starts, and the window in microseconds. Without a limit (0, 0)."""
    what = 'starts in a time, such as "5/10s", or "infinity"'
    word = _plain(value, what).strip()
    if word in (units.INFINITY, "0"):
        return 0, 0
    starts, slash, window = (part.strip() for part in word.partition("/"))
    if not slash or not starts.isascii() or not starts.isdecimal() or len(starts) > 9:
        hint = f'; write "{starts}/10s"' if starts.isdecimal() and not slash else ""
        raise ReadError(f"must be {what}, not {quoted(value)}{hint}")
    if int(starts) > MAX_STARTS:
        raise ReadError(f'must be at most {MAX_STARTS} starts, or "infinity", not {quoted(value)}')
    usec = duration(infinity='nobody remembers for ever; write a long time, such as "1y"')(window)
    if int(starts) == 0 or not usec:
        return 0, 0
    return int(starts), usec


def _why(error: ValueError) -> str:
    """The reason in an error of `units`."""
    why = str(error).partition(": ")[2] or "it is empty"
    return "it is less than 0" if why.startswith("a number is missing at '-") else why


def _int(word: str) -> int:
    return int(word) if word.isascii() and word.isdecimal() and len(word) < 20 else -1


# --- words with a meaning -----------------------------------------------------------------------------------------
def signal_number(value: object) -> int:
    """The number of a signal by name or number."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ReadError(f'must be a signal, such as "SIGTERM", not {quoted(value)}')
    try:
        return parse_signal(str(value)[:SHOWN])
    except SpecError as error:
        raise ReadError(f'must be a signal, such as "SIGTERM": {error}') from error


def umask(value: object) -> int:
    """The mode bits that new files do not get. Of a number of TOML nobody can say whether octal was meant."""
    if not isinstance(value, str):
        hint = ""
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 777:
            hint = f'; write "{value:03}"' if set(str(value)) <= _OCTAL else f'; write "{value:03o}"'
        raise ReadError(f'must be octal digits in quotes, such as "022", not {quoted(value)[:20]}{hint}')
    digits = value.strip().removeprefix("0o")
    if not digits or len(digits) > 4 or not set(digits) <= _OCTAL or int(digits, 8) > 0o777:
        raise ReadError(f'must be octal digits, such as "022", not {quoted(value)}')
    return int(digits, 8)


def user(value: object) -> str:
    """A name or a uid. What only begins as a number is neither: some have read `0day` as 0."""
    word = str(value) if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else value
    word = full_text(word)
    if word.isascii() and word.isdecimal():
        if len(word) > 10 or int(word) >= NOBODY:
            raise ReadError(f"must be the name of a user, or a uid, not {quoted(word)}")
        return str(int(word))
    if word[0] in "-0123456789" or len(word) > 256 or not word.isprintable() or set(word) & set(" :/,"):
        raise ReadError(f"must be the name of a user, or a uid, not {quoted(word)}")
    return word


def queue(value: object) -> str:
    """The name of a queue, perhaps with whose it is; "" is none."""
    word = text(value).strip()
    owner, slash, name = word.rpartition("/")
    if not word:
        return ""
    if (slash and not names.valid_job_name(owner)) or not names.valid_job_name(name):
        raise ReadError(f'must be the name of a queue, such as "build" or "shared/build", not {quoted(word)}')
    return word


def address(value: object) -> str:
    """`HOST:PORT`; of a port alone this machine's."""
    word = _plain(value, 'a port, such as 8000, or "HOST:PORT"').strip()
    if word.count(":") > 1 and "[" not in word:
        host, _, port = word.rpartition(":")
        raise ReadError(f'must be a port, or "HOST:PORT"; write an IPv6 address in brackets: "[{host:.40}]:{port:.9}"')
    try:
        host, port_number = targets.tcp(word)
    except ValueError as error:
        raise ReadError(f'must be a port from 1 to 65535, or "HOST:PORT", not {quoted(value)}') from error
    return f"{f'[{host}]' if ':' in host else host or 'localhost'}:{port_number}"


def url(value: object) -> str:
    """What a GET without encryption is for."""
    if isinstance(value, int) and not isinstance(value, bool):
        raise ReadError(f'must be a URL; write "http://localhost:{str(value)[:9]}/"')
    word = full_text(value)
    if word.startswith("https:"):
        raise ReadError('must begin with http://; for https write command = ["curl", "-fsS", URL]')
    try:
        targets.http(word)
    except ValueError as error:
        why = str(error).removeprefix(f"{word!r} ")[:120]
        raise ReadError(f'must be a URL, such as "http://localhost:8000/", not {quoted(value)}: it {why}') from error
    return word


def socket_path(value: object) -> str:
    """The absolute path of a socket."""
    word = full_text(value)
    if word[0] != "/":
        raise ReadError(f"must be an absolute path, not {quoted(value)}")
    if len(os.fsencode(word)) > MAX_SUN_PATH:
        raise ReadError(f"is longer than the {MAX_SUN_PATH} bytes that a socket's path may have")
    return word


def pattern(value: object) -> str:
    """A regular expression."""
    word = text(value)
    if not word:
        raise ReadError("is empty, and so found in every line")
    if len(word) > MAX_PATTERN:
        raise ReadError(f"has more than {MAX_PATTERN} characters")
    bare = _PLAIN_ESCAPE.sub("", word)
    if "[" in bare and bare.count("-") > MAX_WIDE_RANGES and _WIDE.search(bare):
        raise ReadError(f"has more than {MAX_WIDE_RANGES} ranges of characters that are not ASCII")
    try:
        with warnings.catch_warnings():  # of what another Python may read otherwise: not a line of jobd's log each time
            warnings.simplefilter("ignore")
            re.compile(word)
    except (re.error, RecursionError, OverflowError) as error:
        raise ReadError(f"must be a regular expression: {error}") from error
    return word
