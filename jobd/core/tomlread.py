"""Reading values out of a TOML file so that every mistake is named with its place, and the next ones are found too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobd.core import names, tomlplace
from jobd.core.logline import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeVar

    from jobd.core.tomlplace import Path, Places

    T = TypeVar("T")

_PREFIXES: Final = ("max_", "default_", "limit_")  # of systemd's words: MaxConnections, LimitNOFILE
SHOWN: Final = 60  # characters of a word of the file in a message
MAX_WORD: Final = 256  # characters of an element of a list
MAX_UNKNOWN: Final = 50  # keys of a table of which it is said what was meant: that takes half a millisecond each
MAX_WHY: Final = 400  # of a message without its place: whatever is in the file, it goes into a line and a frame


class ReadError(ValueError):
    """A value is not what it should be; the text goes on after its key: `must be a number`.

    `at` is the element of a list or table that is meant; `more` are further mistakes in it.
    """

    def __init__(
        self, why: str, at: str | int | None = None, more: Sequence[tuple[str, str | int | None]] = ()
    ) -> None:
        super().__init__(why)
        self.all: Final = ((why, at), *more)


class Said:
    """What was found to say about one file."""

    def __init__(self, file: str, places: Places, columns: bool = False) -> None:
        self.places = places
        self._file = file
        self._columns = columns
        self._problems: list[tuple[tuple[int, int], str]] = []
        self._warnings: list[tuple[tuple[int, int], str]] = []

    def problem(self, path: Path, why: str) -> None:
        """The file cannot be taken."""
        self._problems.append((self.places.place(*path), why))

    def mistaken(self, path: Path, key: str, why: str) -> None:
        """The value of this key is not what it should be."""
        self.problem(path, f'"{key}" {why}')

    def warn(self, path: Path, why: str) -> None:
        """It can, and somebody should know."""
        self._warnings.append((self.places.place(*path), why))

    def line(self, path: Path) -> int:
        """Where it is."""
        return self.places.line(*path)

    def problems(self) -> list[str]:
        """All, in the order of their lines, as `FILE:LINE: why`, or `FILE:LINE:COLUMN: why`."""
        return self._listed(self._problems, "")

    def warnings(self) -> list[str]:
        """The same of the warnings, as `FILE:LINE: warning: why`."""
        return self._listed(self._warnings, "warning: ")

    def _listed(self, found: list[tuple[tuple[int, int], str]], what: str) -> list[str]:
        if not self._columns:
            found = [((line, 0), why) for (line, _), why in found]
        ordered = sorted(dict.fromkeys(found), key=lambda item: item[0])
        return [
            f"{printable(self._file)}:{line}:{f'{column}:' if self._columns else ''} {what}{_short(why)}"
            for (line, column), why in ordered
        ]


class Table:
    """One table of the file. What is unknown in it is said when it is made."""

    def __init__(
        self,
        values: dict[str, object],
        path: Path,
        name: str,
        said: Said,
        known: Mapping[str, Sequence[str]],
        foreign: Callable[[str, str], tuple[str, str] | None] | None = None,
    ) -> None:
        self.values = values
        self.said = said
        self._path = path
        self._name = name
        self._known = known
        self._foreign = foreign
        self._wrong: set[str] = set()
        unknown = [key for key in values if key not in known[name]]
        for key in unknown[:MAX_UNKNOWN]:
            self.problem(key, f'unknown key "{key:.{SHOWN}}"{self._hint(key)}')
        if len(unknown) > MAX_UNKNOWN:
            self.problem(unknown[MAX_UNKNOWN], f"{len(unknown) - MAX_UNKNOWN} more unknown keys")

    @classmethod
    def read(cls, text: str, file: str, known: Mapping[str, Sequence[str]]) -> Table:
        """The whole file; `known` are the keys of each table, by its name. Raises tomlplace.TomlError.

        A table that is made with `foreign` asks it about a word of somebody else's, with the table's name: for a hint,
        and for the key that is meant.
        """
        values, places = tomlplace.read(text)
        return cls(values, (), "", Said(file, places), known)

    # --- what is in it ----------------------------------------------------------------------------------------------
    def table(self, key: str) -> Table:
        """A table in it; an empty one when it is not there."""
        value = self.values.get(key, {})
        name = f"{self._name}.{key}".lstrip(".")
        if not isinstance(value, dict):
            self._mistaken(key, f"is a table, written [{name}], not {kind(value)}")
            value = {}
        return Table(value, (*self._path, key), name, self.said, self._known, self._foreign)

    def tables(self, key: str, name: str) -> list[Table]:
        """The tables of a list of them; `name` is theirs among the known."""
        value = self.values.get(key, [])
        if not isinstance(value, list):
            self._mistaken(key, f"is a list of tables, written [[{key}]], not {kind(value)}")
            return []
        found = []
        for at, item in enumerate(value):
            if isinstance(item, dict):
                found.append(Table(item, (*self._path, key, at), name, self.said, self._known, self._foreign))
            else:
                self._mistaken(key, f"is a list of tables, written [[{key}]]; {kind(item)} is in it", at)
        return found

    def words(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """A list of strings, none of them empty."""
        if key not in self.values:
            return default
        value = self.values[key]
        if isinstance(value, str):
            self._mistaken(key, f'must be a list of strings, not a string; write {key} = ["{value:.{SHOWN}}"]')
            return default
        if not isinstance(value, list):
            self._mistaken(key, f"must be a list of strings, not {kind(value)}")
            return default
        found = []
        for at, item in enumerate(value):
            if not isinstance(item, str):
                why = f'; write "{item}"' if isinstance(item, int) and not isinstance(item, bool) else ""
                self._mistaken(key, f"must be a list of strings; {kind(item)} is in it{why}", at)
            elif not item or "\0" in item:
                self._mistaken(key, "has an empty word" if not item else "has a NUL in a word", at)
            elif len(item) > MAX_WORD:
                self._mistaken(key, f"has a word of more than {MAX_WORD} characters", at)
            else:
                found.append(item)
        return tuple(found)

    def boolean(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            self._mistaken(key, f"must be true or false, not {kind(value)}")
            return default
        return value

    def take(self, key: str, parse: Callable[[object], T], default: T) -> T:
        """What `parse` makes of the value; it may raise ReadError."""
        if key not in self.values:
            return default
        try:
            return parse(self.values[key])
        except ReadError as error:
            for why, at in error.all:
                self._mistaken(key, why, at)
            return default

    # --- what is said of it -----------------------------------------------------------------------------------------
    def line(self, *path: str | int) -> int:
        """Where it, or something in it, is."""
        return self.said.line((*self._path, *path))

    def problem(self, where: str | tuple[str | int, ...], why: str) -> None:
        """Something is wrong with this key; "" is the table itself."""
        self.said.problem(self._at(where), why)

    def warn(self, where: str | tuple[str | int, ...], why: str) -> None:
        """Something about this key should be known."""
        self.said.warn(self._at(where), why)

    def wrong(self, key: str) -> bool:
        """Whether a mistake in this key was said already."""
        return key in self._wrong

    def _at(self, where: str | tuple[str | int, ...]) -> Path:
        return (*self._path, *((where,) if isinstance(where, str) else where)) if where else self._path

    def _mistaken(self, key: str, why: str, at: str | int | None = None) -> None:
        self._wrong.add(key)
        self.said.mistaken(self._at(key if at is None else (key, at)), key, why)

    def _hint(self, key: str) -> str:
        """What an unknown key was probably meant to be."""
        here = self._known[self._name]
        if key in self._elsewhere():
            return f"; it belongs {self._elsewhere()[key]}"
        if self._foreign is not None and (found := self._foreign(key, self._name)) is not None:
            self._wrong.add(found[1])
            return found[0]
        for word in dict.fromkeys((key, plain(key))):
            meant = word if word in here else names.closest(word, here)
            if meant is not None:
                self._wrong.add(meant)  # nobody need be told that it is missing
                return f'; did you mean "{meant}"?'
            others = self._elsewhere()
            meant = word if word in others else names.closest(word, others)
            if meant is not None:
                return f'; did you mean "{meant}" {others[meant]}?'
        return ""

    def _elsewhere(self) -> dict[str, str]:
        """The keys of the other tables, and where they belong."""
        found: dict[str, list[str]] = {}
        for name, keys in self._known.items():
            if name != self._name:
                for key in keys:
                    found.setdefault(key, []).append(f"in [{name}]" if name else "above the first [table]")
        return {key: " or ".join(where) for key, where in found.items()}


def _short(why: str) -> str:
    shown = printable(why[: MAX_WHY + 1])
    return shown if len(shown) <= MAX_WHY else f"{shown[:MAX_WHY]}…"


def kind(value: object) -> str:
    """A value's type in words."""
    words = {bool: "true or false", str: "a string", int: "a number", float: "a number with a point", list: "a list",
             dict: "a table"}  # fmt: skip
    return words.get(type(value), "a date or time")


def plain(key: str) -> str:
    """A key as it would be spelled here: `MaxConnections`, `max-connections` → `connections`."""
    letters = [
        f"_{c.lower()}" if c.isupper() and at and not key[at - 1].isupper() else c.lower() for at, c in enumerate(key)
    ]
    word = "".join(letters).replace("-", "_")
    for prefix in _PREFIXES * 2:
        word = word.removeprefix(prefix)
    return word


def listed(words: Sequence[str]) -> str:
    """`"a", "b" and "c"`."""
    quoted = [f'"{word}"' for word in words]
    return f"{', '.join(quoted[:-1])} and {quoted[-1]}" if len(quoted) > 1 else "".join(quoted)
