"""The words of -H: `[user@]host[:port]`, or several with commas between them; checked before any program sees them."""

from __future__ import annotations

from jobctl.exits import UsageError

MAX_HOSTS = 256
MAX_PORT = 65535
# In a ProxyCommand of ssh_config a host's name may come to a shell.
_NOT_IN_NAMES = frozenset(" \t\"'`$\\;&<>|(){}*?!#~^=,[]")


class Host:
    """One host, as it was typed and as ssh wants it."""

    __slots__ = ("destination", "port", "word")

    def __init__(self, word: str, destination: str, port: str = "") -> None:
        self.word = word
        self.destination = destination  # [user@]host
        self.port = port


def split(words: str) -> list[str]:
    """The words between the commas, each once."""
    found = list(dict.fromkeys(words.split(",")))
    if "" in found:
        raise UsageError("-H needs the name of a host, or several with a comma between them")
    if len(found) > MAX_HOSTS:
        raise UsageError(f"cannot speak to {len(found)} hosts at a time: {MAX_HOSTS} are allowed")
    return found


def parse(word: str) -> Host:
    """One host. Raises UsageError."""
    user, at, rest = word.rpartition("@")
    host, port = rest, ""
    if rest.startswith("["):
        host, bracket, behind = rest[1:].partition("]")
        if not bracket or (behind and not behind.startswith(":")):
            raise _unreadable(word, "an address with colons is written [ADDRESS]:PORT")
        port = behind[1:]
        _check_port(word, port, bool(behind))
    elif rest.count(":") == 1:
        host, _, port = rest.partition(":")
        _check_port(word, port, True)
    if not host or (at and not user):
        raise _unreadable(word, "it is [USER@]HOST[:PORT]")
    for name in (user, host):
        if name.startswith("-"):
            raise _unreadable(word, "no name begins with a -")
        if not name.isprintable() or not _NOT_IN_NAMES.isdisjoint(name):
            raise _unreadable(word, "no name has such characters")
    return Host(word, f"{user}{at}{host}", port)


def _check_port(word: str, port: str, is_there: bool) -> None:
    if is_there and not (port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) <= MAX_PORT):
        raise _unreadable(word, "a port is a number up to 65535")


def _unreadable(word: str, why: str) -> UsageError:
    return UsageError(f"cannot read the host {word!r}: {why}")
