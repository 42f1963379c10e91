"""What checks are aimed at, HOST:PORT or a URL, taken apart or refused in words. Pure.

The reader of job files has refused what could not be meant; this one trusts nothing all the same, since what it gives
goes onto a connection.
"""

from __future__ import annotations

from typing import Final, NamedTuple

MAX_TARGET: Final = 1024  # characters: a URL that is longer is a mistake, and so is a pattern
MAX_HOST: Final = 253  # of a name in the DNS (RFC 1035)
HTTP_PORT: Final = 80


class Web(NamedTuple):
    """A URL, taken apart."""

    host: str  # "" is this machine
    port: int
    path: str  # with its query


def tcp(text: str) -> tuple[str, int]:
    """HOST:PORT, [V6]:PORT, or PORT alone, which is of this machine: the host is "" then.

    Raises:
        ValueError: it is none of these.
    """
    host, colon, word = text.rpartition(":")
    if colon and not host:
        raise ValueError(f"{text!r} has no host; write {word!r} alone for this machine")
    return _host(host, text), _port(word, text)


def http(text: str) -> Web:
    """An http URL.

    Raises:
        ValueError: it is none, or one of https: nobody here could say which certificates are good.
    """
    if text.startswith("https:"):
        raise ValueError(f"{text!r} needs TLS; a check speaks plain http, else use command")
    if not text.startswith("http://"):
        raise ValueError(f"{text!r} is no URL that begins with http://")
    if not (text.isascii() and text.isprintable()) or " " in text or len(text) > MAX_TARGET:
        raise ValueError(f"{text[:80]!r} is not a URL: blanks and what is not ASCII are written with %")
    rest = text.removeprefix("http://").partition("#")[0]
    end = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
    place, path = rest[:end], rest[end:]
    if "@" in place:
        raise ValueError(f"{text!r} has a user in it, and checks log in nowhere")
    host, colon, word = place.rpartition(":") if not place.endswith("]") else (place, "", "")
    if not colon:
        host = place
    if not host:
        raise ValueError(f"{text!r} has no host")
    port = _port(word, text) if colon else HTTP_PORT
    return Web(_host(host, text), port, path if path.startswith("/") else "/" + path)


def _host(host: str, text: str) -> str:
    """A name or an address, without the brackets of an IPv6 address."""
    if host.startswith("[") and host.endswith("]") and ":" in host:
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: write an IPv6 address in brackets")
    if len(host) > MAX_HOST or not all(c.isalnum() or c in "-._:%" for c in host) or not host.isascii():
        raise ValueError(f"{text!r} has no host that there could be")
    return host


def _port(word: str, text: str) -> int:
    if not (word.isascii() and word.isdecimal() and len(word) <= 5 and 0 < int(word) < 65536):
        raise ValueError(f"{text!r} has no port from 1 to 65535")
    return int(word)
