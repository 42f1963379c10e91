"""Compares the streams that were written to pipes with those that the pump left in files and index. Pure."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from tests.fault.report import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

KINDS = ("missing bytes", "extra bytes", "wrong bytes", "index")


def check_bytes(name: str, wanted: Iterable[bytes], got: Iterable[bytes]) -> list[Problem]:
    """What is wrong with a stream; both sides come in pieces of any size, and neither is kept."""
    left, right = _Bytes(wanted), _Bytes(got)
    while True:
        size = min(left.ready(), right.ready())
        if not size:
            break
        a, b = left.take(size), right.take(size)
        if a != b:
            at = left.taken - size + next(i for i, pair in enumerate(zip(a, b, strict=True)) if pair[0] != pair[1])
            return [Problem("wrong bytes", name, f"from byte {at} on")]
    if missing := left.rest():
        return [Problem("missing bytes", name, f"the last {missing} of {left.taken}")]
    if extra := right.rest():
        return [Problem("extra bytes", name, f"{extra} behind the end at {left.taken}")]
    return []


class _Bytes:
    """Pieces, to be taken in other sizes."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._piece = b""
        self._at = 0
        self.taken = 0

    def ready(self) -> int:
        """How many bytes can be taken at once; 0 at the end."""
        while self._at == len(self._piece):
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._piece, self._at = piece, 0
        return len(self._piece) - self._at

    def take(self, size: int) -> bytes:
        found = self._piece[self._at : self._at + size]
        self._at += size
        self.taken += size
        return found

    def rest(self) -> int:
        """How many bytes are left; they are taken."""
        count = 0
        while size := self.ready():
            self.take(size)
            count += size
        return count


def check_index(name: str, size: int, records: Iterable[tuple[int, int]]) -> list[Problem]:
    """Whether what the index shows of a stream, as (offset, length), is the whole of it, once and in order."""
    end = 0
    for offset, length in itertools.chain(records, [(size, 0)]):
        if offset != end:
            what = "a gap" if offset > end else "twice the same"
            return [Problem("index", name, f"{what} at byte {min(offset, end)} of {size}")]
        end += length
    return []
