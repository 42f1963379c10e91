"""What checks are aimed at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.core import readers, targets
from jobd.core.targets import Web

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("8000", "", 8000),
        ("localhost:8000", "localhost", 8000),
        ("127.0.0.1:1", "127.0.0.1", 1),
        ("[::1]:65535", "::1", 65535),
        ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
    ],
)
def test_tcp(text: str, host: str, port: int) -> None:
    assert targets.tcp(text) == (host, port)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no port"),
        ("0", "no port"),
        ("65536", "no port"),
        ("web", "no port"),
        ("web:", "no port"),
        (":80", "write '80' alone"),
        ("::1:80", "brackets"),
        ("a b:80", "no host that"),
        ("x" * 254 + ":80", "no host that"),
        ("host:\uff18\uff10", "no port"),
    ],
)
def test_tcp_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        targets.tcp(text)


@pytest.mark.parametrize(
    ("text", "web"),
    [
        ("http://localhost", Web("localhost", 80, "/")),
        ("http://localhost:8000/healthz?x=1#part", Web("localhost", 8000, "/healthz?x=1")),
        ("http://[::1]/", Web("::1", 80, "/")),
        ("http://[::1]:81/a:b", Web("::1", 81, "/a:b")),
        ("http://h?q", Web("h", 80, "/?q")),
    ],
)
def test_http(text: str, web: Web) -> None:
    assert targets.http(text) == web


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("https://h/", "TLS"),
        ("localhost:8000", "begins with http://"),
        ("http://", "no host"),
        ("http://:80/", "no host"),
        ("http://h:x/", "no port"),
        ("http://h:/", "no port"),
        ("http://me:word@h/", "log in nowhere"),
        ("http://h/a b", "with %"),
        ("http://h/\r\nX: y", "with %"),
        ("http://h/ä", "with %"),
        ("http://::1/", "brackets"),
    ],
)
def test_http_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        targets.http(text)


@pytest.mark.parametrize("read", [targets.tcp, targets.http])
@given(text=st.text(max_size=80))
def test_any_text_is_read_or_refused(read: Callable[[str], object], text: str) -> None:
    for word in (text, "http://" + text, text + ":80"):
        try:
            read(word)
        except ValueError as error:
            assert str(error)  # noqa: PT017  # whichever it is


@pytest.mark.parametrize("word", ["8000", "localhost:8000", "127.0.0.1:1", "[::1]:65535", "db.example.org:5432"])
def test_what_job_files_may_say_of_tcp_is_understood(word: str) -> None:
    assert targets.tcp(readers.address(word))[1]


@pytest.mark.parametrize("word", ["http://localhost:8000/healthz?x=1", "http://[::1]:81", "http://db.example.org"])
def test_what_job_files_may_say_of_http_is_understood(word: str) -> None:
    assert targets.http(readers.url(word)).host
