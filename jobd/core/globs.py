"""Which jobs are meant: pairs of an owner (None: anybody) and a pattern of the job's name, and these as SQL. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

Globs: TypeAlias = "tuple[tuple[int | None, str], ...]"


def condition(globs: Iterable[tuple[int | None, str]]) -> tuple[str, tuple[str | int, ...]]:
    """What `owner` and `job` of a row must be, and its arguments. Of no pairs: nothing fits."""
    fits: list[str] = []
    args: list[str | int] = []
    for owner, pattern in dict.fromkeys(globs):
        words: list[str] = []
        if owner is not None:
            words.append("owner = ?")
            args.append(owner)
        if pattern != "*":
            words.append("job GLOB ?")
            args.append(sql_glob(pattern))
        fits.append(f"({' AND '.join(words)})" if words else "1")
    return f"({' OR '.join(fits) or '0'})", tuple(args)


def of_owner(globs: Iterable[tuple[int | None, str]], owner: int) -> Globs | None:
    """Those that may mean jobs of this owner; None: all of his are meant."""
    found = tuple(dict.fromkeys((None, pattern) for uid, pattern in globs if uid in (None, owner)))
    return None if (None, "*") in found else found


def sql_glob(pattern: str) -> str:
    """A pattern of fnmatch for SQLite's GLOB: a set is negated by `^` there, and a `[` without end fits nothing."""
    parts = []
    at = 0
    while at < len(pattern):
        set_end = pattern.find("]", at + 2 + pattern.startswith("!", at + 1)) if pattern[at] == "[" else at
        if set_end < 0:
            parts.append("[[]")
            set_end = at
        elif pattern[at] != "[":
            parts.append(pattern[at])
        else:
            members = pattern[at + 1 : set_end]
            negated = members.startswith("!")
            literal = "\x01" if members.startswith("^") else ""  # no name has it; a `^` behind it is itself
            parts.append(f"[^{members[1:]}]" if negated else f"[{literal}{members}]")
        at = set_end + 1
    return "".join(parts)
