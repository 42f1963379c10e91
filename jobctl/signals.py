"""Names and numbers of signals, from the C module: `signal` builds enums, which costs a hot verb 2 ms."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # as the docstring says

from jobctl.exits import UsageError

_NUMBERS = {
    name: number for name in dir(_signal) if name.startswith("SIG") and "_" not in name
    for number in (getattr(_signal, name),) if isinstance(number, int)
}  # fmt: skip
MAX_DIGITS = 9  # that are looked at: more are no signal anyway, and int() refuses thousands of them
_OTHER_NAMES = ("SIGCLD", "SIGIOT", "SIGPOLL")  # second names of SIGCHLD, SIGABRT and SIGIO
_NAMES = {number: name for name, number in _NUMBERS.items() if name not in _OTHER_NAMES}


def signal_name(number: int) -> str:
    """SIGTERM for 15; real-time signals as SIGRTMIN+N."""
    if number in _NAMES:
        return _NAMES[number]
    if _NUMBERS["SIGRTMIN"] < number < _NUMBERS["SIGRTMAX"]:
        return f"SIGRTMIN+{number - _NUMBERS['SIGRTMIN']}"
    return f"SIG{number}"


def signal_number(text: str) -> int:
    """The number for `TERM`, `SIGTERM`, `sigterm`, `15`, `RTMIN+3`.

    Raises:
        UsageError: there is no such signal.
    """
    word = text.strip().upper().removeprefix("SIG")
    base, plus, extra = word.partition("+")
    if word.isdecimal():
        number = int(word[:MAX_DIGITS])
    elif plus:
        number = _NUMBERS["SIGRTMIN"] + int(extra[:MAX_DIGITS]) if base == "RTMIN" and extra.isdecimal() else 0
    else:
        number = _NUMBERS.get(f"SIG{word}", 0)
    if not 1 <= number <= _NUMBERS["SIGRTMAX"]:
        from jobd.core.names import closest

        meant = closest(word, [name.removeprefix("SIG") for name in _NUMBERS])
        if meant:
            raise UsageError(f"unknown signal {text!r}; did you mean SIG{meant}?")
        raise UsageError(f"cannot send signal {text!r}: give a name such as TERM, or a signal number of this system")
    return number
