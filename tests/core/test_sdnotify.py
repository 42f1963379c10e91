"""Datagrams of sd_notify(3): what they say, and that any bytes say something or nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.core import sdnotify
from jobd.core.sdnotify import FOREVER, MAX_BYTES, MAX_STATUS, Message, parse


@pytest.mark.parametrize(
    ("datagram", "said"),
    [
        (b"READY=1", Message(ready=True)),
        (b"READY=1\n", Message(ready=True)),
        (b"READY=1\0", Message(ready=True)),
        (b"READY=0", Message()),
        (b"READY", Message()),
        (b"ready=1", Message()),
        (b"", Message()),
        (b"\n\n=\n", Message()),
        (b"X_MINE=1\nMONOTONIC_USEC=12\nNOTIFYACCESS=all", Message()),
        (b"RELOADING=1\nMONOTONIC_USEC=3", Message(reloading=True)),
        (b"STOPPING=1\nSTATUS=Going", Message(stopping=True, status="Going")),
        (b"STATUS=", Message(status="")),
        (b"STATUS=a=b", Message(status="a=b")),
        (b"STATUS=first\nSTATUS=second", Message(status="first")),
        ("STATUS=zwölf".encode(), Message(status="zwölf")),
        (b"STATUS=\xff\x1b[2J", Message(status="\\xff\x1b[2J")),
        (b"WATCHDOG=1", Message(watchdog=sdnotify.PING)),
        (b"WATCHDOG=trigger", Message(watchdog=sdnotify.TRIGGER)),
        (b"WATCHDOG=2", Message(ignored=("WATCHDOG=2",))),
        (b"WATCHDOG_USEC=20000000", Message(watchdog_usec=20_000_000)),
        (b"WATCHDOG_USEC=0", Message(watchdog_usec=0)),
        (b"WATCHDOG_USEC=%d" % FOREVER, Message(watchdog_usec=0)),
        (b"WATCHDOG_USEC=%d" % (FOREVER + 1), Message(ignored=(f"WATCHDOG_USEC={FOREVER + 1}",))),
        (b"EXTEND_TIMEOUT_USEC=5", Message(extend_usec=5)),
        (b"EXTEND_TIMEOUT_USEC=0", Message()),
        (b"EXTEND_TIMEOUT_USEC=%d" % FOREVER, Message()),
        (b"EXTEND_TIMEOUT_USEC=%d" % (FOREVER - 1), Message(extend_usec=sdnotify.MAX_USEC)),
        (b"MAINPID=42", Message(main_pid=42)),
        (b"MAINPID=1", Message(ignored=("MAINPID=1",))),
        (b"MAINPID=0042", Message(main_pid=42)),
        (b"MAINPID=-42", Message(ignored=("MAINPID=-42",))),
        (b"MAINPID= 42", Message(ignored=("MAINPID= 42",))),
        (b"MAINPID=4_2", Message(ignored=("MAINPID=4_2",))),
        (b"MAINPID=4194305", Message(ignored=("MAINPID=4194305",))),
        ("MAINPID=\uff14\uff12".encode(), Message(ignored=("MAINPID=\\uff14\\uff12",))),
        (b"MAINPID=" + b"9" * 50, Message(ignored=("MAINPID=" + "9" * 40 + "…",))),
        (b"ERRNO=2", Message(errno=2)),
        (b"ERRNO=4096", Message(ignored=("ERRNO=4096",))),
        (b"ERRNO=ENOENT\nREADY=1", Message(ready=True, ignored=("ERRNO=ENOENT",))),
        (b"BARRIER=1", Message(barrier=True)),
        (b"BARRIER=0", Message()),
        (b"READY=1\nSTATUS=Up\nMAINPID=7", Message(ready=True, status="Up", main_pid=7)),
    ],
)
def test_what_a_datagram_says(datagram: bytes, said: Message) -> None:
    assert parse(datagram) == said


def test_a_barrier_says_nothing_else() -> None:
    said = parse(b"BARRIER=1\nREADY=1")
    assert (said.barrier, said.ready) == (True, False)
    assert "together" in said.ignored[0]


def test_descriptors_are_not_kept_and_that_is_said() -> None:
    said = parse(b"FDSTORE=1\nFDNAME=web\nREADY=1")
    assert said.ready
    assert "not kept" in said.ignored[0]


@pytest.mark.parametrize("datagram", [b"STATUS=" + b"x" * MAX_BYTES, b"READY=1\nSTATUS=a\0b", b"\0\0"])
def test_what_is_no_notification_is_ignored_as_a_whole(datagram: bytes) -> None:
    said = parse(datagram)
    assert said == Message(ignored=said.ignored)
    assert said.ignored


def test_a_long_status_is_cut() -> None:
    said = parse(b"STATUS=" + b"x" * 4000)
    assert said.status == "x" * (MAX_STATUS - 1) + "…"


@given(st.binary(max_size=MAX_BYTES + 10))
def test_any_bytes_can_be_read(datagram: bytes) -> None:
    check(parse(datagram))


_NAMES = st.sampled_from(
    ["READY", "RELOADING", "STOPPING", "BARRIER", "WATCHDOG", "WATCHDOG_USEC", "EXTEND_TIMEOUT_USEC", "MAINPID",
     "ERRNO", "STATUS", "FDSTORE", "FDSTOREREMOVE", "X_Y"]
)  # fmt: skip
_VALUES = st.one_of(st.just(b"1"), st.integers(-5, 2**70).map(lambda n: b"%d" % n), st.binary(max_size=60))


@given(st.lists(st.tuples(_NAMES, _VALUES), max_size=8))
def test_any_lines_can_be_read(lines: list[tuple[str, bytes]]) -> None:
    check(parse(b"\n".join(name.encode() + b"=" + value for name, value in lines)))


def check(said: Message) -> None:
    """All bounds hold, and what is kept can be written to the database and shown."""
    assert said.status is None or len(said.status) <= MAX_STATUS
    assert all(len(why) < 200 and why.isprintable() for why in said.ignored)
    assert said.main_pid is None or 1 < said.main_pid <= sdnotify.MAX_PID
    assert said.errno is None or 0 <= said.errno <= sdnotify.MAX_ERRNO
    assert said.watchdog_usec is None or 0 <= said.watchdog_usec <= sdnotify.MAX_USEC
    assert said.extend_usec is None or 0 < said.extend_usec <= sdnotify.MAX_USEC
    (said.status or "").encode()
    if said.barrier:
        assert not said.changes
