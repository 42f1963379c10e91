"""What a service says of itself: one datagram of sd_notify(3), read. Pure.

A datagram is lines of NAME=value. Any bytes give a Message: what cannot be read is left out, and `ignored` says so in
words, so that one bad line costs nothing but itself. As in systemd, the first of two lines with the same name counts,
names that nobody knows are passed over in silence, and a datagram with BARRIER=1 says nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_BYTES: Final = 4096  # of a datagram: systemd's NOTIFY_BUFFER_MAX (PIPE_BUF)
MAX_STATUS: Final = 512  # characters of a status that are kept: what fits on a few lines of a terminal
MAX_USEC: Final = 366 * 24 * 3600 * 1_000_000  # a year; more is as good as never
MAX_PID: Final = 1 << 22  # PID_MAX_LIMIT of Linux
MAX_ERRNO: Final = 4095  # MAX_ERRNO of Linux
MAX_VALUE: Final = 40  # characters of a bad value that a reason repeats
FOREVER: Final = (1 << 64) - 1  # systemd's USEC_INFINITY

PING, TRIGGER = "ping", "trigger"
_KNOWN: Final = frozenset(
    (
        b"READY", b"RELOADING", b"STOPPING", b"BARRIER", b"WATCHDOG", b"WATCHDOG_USEC", b"EXTEND_TIMEOUT_USEC",
        b"MAINPID", b"ERRNO", b"STATUS", b"FDSTORE", b"FDSTOREREMOVE",
    )
)  # fmt: skip


class Message(Struct, frozen=True, omit_defaults=True):
    """One datagram. None, False and "" where it says nothing of it."""

    ready: bool = False
    reloading: bool = False
    stopping: bool = False
    barrier: bool = False  # its sender waits until this has been read
    watchdog: str = ""  # PING: it lives; TRIGGER: it is to be treated as hung
    watchdog_usec: int | None = None  # the new interval; 0: none any more
    extend_usec: int | None = None
    main_pid: int | None = None
    errno: int | None = None
    status: str | None = None  # at most MAX_STATUS characters; "" takes the last one back
    ignored: tuple[str, ...] = ()  # what could not be read, in words

    @property
    def changes(self) -> bool:
        """Whether it says anything that is kept, beside its status."""
        said = (self.watchdog_usec, self.extend_usec, self.main_pid, self.errno)
        return self.ready or self.reloading or self.stopping or any(value is not None for value in said)


def parse(datagram: bytes) -> Message:
    """Read one datagram; of any bytes."""
    if len(datagram) > MAX_BYTES:
        return Message(ignored=(f"a notification of more than {MAX_BYTES} bytes",))
    datagram = datagram.removesuffix(b"\0")  # some send it as a C string
    if b"\0" in datagram:
        return Message(ignored=("a notification with a NUL byte in it",))
    said: dict[bytes, bytes] = {}
    for line in datagram.split(b"\n"):
        name, equals, value = line.partition(b"=")
        if equals and name in _KNOWN:
            said.setdefault(name, value)
    if said.get(b"BARRIER") == b"1":
        more = ("BARRIER=1 was sent together with other words",) if len(said) > 1 else ()
        return Message(barrier=True, ignored=more)
    reader = _Reader(said)
    return Message(
        ready=reader.flag(b"READY"),
        reloading=reader.flag(b"RELOADING"),
        stopping=reader.flag(b"STOPPING"),
        watchdog=reader.watchdog(),
        watchdog_usec=reader.number(b"WATCHDOG_USEC", 0, FOREVER, _interval),
        extend_usec=reader.number(b"EXTEND_TIMEOUT_USEC", 0, FOREVER, _extension),
        main_pid=reader.number(b"MAINPID", 2, MAX_PID),
        errno=reader.number(b"ERRNO", 0, MAX_ERRNO),
        status=reader.status(),
        ignored=reader.reasons(),
    )


class _Reader:
    """The lines of one datagram by name, and what was wrong with them."""

    def __init__(self, said: dict[bytes, bytes]) -> None:
        self._said = said
        self._wrong: list[str] = []

    def flag(self, name: bytes) -> bool:
        """READY and its like: 1 says it, anything else does not (sd_notify(3) has no READY=0)."""
        return self._said.get(name) == b"1"

    def watchdog(self) -> str:
        value = self._said.get(b"WATCHDOG")
        if value is None:
            return ""
        word = {b"1": PING, b"trigger": TRIGGER}.get(value, "")
        if not word:
            self._reject(b"WATCHDOG", value)
        return word

    def number(
        self, name: bytes, least: int, most: int, read: Callable[[int], int | None] = lambda value: value
    ) -> int | None:
        value = self._said.get(name)
        if value is None:
            return None
        # Twenty digits are enough for 2**64, and int() of many digits takes its time.
        number = int(value) if value.isdigit() and len(value) <= 20 else -1
        if not least <= number <= most:
            self._reject(name, value)
            return None
        return read(number)

    def status(self) -> str | None:
        value = self._said.get(b"STATUS")
        if value is None:
            return None
        text = value.decode("utf-8", "backslashreplace")
        return text if len(text) <= MAX_STATUS else text[: MAX_STATUS - 1] + "…"

    def reasons(self) -> tuple[str, ...]:
        if self._said.get(b"FDSTORE") == b"1" or b"FDSTOREREMOVE" in self._said:
            self._wrong.append("FDSTORE: descriptors are not kept by this version")
        return tuple(self._wrong)

    def _reject(self, name: bytes, value: bytes) -> None:
        shown = ascii(value[:MAX_VALUE].decode("utf-8", "backslashreplace"))
        self._wrong.append(f"{name.decode()}={shown[1:-1]}{'…' if len(value) > MAX_VALUE else ''}")


def _interval(usec: int) -> int:
    """Of the watchdog; systemd takes infinity for none, too."""
    return 0 if usec > MAX_USEC else usec


def _extension(usec: int) -> int | None:
    """Of a timeout; as in systemd, nothing and infinity say nothing."""
    return None if usec in (0, FOREVER) else min(usec, MAX_USEC)
