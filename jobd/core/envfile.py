"""Environment files, in the syntax of systemd's EnvironmentFile= (systemd.exec(5)). Pure.

The keeper's child reads such a file as the user of the job, so: standard library only, and without `typing`.
Values are bytes as they stand in the file; nothing in them is expanded.
"""

from __future__ import annotations

MAX_BYTES = 256 * 1024  # of one file: it is parsed in 0.1 s; execve(2) takes 128 KiB in one string
MAX_PASSED_OVER = 20  # lines of which it is said that they are no assignment

_BLANK = b" \t\n\r"  # systemd's WHITESPACE
_NEWLINE = b"\n\r"
_COMMENT = b"#;"
_IN_QUOTES = b'"\\`$'  # what a backslash in double quotes takes its meaning from; before all else it stays
_BOM = b"\xef\xbb\xbf"
_FIRST = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_")
_NAME = _FIRST | frozenset(b"0123456789")

_PRE_KEY, _KEY, _PRE_VALUE, _VALUE, _ESCAPE, _SINGLE, _DOUBLE, _DOUBLE_ESCAPE, _IS_COMMENT, _COMMENT_ESCAPE = range(10)


def valid_name(name: bytes) -> bool:
    """Whether a variable may be called so: letters, digits and `_`, not beginning with a digit."""
    return bool(name) and name[0] in _FIRST and _NAME.issuperset(name)


def parse(data: bytes) -> tuple[list[bytes], list[int]]:
    """Read an environment file.

    Lines are `NAME=value`; those that begin with `#` or `;`, and empty ones, mean nothing. Blanks around name and value
    are taken away. Single quotes keep all that is in them; in double quotes and outside of quotes a backslash takes the
    meaning from the next character, and joins lines at the end of one.

    Returns:
        The variables as `NAME=value`, of two of a name the later one; and the numbers of lines that were passed over,
        because they are no assignment or have an invalid name or a NUL.
    """
    reader = _Reader()
    reader.feed(data.removeprefix(_BOM))
    return [name + b"=" + value for name, value in reader.found.items()], reader.passed_over[:MAX_PASSED_OVER]


class _Reader:
    """The automaton. Where it is, what it has gathered, and on which line that began."""

    def __init__(self) -> None:
        self.found: dict[bytes, bytes] = {}
        self.passed_over: list[int] = []
        self._key = bytearray()
        self._value = bytearray()
        self._kept = 0  # bytes of the value that stay if it ends now: trailing blanks without quotes do not
        self._begun = 1

    def feed(self, data: bytes) -> None:
        state, line = _PRE_KEY, 1
        for char in data:
            if state == _PRE_KEY and char not in _BLANK:
                self._begun = line
            state = self._step(state, char)
            line += char == 0x0A
        if state == _KEY:
            self.passed_over.append(self._begun)
        elif state in (_PRE_VALUE, _VALUE, _ESCAPE, _SINGLE, _DOUBLE, _DOUBLE_ESCAPE):
            self._end()

    def _step(self, state: int, char: int) -> int:
        if state in (_PRE_KEY, _KEY):
            return self._in_key(state, char)
        if state in (_PRE_VALUE, _VALUE):
            return self._in_value(state, char)
        if state == _IS_COMMENT:
            return _COMMENT_ESCAPE if char == 0x5C else _PRE_KEY if char in _NEWLINE else _IS_COMMENT
        if state == _COMMENT_ESCAPE:  # a comment ends with its line, as in systemd since version 254
            return _PRE_KEY if char in _NEWLINE else _IS_COMMENT
        return self._in_quotes(state, char)

    def _in_key(self, state: int, char: int) -> int:
        if state == _PRE_KEY:
            if char in _BLANK:
                return _PRE_KEY
            if char in _COMMENT:
                return _IS_COMMENT
            self._key.clear()
        if char in _NEWLINE:
            self.passed_over.append(self._begun)
            return _PRE_KEY
        if char == 0x3D:
            self._value.clear()
            self._kept = 0
            return _PRE_VALUE
        self._key.append(char)
        return _KEY

    def _in_value(self, state: int, char: int) -> int:
        if char in _NEWLINE:
            self._end()
            return _PRE_KEY
        if state == _PRE_VALUE:
            if char == 0x27:
                return _SINGLE
            if char == 0x22:
                return _DOUBLE
            if char in _BLANK:
                return _PRE_VALUE
        if char == 0x5C:
            return _ESCAPE
        self._append(char, keep=char not in _BLANK)
        return _VALUE

    def _in_quotes(self, state: int, char: int) -> int:
        if state == _ESCAPE:
            if char not in _NEWLINE:
                self._append(char)
            return _VALUE
        if state == _SINGLE:
            if char == 0x27:
                return _PRE_VALUE
            self._append(char)
            return _SINGLE
        if state == _DOUBLE:
            if char == 0x22:
                return _PRE_VALUE
            if char == 0x5C:
                return _DOUBLE_ESCAPE
            self._append(char)
            return _DOUBLE
        if char not in _NEWLINE:
            if char not in _IN_QUOTES:
                self._append(0x5C)
            self._append(char)
        return _DOUBLE

    def _append(self, char: int, keep: bool = True) -> None:
        self._value.append(char)
        if keep:
            self._kept = len(self._value)

    def _end(self) -> None:
        """An assignment is complete."""
        name, value = bytes(self._key).rstrip(_BLANK), bytes(self._value[: self._kept])
        if valid_name(name) and 0 not in value:
            self.found.pop(name, None)
            self.found[name] = value
        else:
            self.passed_over.append(self._begun)
