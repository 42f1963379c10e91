"""Keys of a job file given one by one as text: `run -p stop.timeout=5s`, `set-property`. Typed by the table of keys.

Text is literal: nothing in it is expanded. A list is words, or as in a file: `-p after="a b"`, `-p after='["a", "b"]'`.
"""

from __future__ import annotations

import tomllib
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from jobd.core import jobfields, jobrules, jobwords, names
from jobd.core.jobkeys import (
    BOOLEAN,
    COMMAND,
    ENVIRONMENT,
    KEYS,
    NAMES,
    NUMBER,
    PATHS,
    STATUSES,
)
from jobd.core.spec import SpecError
from jobd.core.tomlplace import Places
from jobd.core.tomlread import SHOWN, Said

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobd.core.spec import JobSpec
    from jobd.core.tomlplace import Path

# systemd's parse_boolean
_TRUE: Final = ("1", "yes", "y", "true", "t", "on")
_FALSE: Final = ("0", "no", "n", "false", "f", "off")
_LISTS: Final = (NAMES, STATUSES, PATHS)
_OF_THE_COMMAND_LINE: Final = {
    "command": "the command itself",
    "shell": "jobctl run --shell",
    "working_directory": "jobctl run -C",
    ENVIRONMENT: "jobctl run -E",
    "schedule": "jobctl run --at or --in; a job file can have a schedule",
}
KEPT, KEPT_CHARS = 64, 4096  # settings as they were read, and how long their texts may be
TRANSIENT: Final = tuple(
    key for key in KEYS if key.partition(".")[0] not in _OF_THE_COMMAND_LINE
)  # what `run -p` takes


def parse_settings(settings: Mapping[str, str], base: bytes = b"") -> dict[str, object]:
    """Type keys of a job file that are given as text, for a transient job.

    Args:
        settings: key, tables with a dot (`stop.timeout`), to its text.
        base: the directory that relative paths are meant from.

    Returns:
        Fields of JobSpec, of `rlimits` those that were given.

    Raises:
        SpecError: an unknown key (with what was probably meant), or a value that cannot be read.
    """
    if not settings:
        return {}  # as of most jobs
    for key in settings:
        if (option := _OF_THE_COMMAND_LINE.get(key.partition(".")[0])) is not None:
            raise SpecError(f"cannot set {key[:SHOWN]}: of a transient job that is {option}")
    if sum(len(key) + len(text) for key, text in settings.items()) > KEPT_CHARS:
        return _parse(settings, base)
    return dict(_parsed(tuple(settings.items()), base))


@lru_cache(maxsize=KEPT)
def _parsed(settings: tuple[tuple[str, str], ...], base: bytes) -> dict[str, object]:
    """Who submits a thousand jobs says the same of each: reading it takes as long as all else that a job is asked."""
    return _parse(dict(settings), base)


def _parse(settings: Mapping[str, str], base: bytes) -> dict[str, object]:
    said = _Said()
    found = jobfields.read(values(settings), said, _Place(base), whole=False)
    if said.found:
        raise SpecError("; ".join(said.found))
    return found.fields


def check(spec: JobSpec, name: str = "") -> None:
    """Refuse what contradicts itself.

    Raises:
        SpecError: naming a key.
    """
    for key, why in jobrules.conflicts(spec, name):
        raise SpecError(f"cannot set {key}: it {why}")


def values(settings: Mapping[str, str]) -> dict[str, object]:
    """The settings as the values that a job file with them would have.

    Raises:
        SpecError: an unknown key.
    """
    found: dict[str, object] = {}
    for name, text in settings.items():
        table, _, word = name.rpartition(".")
        if name not in KEYS and table != ENVIRONMENT:
            raise SpecError(_unknown(name))
        into: object = found.setdefault(table, {}) if table else found
        assert isinstance(into, dict)
        into[word] = _value(KEYS[name].kind, text) if name in KEYS else text
    return found


def _unknown(name: str) -> str:
    shown = name[:SHOWN]
    hint = jobwords.meant(name) or jobwords.meant(name.rpartition(".")[2])
    if hint is None:
        meant = [key for key in KEYS if key.partition(".")[2] == name]
        closest = names.closest(name, KEYS)
        if not meant and closest is not None:
            meant = [closest]
        words = " or ".join(f'"{key}"' for key in meant)
        hint = f"; did you mean {words}?" if meant else "; jobd.job(5) has them all"
    return f'unknown key "{shown}"{hint}'


def _value(kind: str, text: str) -> object:
    """What would stand in a file for this text; as it is if it is nothing of the kind, so that the reader says so."""
    word = text.strip()
    if kind == BOOLEAN:
        return word.lower() in _TRUE if word.lower() in _TRUE + _FALSE else text
    if kind == NUMBER:
        digits = word.removeprefix("-")
        return int(word) if digits.isascii() and digits.isdecimal() and len(digits) < 20 else text
    if kind == COMMAND or kind in _LISTS:
        if word.startswith("["):
            try:
                found: object = tomllib.loads(f"x = {word}")["x"]
            except (ValueError, RecursionError):
                pass  # a program may be called `[`
            else:
                return found
        return text if kind == COMMAND else text.strip("[] ").replace(",", " ").split()
    return text


class _Said(Said):
    """What is wrong, of keys and not of places in a file."""

    def __init__(self) -> None:
        super().__init__("", Places(""))
        self.found: list[str] = []

    def problem(self, path: Path, why: str) -> None:
        """Not to be taken."""
        self.found.append(f"cannot set {'.'.join(map(str, path[:2]))}: {why}")

    def mistaken(self, path: Path, key: str, why: str) -> None:  # noqa: ARG002  # the path has the key
        """A value is not what it should be."""
        self.found.append(f"cannot set {'.'.join(str(part) for part in path if isinstance(part, str))}: it {why}")


class _Place:
    """Of settings (`jobfields.Place`)."""

    def __init__(self, base: bytes) -> None:
        self._base = base

    def expand(self, text: str) -> str:
        """Nothing is expanded."""
        return text

    def directory(self, _: Path) -> bytes:
        """One for all."""
        return self._base

    def home(self) -> bytes:
        """Not known; the key that asks for it is not taken."""
        return b"/"
