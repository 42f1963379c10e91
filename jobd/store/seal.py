"""Whether a database that was closed is still what it was: SQLite has no checksums in the file itself.

A bit that flips inside a value leaves the file well-formed, and history would say something else without a word. So
whoever closes the database notes its size and a CRC beside it, and whoever opens it compares and takes the note away
before he changes anything. A database that was not closed (its daemon was killed) has no such note.

The note carries the epoch as well: one that an older jobd, which knows no notes, has left behind does not count.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from .damage import sync_directory

if TYPE_CHECKING:
    from pathlib import Path

SUFFIX: Final = ".seal"
_FORMAT: Final = "1"
_NOTE_BYTES: Final = 256
# Measured: a CRC-32 goes at 1 to 5 GB/s, and 100,000 runs are 36 MB.
_READ_BYTES: Final = 1 << 20


class Seal(NamedTuple):
    """What is noted of a closed database."""

    epoch: int
    size: int
    crc: int


def apply(path: Path, epoch: int) -> None:
    """Note what the database is now, after it was closed. Does nothing if it is not closed, or there is no room."""
    if os.path.lexists(f"{path}-wal"):  # somebody else has it open, or not everything could be brought into it
        return
    with contextlib.suppress(OSError):
        note, new = _note(path), path.with_name(f"{path.name}{SUFFIX}.new")
        seal = _measure(path, epoch)
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(fd, f"{_FORMAT} {seal.epoch} {seal.size} {seal.crc}\n".encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(new, note)


def look(path: Path) -> tuple[Seal, Seal] | None:
    """Before the database is opened: what was noted, and what is. None if nothing was noted."""
    try:
        fd = os.open(_note(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            text = os.read(fd, _NOTE_BYTES)
        finally:
            os.close(fd)
        words = text.decode("ascii").split()
        if len(words) != 4 or words[0] != _FORMAT:
            return None
        noted = Seal(*map(int, words[1:]))
        return noted, _measure(path, noted.epoch)
    except (OSError, ValueError):
        return None


def remove(path: Path) -> None:
    """Before the database is changed: take the note away for good."""
    with contextlib.suppress(OSError):  # there is none; or else the epoch tells that it is an old one
        _note(path).unlink()
        sync_directory(path.parent)  # else it may be there again after a power failure, beside a later database


def _note(path: Path) -> Path:
    return path.with_name(path.name + SUFFIX)


def _measure(path: Path, epoch: int) -> Seal:
    """Only while nobody of this process has the database open: closing a file of SQLite's takes its locks away."""
    crc, size = 0, 0
    with path.open("rb", buffering=0) as file:
        while data := file.read(_READ_BYTES):
            crc, size = zlib.crc32(data, crc), size + len(data)
    return Seal(epoch, size, crc)
