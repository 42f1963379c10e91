"""A job's definition as the text of a job file (DESIGN.md, section 8): TOML that gives the same job again.

Written are what is executed, where, and with which environment; of all else what differs from the default, in the order
of the table of keys. A string is one basic string, or a multi-line one if it has newlines, in which everything that is
not to be seen is escaped: the text is safe on a terminal. A percent sign is doubled, as a job file wants it. What TOML
has no words for is a comment: bytes that are not UTF-8 (`\\xNN` is a byte there), a variable that is there twice, a
stdin that is not /dev/null, a resource limit without a key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobd.core import keytext
from jobd.core.jobkeys import ENVIRONMENT, KEYS
from jobd.core.keytext import NO_TOML, key_text, quote_bytes, written
from jobd.core.spec import NULL, JobSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

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
    found = keytext.texts(spec, rlimits)
    lines = [f"# transient: {name}", *_table("", found)]
    if spec.stdin != NULL:
        lines.append(f"# stdin: {spec.stdin}")
    if isinstance(env, str):
        lines.append(f"# {env}")
        env = ()
    tables = {ENVIRONMENT: _environment(env)}
    tables |= {name: _table(name, found) for name in dict.fromkeys(key.table for key in KEYS.values()) if name}
    limits = tables.setdefault("limits", [])
    limits += [f"# resource limit: {line}" for line in keytext.other_limits(spec, rlimits)]
    for title, there in tables.items():
        if there:
            lines += ["", f"[{title}]", *there]
    return "\n".join(lines) + "\n"


def dropin(values: Mapping[str, object]) -> str:
    """A drop-in with these values, as `settings.values` gives them: `set-property` keeps them so."""
    plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
    lines = _pairs("", plain)
    for title, table in values.items():
        if isinstance(table, dict):
            lines += [*[""] * bool(lines), f"[{key_text(title)}]", *_pairs(f"{title}.", table)]
    return "\n".join(lines) + "\n"


def _pairs(table: str, values: Mapping[str, object]) -> list[str]:
    return [
        f"{key_text(word)} = {keytext.toml(value, table + word in KEYS and KEYS[table + word].literal)}"
        for word, value in values.items()
    ]


def _table(name: str, found: Mapping[str, str | bytes]) -> list[str]:
    """The lines of one table."""
    lines = []
    for key, text in found.items():
        if KEYS[key].table == name:
            word = KEYS[key].word
            lines.append(f"{word} = {text}" if isinstance(text, str) else f"{NO_TOML}{word} = {text.decode()}")
    return lines


def _environment(env: Iterable[bytes]) -> list[str]:
    lines = []
    seen: set[bytes] = set()
    for entry in sorted(env, key=lambda entry: entry.partition(b"=")[0]):  # of two of a name the first stays first
        name, equals, value = entry.partition(b"=")
        if not equals or not keytext.is_text(name):
            lines.append(f"# no variable: {quote_bytes(entry)}")
        elif name in seen:
            lines.append(f"# once more: {quote_bytes(entry)}")
        else:
            seen.add(name)
            text = written(value)
            key = key_text(name.decode())
            lines.append(f"{key} = {text}" if isinstance(text, str) else f"{NO_TOML}{key} = {text.decode()}")
    return lines
