"""Frames that nobody should send, made from those that somebody does: by the dice alone, so that a seed repeats them.

Two kinds, because each reaches where the other does not. Damage of bytes is what a decoder has to live with; nearly all
of it ends there. A message of the right shape with an odd value in it comes through to the handlers.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import msgspec

from jobd.wire.frames import MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

# Where a number, a text or a list stops to be what everybody expects: bounds of types, of the protocol and of the
# parsers behind them, and what has a meaning of its own to one of those.
ODD_INTS: Final = (
    0, 1, -1, 2, 64, 65, 127, 128, 255, 256, 1000, 4096, 65_535, 65_536, 2**31 - 1, 2**31, -(2**31), 2**32, 2**53,
    2**53 + 1, 10**18, 2**62, 2**63 - 1, -(2**63), 2**64 - 1,
)  # fmt: skip
ODD_TEXTS: Final = (
    "", " ", "*", "**", "?", "[", "[!", "[a-", "]", "/", "//", "a/b", "*/*", "0/web", "root/web", "nobody/web",
    "/web", "web/", "99999999999/web", "-1/web", "web", "live", "web*", "@", "web@", "web@x", "@x", "web@*", ".",
    "..", "../..", "-1", "-0", "+1", "0", "1", "3", "all", "@0", "1e9", "inf", "nan", "-inf", "1e400", "9" * 40,
    "0x10", "1_0", "٣", "0-9", "0-99999", "1-2:0", "9-1", "0-9%0", "1,2,3", "0-18446744073709551615", "web:any",
    "web:", ":any", "web:ok:ok", "1s", "5min 3", "-5s", "1G", "infinity", "16EiB", "100%", "%i", "%", "$X", "${X",
    "~", "~nobody", "c0ffee", "0192f3a1b2c37d4e8f5a0123456789ab", "ffffffffffffffffffffffffffffffff", "77",
    "7 1000/backup", "1000/make", "7 /", "9999999999999999999 0/x", "a\nb", "a\tb", "\x1b[2J", "\u202e", "\ud7ff",
    "\uffff", "\U0001f600", "é" * 48, "a" * 63, "a" * 64, "a" * 65, "a" * 96, "a" * 97, "a" * 4096, "*" * 96,
    "[" * 96, "a\0b", "shared/batch", "running", "failed", "enabled", "main", "status", "stop", "override.toml",
    "../x.toml", "x = 1", "command = 'true'", "[", "a = " + "[" * 200, "command = 'true'\nrestart.when = 'always'",
    "99999999999999999999/web", "99999999999999999999 0/web", "9" * 5000, "0\x1f", "[[a]", "(a", "a*" * 40,
    "schedule.on = '*-*-* *:*:*'", "'''", "queue", "paused", "pty", "pipe",
)  # fmt: skip
ODD_BYTES: Final = (
    b"", b"\0", b"/", b"=", b"=x", b"A", b"A=", b"true", b"\xff\xfe", b"/nowhere", b"x" * 4096, bytes(16),
)  # fmt: skip
ODD: Final[tuple[object, ...]] = (
    None, True, False, 0.0, -1.5, float("nan"), float("inf"), 1e300, [], {}, [[]], {"": ""}, msgspec.Raw(b"\xc1"),
    *(msgspec.Raw(b"\x91" * depth + b"\x01") for depth in (30, 58, 59, 60, 61, 62, 63, 64, 500)),
)  # fmt: skip
LARGEST: Final = b"\xdd\xde\xdf\xdb\xdc\xda\xc6\xc5\xc9\xc8"  # first bytes that announce much, or what we never send


class Mutator:
    """Makes odd frames out of good ones."""

    def __init__(self, seed: int | str, samples: Sequence[bytes]) -> None:
        self.dice = random.Random(seed)
        self.samples = list(samples)
        self._values = [msgspec.msgpack.decode(body) for body in self.samples]

    def body(self) -> bytes:
        """A body of either kind; one in twenty of both."""
        roll = self.dice.random()
        if roll < 0.45:
            return self.damaged(self.dice.choice(self.samples))
        body = self.odd()
        return self.damaged(body) if roll > 0.95 else body

    # --- bytes ----------------------------------------------------------------------------------------------------
    def damaged(self, body: bytes) -> bytes:
        """`body` with one to four hurts."""
        data = bytearray(body)
        for _ in range(self.dice.randint(1, 4)):
            self._hurt(data)
        return bytes(data[:MAX])

    def _hurt(self, data: bytearray) -> None:
        dice = self.dice
        at, end = sorted((dice.randrange(len(data) + 1), dice.randrange(len(data) + 1)))
        kind = dice.randrange(8)
        if kind == 0 and data:
            data[min(at, len(data) - 1)] ^= 1 << dice.randrange(8)
        elif kind == 1 and data:
            data[min(at, len(data) - 1)] = dice.randrange(256)
        elif kind == 2:
            del data[at : min(end, at + 8)]
        elif kind == 3:
            data[at:at] = dice.randbytes(dice.randint(1, 8))
        elif kind == 4:
            data[end:end] = data[at:end]
        elif kind == 5:
            del data[at:]
        elif kind == 6:
            data[at:at] = bytes((dice.choice(LARGEST),)) + dice.choice((b"", b"\xff" * 4, b"\0\0\0\x01"))
        else:
            other = dice.choice(self.samples)
            data[at:end] = other[dice.randrange(len(other)) :]

    # --- values ---------------------------------------------------------------------------------------------------
    def odd(self) -> bytes:
        """A message that has its shape, mostly, and odd values in one to three places."""
        value = self.dice.choice(self._values)
        for _ in range(self.dice.choice((1, 1, 1, 2, 3))):
            value = self._changed(value, top=True)
        return msgspec.msgpack.encode(value)[:MAX]  # texts may have doubled again and again

    def _changed(self, value: object, *, top: bool = False) -> object:
        """`value` with another one somewhere in it; nothing that is in `value` is changed itself."""
        dice = self.dice
        if isinstance(value, dict) and value and (top or dice.random() < 0.7):
            names = [key for key in value if key != "type" or dice.random() < 0.02]  # another type is another sample
            key = dice.choice(names or ["type"])
            if dice.random() < 0.04:
                return {name: item for name, item in value.items() if name != key}
            if dice.random() < 0.02:
                return {**value, self._other_text(): value[key]}
            return {**value, key: self._changed(value[key])}
        if isinstance(value, list) and value and dice.random() < 0.7:
            at = dice.randrange(len(value))
            if dice.random() < 0.1:
                return [*value, *value[at:]] * dice.choice((1, 1, 2, 50))
            return [*value[:at], self._changed(value[at]), *value[at + 1 :]]
        return self._other(value)

    def _other(self, value: object) -> object:
        """Something else, of the same type mostly."""
        dice = self.dice
        if dice.random() < 0.15:
            return dice.choice((*ODD, 7, "x", b"x"))
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            return dice.choice(ODD_INTS) if dice.random() < 0.8 else value ^ dice.randint(0, 3)
        if isinstance(value, str):
            return self._other_text()
        if isinstance(value, bytes):
            return dice.choice(ODD_BYTES) if dice.random() < 0.7 else self.damaged(value)
        if isinstance(value, list):
            return dice.choice(([], [self._other_text()], [dice.choice(ODD_INTS)], [bytes(16)], [None]))
        return dice.choice(ODD)

    def _other_text(self) -> str:
        dice = self.dice
        if dice.random() < 0.8:
            return dice.choice(ODD_TEXTS)
        return "".join(
            dice.choice(("a", "/", "*", "0", "-", ".", "@", ":", "é", " ")) for _ in range(dice.randint(1, 9))
        )
