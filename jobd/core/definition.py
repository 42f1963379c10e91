"""A job's definition as the text of a job file (DESIGN.md, section 8): TOML that gives the same job again.

Written are what is executed, where, and with which environment; of all else what differs from the default. A string is
one basic string, or a multi-line one if it has newlines, in which everything that is not to be seen is escaped: the
text is safe on a terminal. What TOML has no words for is a comment: bytes that are not UTF-8 (`\\xNN` is a byte there),
a variable that is there twice, a stdin that is not /dev/null, a resource limit without a key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobd.core import exits, units
from jobd.core.spec import NULL, JobSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_DEFAULT: Final = JobSpec(argv=(), cwd=b"")
_BARE: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_SHORT: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f"}
_SIZES: Final = (("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10))
NO_TOML: Final = "# not UTF-8 (\\xNN is a byte): "
INFINITY: Final = -1  # of a resource limit
LIMIT_KEYS: Final = ("core", "nofile")  # job files have no key for the others, and `nice` is another thing there


TOO_LARGE: Final = "its environment is too large to be shown here"
PRIVATE: Final = "its environment is shown to its owner and to administrators"


def render(name: str, spec: JobSpec, env: Sequence[bytes] | str, rlimits: Mapping[str, tuple[int, int]]) -> str:
    """The definition of a transient job.

    Args:
        name: the job's, as its reader writes it.
        spec: how it is run.
        env: its `NAME=value` entries; or a comment that says why they are not there.
        rlimits: the resource limits of a job that says nothing of them.
    """
    lines = [f"# transient: {name}"]
    if spec.description:
        lines.append(_string("description", spec.description))
    if spec.user:
        lines.append(_string("user", spec.user))
    lines.append(_script(spec) if spec.shell else _command(spec))
    lines.append(_bytes("working_directory", spec.cwd))
    if spec.success_codes != _DEFAULT.success_codes:
        lines.append(f"success_exit_status = [{', '.join(map(str, spec.success_codes))}]")
    if spec.stdin != NULL:
        lines.append(f"# stdin: {spec.stdin}")
    if isinstance(env, str):
        lines.append(f"# {env}")
        env = ()
    tables = {"environment": _environment(env), "stop": _stop(spec), "limits": _limits(spec, rlimits)}
    tables["logs"] = _logs(spec)
    for title, found in tables.items():
        if found:
            lines += ["", f"[{title}]", *found]
    return "\n".join(lines) + "\n"


# --- the parts ----------------------------------------------------------------------------------------------------
def _command(spec: JobSpec) -> str:
    try:
        return f"command = [{', '.join(quote(word.decode()) for word in spec.argv)}]"
    except UnicodeDecodeError:
        return f"{NO_TOML}command = [{', '.join(map(_quote_bytes, spec.argv))}]"


def _script(spec: JobSpec) -> str:
    return _bytes("shell", spec.argv[0] if spec.argv else b"")


def _environment(env: Iterable[bytes]) -> list[str]:
    lines = []
    seen: set[bytes] = set()
    for entry in sorted(env, key=lambda entry: entry.partition(b"=")[0]):  # of two of a name the first stays first
        name, equals, value = entry.partition(b"=")
        if not equals or not _is_text(name):
            lines.append(f"# no variable: {_quote_bytes(entry)}")
        elif name in seen:
            lines.append(f"# once more: {_quote_bytes(entry)}")
        else:
            seen.add(name)
            lines.append(_bytes(_key(name.decode()), value))
    return lines


def _stop(spec: JobSpec) -> list[str]:
    lines = []
    if spec.stop_signal != _DEFAULT.stop_signal:
        lines.append(_string("signal", exits.signal_name(spec.stop_signal)))
    if spec.stop_timeout_usec != _DEFAULT.stop_timeout_usec:
        lines.append(_string("timeout", units.format_duration(spec.stop_timeout_usec)))
    if spec.kill_mode != _DEFAULT.kill_mode:
        lines.append(_string("kill_mode", spec.kill_mode))
    return lines


def _limits(spec: JobSpec, rlimits: Mapping[str, tuple[int, int]]) -> list[str]:
    lines = []
    if spec.runtime_usec != _DEFAULT.runtime_usec:
        lines.append(_string("runtime", units.format_duration(spec.runtime_usec)))
    if spec.nice != _DEFAULT.nice:
        lines.append(f"nice = {spec.nice}")
    if spec.umask != _DEFAULT.umask:
        lines.append(_string("umask", f"{spec.umask:03o}"))
    for name, pair in sorted(spec.rlimits.items()):
        if pair != rlimits.get(name):
            soft, hard = ("infinity" if limit == INFINITY else str(limit) for limit in pair)
            line = _string(name, soft if soft == hard else f"{soft}:{hard}")
            lines.append(line if name in LIMIT_KEYS else f"# resource limit: {line}")
    return lines


def _logs(spec: JobSpec) -> list[str]:
    lines = []
    if spec.log_max_size != _DEFAULT.log_max_size:
        lines.append(_string("max_size", _size(spec.log_max_size)))
    if spec.merge_output:
        lines.append("merge_output = true")
    if spec.on_full != _DEFAULT.on_full:
        lines.append(_string("on_full", spec.on_full))
    return lines


def _size(size: int | None) -> str:
    """A size to the byte, in the largest unit of which it is a whole number."""
    if size is None:
        return "infinity"
    return next((f"{size // unit}{suffix}" for suffix, unit in _SIZES if size and size % unit == 0), str(size))


# --- TOML ---------------------------------------------------------------------------------------------------------
def _key(name: str) -> str:
    return name if name and _BARE.issuperset(name) else quote(name)


def _string(key: str, text: str) -> str:
    return f"{key} = {_multi_line(text) if chr(10) in text else quote(text)}"


def _bytes(key: str, value: bytes) -> str:
    return _string(key, value.decode()) if _is_text(value) else f"{NO_TOML}{key} = {_quote_bytes(value)}"


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def quote(text: str) -> str:
    """Text as a basic string of TOML; a lone surrogate, for which there is none, as the byte it stands for."""
    return f'"{"".join(map(_escaped, text))}"'


def _quote_bytes(value: bytes) -> str:
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
