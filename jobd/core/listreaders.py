"""Readers of lists of a job file, and of its environment; as `jobd.core.readers`."""

from __future__ import annotations

import os
import re
import shlex
from typing import Final

from jobd.core import calendartext, envfile, names
from jobd.core.readers import MAX_TEXT, quoted, text
from jobd.core.spec import MAX_DIGITS, SpecError, parse_signal
from jobd.core.tomlread import SHOWN, ReadError, kind

MAX_ITEMS: Final = 4096
MAX_FILES: Final = 64  # with environments: as many as the keeper takes
MAX_CALENDARS: Final = 16  # of one job; who needs more has a program decide
MAX_CODE: Final = 255  # of what wait(2) leaves of an exit code
EXIT_NAMES: Final = {  # sysexits.h, as systemd names them
    name.removeprefix("EX_"): getattr(os, name) for name in sorted(dir(os)) if name.startswith("EX_")
}
_VARIABLE: Final = re.compile(r"\$\{?[A-Za-z_]")
_OPERATORS: Final = frozenset(("|", "||", "&", "&&", ";", ">", ">>", "<", "<<", "2>", "2>>", "2>&1", "&>"))


def strings(value: object) -> list[str]:
    """A list of strings; those of an empty one are none."""
    if isinstance(value, str):
        raise ReadError(f"must be a list of strings, not a string; write [{quoted(value)}]")
    if not isinstance(value, list):
        raise ReadError(f"must be a list of strings, not {kind(value)}")
    if len(value) > MAX_ITEMS:
        raise ReadError(f"has more than {MAX_ITEMS} elements")
    wrong = []
    for at, item in enumerate(value):
        if not isinstance(item, str):
            hint = f'; write "{item}"' if isinstance(item, int | float) and not isinstance(item, bool) else ""
            wrong.append((f"must be a list of strings; {kind(item)} is in it{hint[:SHOWN]}", at))
        elif "\0" in item:
            wrong.append(("has a NUL, which no program can be given", at))
        elif len(item) > MAX_TEXT:
            wrong.append((f"has a string of more than {MAX_TEXT} characters", at))
    if wrong:
        raise ReadError(*wrong[0], more=wrong[1:])
    return value


def split(value: object) -> object:
    """A command that is one string as the list of its words; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return shlex.split(value)
    except ValueError as error:
        why = "a quotation mark has no partner" if "quotation" in str(error) else "a backslash is the last character"
        raise ReadError(f"cannot be split into words: {why}") from error


def file_names(value: object) -> list[str]:
    """Paths of environment files."""
    found = strings(value)
    if len(found) > MAX_FILES:
        raise ReadError(f"has more than {MAX_FILES} files")
    return found


def command(value: object) -> tuple[bytes, ...]:
    """An argv."""
    words = strings(value)
    if not words or not words[0]:
        raise ReadError("is empty" if not words else "has an empty word for the program")
    return tuple(word.encode() for word in words)


def looks_like_shell(value: object) -> str:
    """The first word of a command that only a shell would understand, or ""."""
    if isinstance(value, list):
        return next((w for w in value if isinstance(w, str) and _VARIABLE.match(w)), "")
    if not isinstance(value, str):
        return ""
    try:
        words = shlex.split(value)
    except ValueError:
        return ""
    return next((w for w in words if w in _OPERATORS or w.startswith(("$", "~/")) or "$(" in w or "${" in w), "")


def job_names(value: object) -> tuple[str, ...]:
    """Names of jobs, each once."""
    words = strings(value)
    wrong = []
    for at, word in enumerate(words):
        owner, name = names.split_owner(word)
        if owner is not None:
            wrong.append((f'has "{word[:SHOWN]}": jobs depend on jobs of the same owner; write "{name[:SHOWN]}"', at))
        elif not names.valid_job_name(word):
            wrong.append((f"has no name of a job: {names.why_invalid(word)}", at))
    if wrong:
        raise ReadError(*wrong[0], more=wrong[1:])
    return tuple(dict.fromkeys(words))


def calendar(value: object) -> tuple[str, ...]:
    """Calendar expressions, as they are written. One may stand alone."""
    words = strings([value] if isinstance(value, str) else value)
    if len(words) > MAX_CALENDARS:
        raise ReadError(f"has more than {MAX_CALENDARS} expressions")
    wrong = []
    for at, word in enumerate(words):
        try:
            calendartext.parse(word)
        except ValueError as error:
            what = 'a calendar expression, such as "Mon..Fri 03:00" or "0 3 * * 1-5"'
            wrong.append((f"must be {what}, not {quoted(word)}: {error}", at if isinstance(value, list) else None))
    if wrong:
        raise ReadError(*wrong[0], more=wrong[1:])
    return tuple(" ".join(word.split()) for word in words)


def statuses(value: object) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Exit codes and signals, each sorted: of `[75, "TEMPFAIL", "SIGTERM"]`."""
    items = value if isinstance(value, list) else [value]
    codes, signals, wrong = set(), set(), []
    for at, item in enumerate(items):
        if (isinstance(item, int) and not isinstance(item, bool)) or (isinstance(item, str) and _is_number(item)):
            code = int(item.strip()[:MAX_DIGITS]) if isinstance(item, str) else item
            if 0 <= code <= MAX_CODE:
                codes.add(code)
            else:
                wrong.append((f"must be exit codes from 0 to {MAX_CODE}, not {quoted(item)}", at))
        elif isinstance(item, str) and item.strip().upper().removeprefix("EX_") in EXIT_NAMES:
            codes.add(EXIT_NAMES[item.strip().upper().removeprefix("EX_")])
        elif isinstance(item, str):
            try:
                signals.add(parse_signal(item[:SHOWN]))
            except SpecError as error:
                wrong.append((f'must be exit codes and signals, such as [75, "SIGKILL"]: {error}', at))
        else:
            wrong.append((f'must be exit codes and signals, such as [75, "SIGKILL"], not {quoted(item)}', at))
    if wrong:
        raise ReadError(*wrong[0], more=wrong[1:])
    return tuple(sorted(codes)), tuple(sorted(signals))


def _is_number(word: str) -> bool:
    return word.strip().isascii() and word.strip().isdecimal()


def environment(value: object) -> dict[str, str]:
    """Variables by name."""
    if not isinstance(value, dict):
        raise ReadError(f'is a table, such as {{ PORT = "8000" }}, not {kind(value)}')
    if len(value) > MAX_ITEMS:
        raise ReadError(f"has more than {MAX_ITEMS} variables")
    wrong: list[tuple[str, int | str | None]] = []
    found = {}
    for name, item in value.items():
        if not envfile.valid_name(name.encode()):
            wrong.append((f"has a variable {quoted(name)}: letters, digits and _ are allowed, no digit first", name))
        elif isinstance(item, bool) or not isinstance(item, str):
            hint = f'; write {name[:SHOWN]} = "{str(item).lower()[:SHOWN]}"' if isinstance(item, int | float) else ""
            wrong.append((f"has strings alone, and {name[:SHOWN]} is {kind(item)}{hint}", name))
        else:
            try:
                found[name] = text(item)
            except ReadError as error:
                wrong.append((f"has {name[:SHOWN]}, which {error}", name))
    if wrong:
        raise ReadError(*wrong[0], more=wrong[1:])
    return found
