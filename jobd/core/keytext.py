"""The values of a JobSpec as the text of a job file, key by key: the other way round than the readers. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from jobd.core import exits, service, units
from jobd.core import jobkeys as kinds
from jobd.core.jobkeys import KEYS
from jobd.core.spec import FOR_EVER, JobSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Text = str | bytes  # bytes: no TOML can say it, and this is what a comment can

_BARE: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_SHORT: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f"}
_SIZES: Final = (("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10))
NO_TOML: Final = "# not UTF-8 (\\xNN is a byte): "
INFINITE: Final = -1  # of a resource limit
LIMIT_KEYS: Final = ("core", "nofile")  # job files have no key for the others, and `nice` is another thing there
_HEALTH: Final = service.Health(check=service.Check(kind=service.TCP))


def texts(spec: JobSpec, rlimits: Mapping[str, tuple[int, int]] | None = None) -> dict[str, Text]:
    """What the keys say of it, in the order of the table: of those that differ from the default, and the program.

    `rlimits`: the resource limits of a job that says nothing of them.
    """
    usual = _usual(spec)
    found: dict[str, Text] = {}
    for name, key in KEYS.items():
        if key.field:
            value = getattr(spec, key.field)
            if value != getattr(usual, key.field):
                found[name] = _WRITERS[name if name in _WRITERS else key.kind](value)
    found |= _made(spec, rlimits or {})
    return {name: found[name] for name in KEYS if name in found}


def differences(old: JobSpec, new: JobSpec) -> list[str]:
    """The keys that say something else, in the order of the table."""
    before, after = texts(old), texts(new)
    return [name for name in KEYS if before.get(name) != after.get(name)]


def other_limits(spec: JobSpec, rlimits: Mapping[str, tuple[int, int]]) -> list[str]:
    """The resource limits for which there is no key."""
    there = sorted(name for name in spec.rlimits if name not in LIMIT_KEYS)
    return [f"{name} = {_limit(spec.rlimits[name])}" for name in there if spec.rlimits[name] != rlimits.get(name)]


def _usual(spec: JobSpec) -> JobSpec:
    """A job that says nothing more, and so what need not be said."""
    usual = JobSpec(argv=(), cwd=b"")
    if spec.type == service.ONESHOT:
        usual = replace(usual, ready_timeout_usec=None)
    if spec.restart_delay_usec > usual.restart_max_delay_usec:
        usual = replace(usual, restart_max_delay_usec=spec.restart_delay_usec)
    return usual


def _made(spec: JobSpec, rlimits: Mapping[str, tuple[int, int]]) -> dict[str, Text]:
    """Of the keys that are no field."""
    found: dict[str, Text] = {"working_directory": written(spec.cwd)}
    if spec.shell:
        found["shell"] = written(spec.argv[0] if spec.argv else b"")
    else:
        found["command"] = _command(spec.argv)
    if spec.env_files:
        found["environment_file"] = _command([b"-" * may_miss + path for path, may_miss in spec.env_files])
    if spec.success_codes != (0,) or spec.success_signals:
        found["success_exit_status"] = _statuses(spec.success_codes, spec.success_signals)
    if spec.restart_prevent_codes or spec.restart_prevent_signals:
        found["restart_prevent_exit_status"] = _statuses(spec.restart_prevent_codes, spec.restart_prevent_signals)
    if spec.ready is not None:
        found[f"ready.{spec.ready.kind}"] = _check(spec.ready)
    if spec.health is not None:
        found |= _health(spec.health)
    for name in LIMIT_KEYS:
        if name in spec.rlimits and spec.rlimits[name] != rlimits.get(name):
            found[f"limits.{name}"] = _limit(spec.rlimits[name])
    return found


def _health(health: service.Health) -> dict[str, Text]:
    found: dict[str, Text] = {f"health.{health.check.kind}": _check(health.check)}
    if health.interval_usec != _HEALTH.interval_usec:
        found["health.interval"] = _duration(health.interval_usec)
    if health.timeout_usec != _HEALTH.timeout_usec:
        found["health.timeout"] = _duration(health.timeout_usec)
    if health.failures != _HEALTH.failures:
        found["health.failures"] = str(health.failures)
    if health.action != _HEALTH.action:
        found["health.action"] = quote(health.action)
    return found


def _check(check: service.Check) -> Text:
    if check.kind == service.COMMAND:
        return _command(check.argv)
    return _duration(check.delay_usec) if check.kind == service.DELAY else _string(check.target)


# --- of each kind -------------------------------------------------------------------------------------------------
def _command(words: Sequence[bytes]) -> Text:
    try:
        return f"[{', '.join(quote(_doubled(word.decode())) for word in words)}]"
    except UnicodeDecodeError:
        return f"[{', '.join(map(quote_bytes, words))}]".encode()


def _statuses(codes: Sequence[int], signals: Sequence[int]) -> str:
    return f"[{', '.join([*map(str, codes), *(quote(exits.signal_name(number)) for number in signals)])}]"


def _duration(usec: int | None) -> str:
    return quote(units.format_duration(usec))


def size_text(size: int | None) -> str:
    """A size to the byte, in the largest unit of which it is a whole number."""
    if size is None:
        return units.INFINITY
    return next((f"{size // unit}{suffix}" for suffix, unit in _SIZES if size and size % unit == 0), str(size))


def _limit(pair: tuple[int, int]) -> str:
    soft, hard = (units.INFINITY if limit == INFINITE else str(limit) for limit in pair)
    return quote(soft if soft == hard else f"{soft}:{hard}")


def _starts(limit: tuple[int, int]) -> str:
    return quote(f"{limit[0]}/{units.format_duration(limit[1])}" if limit[0] else units.INFINITY)


def _number(value: int | None) -> str:
    return quote(units.INFINITY) if value is None else str(value)


def _string(text: str) -> str:
    return _multi_line(_doubled(text)) if "\n" in text else quote(_doubled(text))


_WRITERS: Final[Mapping[str, Callable[..., Text]]] = {  # by kind, or by the key where its kind does not say it
    kinds.STRING: _string,
    kinds.BOOLEAN: lambda value: str(value).lower(),
    kinds.NUMBER: _number,
    kinds.DURATION: _duration,
    kinds.SIZE: lambda value: quote(size_text(value)),
    kinds.SIGNAL: lambda value: quote(exits.signal_name(value)),
    kinds.WORD: lambda value: quote(value),
    kinds.PERCENTAGE: lambda value: quote(units.INFINITY if value is None else f"{value}%"),
    kinds.COMMAND: _command,
    kinds.NAMES: lambda value: f"[{', '.join(map(quote, value))}]",
    kinds.STARTS: _starts,
    kinds.CALENDAR: lambda value: quote(value[0]) if len(value) == 1 else f"[{', '.join(map(quote, value))}]",
    "logs.keep_runs": lambda value: _number(None if value == FOR_EVER else value),
    "logs.keep_for": lambda value: _duration(None if value == FOR_EVER else value),
    "limits.umask": lambda value: quote(f"{value:03o}"),
}


# --- TOML ---------------------------------------------------------------------------------------------------------
def toml(value: object, literal: bool = False) -> str:
    """A value of a setting: text (`literal`: % means nothing in it), a number, true or false, or a list of them."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, int | float):
        return str(value)
    return quote(str(value)) if literal else _string(str(value))


def _doubled(text: str) -> str:
    return text.replace("%", "%%")


def key_text(name: str) -> str:
    """A key as TOML writes it."""
    return name if name and _BARE.issuperset(name) else quote(name)


def written(value: bytes) -> Text:
    """A string."""
    return _string(value.decode()) if is_text(value) else quote_bytes(value).encode()


def is_text(value: bytes) -> bool:
    """Whether it is UTF-8."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def quote(text: str) -> str:
    """Text as a basic string of TOML; a lone surrogate, for which there is none, as the byte it stands for."""
    return f'"{"".join(map(_escaped, text))}"'


def quote_bytes(value: bytes) -> str:
    """Bytes as they are shown in a comment."""
    return quote(value.decode("utf-8", "surrogateescape"))


def _escaped(char: str) -> str:
    if char in _SHORT:
        return _SHORT[char]
    if char.isprintable():
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _multi_line(text: str) -> str:
    """Text as a multi-line basic string; the newline after its beginning is not part of it."""
    passed = ("\n", "\t", '"')
    body = "".join(char if char in passed else _escaped(char) for char in text).replace('"""', '""\\"')
    if body.endswith('"'):
        body = f'{body[:-1]}\\"'
    return f'"""\n{body}"""'
