"""TOML with places: tomllib's values, and the line and column of every key, table and element of a list.

tomllib says where a syntax error is, and of what it has read only the values. `Places` is made by a scanner of its own
that knows keys, strings and brackets and nothing of values. It also finds what tomllib should not be given: a file
that is nested too deeply for it (it recurses), keys of so many parts that it takes forever (it is quadratic in them),
and numbers that Python refuses to convert. Linear in the size of the text, whatever is in it.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from typing import Final

Path = tuple[str | int, ...]  # ("allow", 0, "users", 1) is the second user of the first [[allow]]

MAX_DEPTH: Final = 50  # of brackets in brackets; tomllib takes about 300 before Python's stack ends
MAX_PARTS: Final = 50  # of a dotted key
MAX_NUMBER: Final = 4000  # characters; Python converts 4300 digits

_BLANK: Final = re.compile(r"[ \t]*")
_BETWEEN: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*+")  # also what may stand between elements
_BARE_KEY: Final = re.compile(r"[^\s.=\[\]{}\"'#,]+")
_BARE_VALUE: Final = re.compile(r"[^,\[\]{}#\n]*")
_REST: Final = re.compile(r"[^\n]*")
_STRINGS: Final = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*+"{3,5}'
    r"|'''(?:[^']|'(?!''))*+'{3,5}"
    r'|"(?!"")(?:[^"\\\n]|\\[^\n])*+"'
    r"|'(?!'')[^'\n]*'"
    r"|\"\"(?!\")|''(?!')",
    re.DOTALL,
)
_LEADING_ZERO: Final = re.compile(r"=[ \t]*[-+]?0[0-9]$")  # up to the digit that is not expected
_BARE_WORD: Final = re.compile(r"=[ \t]*[-+]?[0-9]+[^\s\"',#\]}]")  # a number with more behind it: `512M`, `5/10s`
_PLACE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_WORDS: Final = {  # of tomllib, where they say little to somebody who does not know TOML
    "Invalid value": 'this is no value; text stands in "quotes"',
    "Invalid statement": "this is neither a [table] nor a key = value",
    "Expected '=' after a key in a key/value pair": 'a key needs a "=" and a value',
    "Expected newline or end of document after a statement": "something follows the value on this line",
}
_UNENDED: Final = ("Unterminated string", "Illegal character '\\n'", 'Expected "\'"', "Expected \"'''\"")


class TomlError(ValueError):
    """The text is not TOML, or nothing that is to be read."""

    def __init__(self, line: int, column: int, why: str) -> None:
        super().__init__(f"{line}:{column}: {why}")
        self.line, self.column, self.why = line, column, why


class Places:
    """Where things are. Made of any text; of one that is no TOML it knows what can be known."""

    def __init__(self, text: str) -> None:
        self._newlines = [match.start() for match in re.finditer("\n", text)]
        self._at: dict[Path, int] = {}
        self.twice: list[tuple[Path, int, int]] = []  # what stands at two places: the offsets of both
        self.unended: int | None = None  # the first string without an end
        self.unreadable: tuple[int, str] | None = None  # the first offset of what tomllib is not to read, and why
        _Scan(text, self).run()

    def note(self, path: Path, offset: int, explicit: bool = True) -> None:
        """Something is at `offset`; not `explicit`, it is only implied there, as `a` by `[a.b]`."""
        known = self._at.get(path)
        if known is None:
            self._at[path] = offset if explicit else ~offset
        elif known < 0:
            if explicit:
                self._at[path] = offset
        elif explicit:
            self.twice.append((path, known, offset))

    def refuse(self, offset: int, why: str) -> None:
        """tomllib is not to read what is at `offset`."""
        if self.unreadable is None:
            self.unreadable = offset, why

    def line(self, *path: str | int) -> int:
        """The line of what is at `path`, or of the nearest known thing around it; 1 if nothing is known."""
        return self.place(*path)[0]

    def place(self, *path: str | int) -> tuple[int, int]:
        """As `line`, with the column; both are counted from 1, columns in characters."""
        for length in range(len(path), 0, -1):
            offset = self._at.get(path[:length])
            if offset is not None:
                return self.of(offset if offset >= 0 else ~offset)
        return 1, 1

    def of(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset into the text."""
        before = bisect_left(self._newlines, offset)
        return before + 1, offset - (self._newlines[before - 1] if before else -1)

    def ends(self, line: int, column: int, text: str) -> bool:
        """Whether nothing, or a comment, follows on this line."""
        start = self._newlines[line - 2] + 1 if line > 1 else 0
        end = self._newlines[line - 1] if line <= len(self._newlines) else len(text)
        return text[start + column - 1 : end].strip()[:1] in ("", "#")

    def paths(self) -> list[Path]:
        """All that is known, in no particular order."""
        return list(self._at)


class _Scan:
    """One pass over the text."""

    def __init__(self, text: str, places: Places) -> None:
        self._text = text
        self._places = places
        self._pos = 0
        self._tables: dict[Path, int] = {}  # how many [[...]] there are of each

    def run(self) -> None:
        table: Path = ()
        while self._places.unreadable is None:
            self._skip(_BETWEEN)
            if self._pos >= len(self._text):
                return
            before = self._pos
            if self._text[before] == "[":
                table = self._header()
            else:
                self._pair(table)
            if self._pos == before:  # neither; tomllib will say so
                self._pos += 1
                self._skip(_REST)

    def _skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._pos)
        if found is None:
            return ""
        self._pos = found.end()
        return found[0]

    def _here(self, *words: str) -> bool:
        return any(self._text.startswith(word, self._pos) for word in words)

    # --- keys -----------------------------------------------------------------------------------------------------
    def _header(self) -> Path:
        """`[a.b]` or `[[a.b]]`: the path of the table that begins."""
        start = self._pos
        many = self._here("[[")
        self._pos += 2 if many else 1
        parts = self._key()
        self._skip(_REST)
        if not parts:
            return ()
        path: Path = ()
        for at, part in enumerate(parts, 1):
            path = (*path, part)
            last = at == len(parts)
            self._places.note(path, start, explicit=last and not many)
            if last and many:
                self._tables[path] = self._tables.get(path, 0) + 1
            if path in self._tables and (many or not last):
                path = (*path, self._tables[path] - 1)
                self._places.note(path, start, explicit=last)
        return path

    def _key(self) -> tuple[str, ...]:
        """The parts of a key; none when there is no key here."""
        start = self._pos
        parts: list[str] = []
        while True:
            self._skip(_BLANK)
            if self._here('"', "'"):
                parts.append(_unquoted(self._skip(_STRINGS)))
            else:
                parts.append(self._skip(_BARE_KEY))
            if not parts[-1] and self._text[self._pos - 1 : self._pos] not in ('"', "'"):
                return ()
            self._skip(_BLANK)
            if not self._here("."):
                break
            self._pos += 1
            if len(parts) > MAX_PARTS:
                self._places.refuse(start, f"a key of more than {MAX_PARTS} parts")
                return ()
        return tuple(parts)

    def _pair(self, table: Path) -> None:
        """`key = value`, below the path of its table."""
        path = self._key_of_pair(table)
        if path is not None:
            self._value(path)

    def _key_of_pair(self, table: Path) -> Path | None:
        """The key up to the value; None when there is none."""
        start = self._pos
        parts = self._key()
        if not parts or not self._here("="):
            return None
        self._pos += 1
        self._skip(_BLANK)
        for at in range(1, len(parts) + 1):
            self._places.note((*table, *parts[:at]), start, explicit=at == len(parts))
        return (*table, *parts)

    # --- values ---------------------------------------------------------------------------------------------------
    def _value(self, path: Path) -> None:
        """A value with all that is in it."""
        open_at: list[tuple[Path, str, int]] = []  # path, closing bracket, next index
        self._begin(path, open_at)
        while open_at and self._pos < len(self._text):
            self._skip(_BETWEEN)
            if len(open_at) > MAX_DEPTH:
                self._places.refuse(self._pos, f"brackets nested more than {MAX_DEPTH} deep")
                self._pos = len(self._text)
                return
            outer, closing, index = open_at[-1]
            if self._here(","):
                self._pos += 1
            elif self._here(closing):
                self._pos += 1
                open_at.pop()
            elif closing == "]":
                open_at[-1] = outer, closing, index + 1
                inner = (*outer, index)
                before = self._pos
                self._places.note(inner, before)
                self._begin(inner, open_at)
                self._pos = max(self._pos, before + 1)
            else:
                before = self._pos
                found = self._key_of_pair(outer)
                if found is not None:
                    self._begin(found, open_at)
                self._pos = max(self._pos, before + 1)

    def _begin(self, path: Path, open_at: list[tuple[Path, str, int]]) -> None:
        """A value up to its end, or up to what is in it."""
        if self._here("[", "{"):
            open_at.append((path, "]" if self._here("[") else "}", 0))
            self._pos += 1
        elif self._here('"', "'"):
            start = self._pos
            if not self._skip(_STRINGS):
                self._skip(_REST)
                if self._places.unended is None:
                    self._places.unended = start
        else:
            start = self._pos
            if len(self._skip(_BARE_VALUE)) > MAX_NUMBER:
                self._places.refuse(start, f"a value of more than {MAX_NUMBER} characters without quotes")


def _unquoted(quoted: str) -> str:
    """What a key in quotes means."""
    inner = quoted[1:-1]
    if quoted[:1] == '"' and "\\" in inner:
        try:
            value = tomllib.loads(f"x = {quoted}")["x"]
        except ValueError:
            return inner
        return str(value)
    return inner


def read(text: str) -> tuple[dict[str, object], Places]:
    """The values of a TOML text, and where they are.

    Raises:
        TomlError: it is no TOML; with the place and why.
    """
    places = Places(text)
    if places.unreadable is not None:
        offset, why = places.unreadable
        raise TomlError(*places.of(offset), why)
    try:
        return tomllib.loads(text), places
    except tomllib.TOMLDecodeError as error:
        raise _explained(str(error), text, places) from None
    except (RecursionError, ValueError) as error:  # not known to happen
        raise TomlError(1, 1, f"this cannot be read: {error}") from None


def _explained(message: str, text: str, places: Places) -> TomlError:
    """tomllib's words, as far as they can be improved."""
    if text.startswith("\ufeff"):
        return TomlError(1, 1, "a byte order mark is no part of TOML: save it as UTF-8 without one")
    found = _PLACE.search(message)
    why = message if found is None else message[: found.start()]
    if why.startswith(("Cannot overwrite", "Cannot declare", "Duplicate")) and places.twice:
        path, first, second = places.twice[0]
        name = ".".join(str(part) for part in path if isinstance(part, str))
        return TomlError(*places.of(second), f'"{name}" is there twice; first on line {places.of(first)[0]}')
    if why in _UNENDED and places.unended is not None:
        return TomlError(*places.of(places.unended), "the quotation marks that begin here have no end")
    if found is not None and found[1]:
        line, column = int(found[1]), int(found[2])
    else:
        line, column = places.of(len(text.rstrip("\r\n")))
    if why == "Invalid value" and places.ends(line, column, text):
        return TomlError(line, column, "a value is missing")
    if why.startswith("Expected newline") and _LEADING_ZERO.search(text.splitlines()[line - 1][:column]):
        return TomlError(line, column - 1, 'a number does not begin with 0; text stands in "quotes"')
    if why.startswith("Expected newline") and _BARE_WORD.search(text.splitlines()[line - 1]):
        return TomlError(line, column, 'this is no value; text stands in "quotes"')
    why = _WORDS.get(why, why[:1].lower() + why[1:])
    return TomlError(line, column, why)
