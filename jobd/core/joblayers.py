"""The files of one job as one: a job file, and the drop-ins that go before it. Pure.

Tables merge key by key, `false` takes one away, and every other value is replaced by that of the later file. What was
found to say is said of the file in which it stands.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from jobd.core import jobwords, tomlplace
from jobd.core.jobkeys import ENVIRONMENT, TABLES, is_check
from jobd.core.logline import printable
from jobd.core.tomlread import Said

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobd.core.tomlplace import Path

SUFFIX: Final = ".toml"
DROPIN_DIR: Final = ".toml.d"  # NAME.toml.d/*.toml
_RESET: Final = (*(name for name in TABLES if name), ENVIRONMENT)  # `health = false` takes a table away
_SHORT: Final = ("schedule",)
MAX_PROBLEMS: Final = 200  # nobody reads more
MAX_DEPTH: Final = 2  # tables in which keys are merged one by one; there are none below them
# Of which there is one alone: that of a drop-in replaces the others of the files before it.
_EXCLUSIVE: Final = (frozenset({("command",), ("shell",)}), frozenset({("reload", "signal"), ("reload", "command")}))


class JobFileError(ValueError):
    """The files cannot be taken. `problems` are all that were found, each `FILE:LINE:COLUMN: why`."""

    def __init__(self, problems: Sequence[str]) -> None:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(problems[0] + more)
        self.problems = tuple(problems)


class Source(Struct, frozen=True, omit_defaults=True):
    """One file as it was read.

    `path` is as it is shown. `base` is the directory that relative paths in it are meant from; without one it is that
    of the job file that `path` is, or is a drop-in of.
    """

    path: str
    text: str
    base: bytes = b""

    @property
    def directory(self) -> bytes:
        """Where relative paths are meant from; empty if that is not known."""
        if self.base or not self.path.startswith("/"):
            return self.base
        found = posixpath.dirname(self.path)
        if found.endswith(DROPIN_DIR):
            found = posixpath.dirname(found)
        return found.encode("utf-8", "surrogateescape")


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(list[Source])


def encode_sources(files: Sequence[Source]) -> bytes:
    """Files as a blob: that of a job's row."""
    return _encoder.encode(list(files))


def decode_sources(blob: bytes) -> list[Source]:
    """The files of a blob. Raises msgspec.DecodeError."""
    return _decoder.decode(blob)


def decode_text(data: bytes, file: str) -> str:
    """The text of a file. Raises JobFileError when it is not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        why = f"not UTF-8: byte {data[error.start]:#04x}"
        raise JobFileError([f"{printable(file)}:{line}:{column}: {why}"]) from error


class Layers(Said):
    """What the files say together. A Said that sends what is said to the file in which it stands."""

    def __init__(self, files: Sequence[Source]) -> None:
        """Read the files, the job file first.

        Raises:
            JobFileError: one of them is no TOML.
        """
        # Not Said's own: it has no file.
        self.values: dict[str, object] = {}
        self.files = tuple(files)
        self._of: dict[Path, int] = {}  # the file in which something stands
        self._said: list[Said] = []
        broken = []
        for at, file in enumerate(files):
            try:
                values, places = _read(file.text)
            except tomlplace.TomlError as error:
                what = jobwords.foreign_format(file.text)
                hint = f"; this looks like {what}, and a job file is TOML: see jobd.job(5)" if what else ""
                broken.append(printable(f"{file.path}:{error.line}:{error.column}: {error.why}{hint}"))
                continue
            self._said.append(Said(file.path, places, columns=True))
            self._merge(self.values, values, (), at)
        if broken:
            raise JobFileError(broken)

    def problem(self, path: Path, why: str) -> None:
        """The files cannot be taken."""
        self._said_of(path).problem(path, why)

    def warn(self, path: Path, why: str) -> None:
        """They can, and somebody should know."""
        self._said_of(path).warn(path, why)

    def line(self, path: Path) -> int:
        """Where it is in its file."""
        return self._said_of(path).line(path)

    def problems(self) -> list[str]:
        """All, by file and then by line; of too many the first, and how many more there are."""
        found = [text for said in self._said for text in said.problems()]
        more = len(found) - MAX_PROBLEMS
        return found if more <= 0 else [*found[:MAX_PROBLEMS], f"and {more} more mistakes"]

    def warnings(self) -> list[str]:
        """The same of the warnings."""
        return [text for said in self._said for text in said.warnings()]

    def directory(self, path: Path) -> bytes:
        """The directory that a relative path is meant from that stands there."""
        return self.files[self._at(path)].directory

    def _said_of(self, path: Path) -> Said:
        return self._said[self._at(path)]

    def _at(self, path: Path) -> int:
        return next((self._of[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self._of), 0)

    def _merge(self, into: dict[str, object], values: dict[str, object], path: Path, at: int) -> None:
        for key, value in values.items():
            here = (*path, key)
            self._alone(into, here, values)
            self._of[here] = at
            if value is False and not path and key in _RESET:
                into.pop(key, None)
                continue
            if here == _SHORT and not isinstance(value, dict):
                value = {"calendar": value}  # `schedule = "daily"` is short for the table
            old = into.get(key)
            if isinstance(value, dict) and len(here) < MAX_DEPTH:
                inner = old if isinstance(old, dict) else {}
                into[key] = inner
                self._merge(inner, value, here, at)
            else:
                into[key] = value

    @staticmethod
    def _alone(into: dict[str, object], here: Path, values: dict[str, object]) -> None:
        """Take away what earlier files say and this key replaces."""
        if is_check(".".join(map(str, here))):
            rivals = [key for key in into if is_check(f"{here[0]}.{key}")]
        else:
            rivals = [str(other[-1]) for group in _EXCLUSIVE if here in group for other in group]
        for key in rivals:
            if key not in values:
                into.pop(key, None)


def _read(text: str) -> tuple[dict[str, object], tomlplace.Places]:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise tomlplace.TomlError(line, error.start - text.rfind("\n", 0, error.start), "not UTF-8") from error
    return tomlplace.read(text)
