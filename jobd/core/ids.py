"""Run ids: UUIDs of version 7 (RFC 9562), 16 bytes, made by the client; they sort by the time they were made."""

from __future__ import annotations

import os
import time

RUN_ID_BYTES = 16
# Begins the id of an operation that is a person's own signal: each is meant anew, and the keeper remembers none.
USER_OPERATION = "user-"
# Begins that of a signal that has a name of its client's making, under which it is sent once: the last few are known.
ONCE_OPERATION = "once-"
ONCE_REMEMBERED = 16  # of each run; a client asks again within seconds
RANDOM_BYTES = 8


def uuid7(now_ns: int, rand: bytes) -> bytes:
    """The UUIDv7 for the wall-clock time `now_ns` and 8 random bytes (62 bits of them are used).

    The 12 bits after the milliseconds are their fraction (RFC 9562, section 6.2, method 3), so that the ids one
    process makes in a row sort in that order.
    """
    milliseconds, rest_ns = divmod(now_ns, 1_000_000)
    fraction = (rest_ns << 12) // 1_000_000
    high = (milliseconds & (1 << 48) - 1) << 16 | 0x7000 | fraction
    low = 1 << 63 | int.from_bytes(rand[:RANDOM_BYTES], "big") & (1 << 62) - 1
    return (high << 64 | low).to_bytes(RUN_ID_BYTES, "big")


def new_run_id() -> bytes:
    """A fresh run id."""
    return uuid7(time.time_ns(), os.urandom(RANDOM_BYTES))
