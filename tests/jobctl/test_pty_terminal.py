"""The detach key, and a terminal's modes made raw."""

from __future__ import annotations

import os
import termios

import pytest

from jobctl.pty_terminal import DETACH_SEC, DetachKey, _raw

KEY = b"\x1d"


def typed(*keys: tuple[float, bytes]) -> list[bool]:
    detach = DetachKey()
    return [detach.is_in(data, at) for at, data in keys]


@pytest.mark.parametrize(
    "data", [KEY * 3, b"\x1b[93;5u" * 3, b"\x1b[27;5;93~" * 3, b"\x1b[93;5:1u" * 3, b"before" + KEY * 3 + b"after"]
)
def test_three_at_once_are_it(data: bytes) -> None:
    assert typed((0.0, data)) == [True]


def test_three_within_the_time_are_it() -> None:
    assert typed((0.0, KEY), (0.5, KEY), (0.5 + DETACH_SEC / 2, KEY)) == [False, False, True]
    assert typed((0.0, KEY), (0.9, KEY), (1.8, KEY)) == [False, False, False]
    assert typed((0.0, KEY), (0.9, KEY), (1.8, KEY), (1.85, KEY)) == [False, False, False, True]


def test_any_other_key_in_between_begins_anew() -> None:
    assert typed((0.0, KEY * 2 + b"x" + KEY * 2)) == [False]
    assert typed((0.0, KEY * 2), (0.1, b"x"), (0.2, KEY), (0.3, KEY), (0.4, KEY)) == [False] * 4 + [True]
    assert typed((0.0, b"\x1b[93;5:3u" * 9)) == [False]  # it was let go


def test_raw_is_what_cfmakeraw_makes() -> None:
    master, slave = os.openpty()
    before = termios.tcgetattr(slave)
    iflag, oflag, cflag, lflag, _, _, keys = _raw(before)
    assert isinstance(iflag, int)
    assert isinstance(oflag, int)
    assert isinstance(cflag, int)
    assert isinstance(lflag, int)
    assert isinstance(keys, list)
    assert not iflag & (termios.ICRNL | termios.IXON | termios.ISTRIP)
    assert not oflag & termios.OPOST
    assert not lflag & (termios.ECHO | termios.ICANON | termios.ISIG | termios.IEXTEN)
    assert cflag & termios.CSIZE == termios.CS8
    assert (keys[termios.VMIN], keys[termios.VTIME]) == (1, 0)
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)
