"""The write-ahead log: at its full size from the start, and whether it still has what was in it.

A commit that makes the file longer has the file system write its journal as well: measured 2 ms against 0.4 ms for one
that overwrites. SQLite reuses the log from its beginning once it has grown to 1,000 pages, so that only the commits
before that pay; we let none pay. It reads a log up to the first frame that does not belong to it, which zeros never do.

Nor does a frame that is damaged: what comes behind it is left out without a word. The log's index knows better. It is a
file in shared memory that a killed process leaves as it was (`-shm`, sqlite.org/walformat.html), and it counts a change
only after that is in the log. So it is asked before the database is opened, which makes it anew, and after that.
"""

from __future__ import annotations

import contextlib
import os
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

# wal_autocheckpoint's default of 1,000 pages of 4 KiB, each with a header of 24 bytes, and the log's own of 32.
SIZE_BYTES: Final = 1000 * (4096 + 24) + 32
# As much as the log again stays free, else it is left to grow as it must.
SPARE_BYTES: Final = SIZE_BYTES
_CHUNK: Final = bytes(1 << 18)


def grow(database: Path) -> None:
    """Write zeros behind the log's end, up to its full size, and have them on the disk. Does nothing without room.

    For the one who writes, between two transactions, after the log was made. A descriptor of another of SQLite's files
    must not be closed like this, as its locks would go with it; the log carries none.
    """
    with contextlib.suppress(OSError):  # it grows by itself, then; only slower
        fd = os.open(f"{database}-wal", os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            size = os.fstat(fd).st_size
            disk = os.fstatvfs(fd)
            if disk.f_bavail * disk.f_frsize < SIZE_BYTES - size + SPARE_BYTES:
                return
            while size < SIZE_BYTES:
                size += os.pwrite(fd, _CHUNK[: SIZE_BYTES - size], size)
            os.fdatasync(fd)
        finally:
            os.close(fd)


class _Index(NamedTuple):
    """What the index of a log says: how many pages are in it, and how many of them are in the database as well."""

    salts: bytes
    frames: int
    folded: int


# Of sqlite.org/walformat.html, section 2.1: two copies of a header of 48 bytes, then nBackfill.
_INDEX: Final = struct.Struct("=IIIBBHIIII8sII")
_FOLDED: Final = struct.Struct("=I")
_VERSION: Final = 3_007_000


class Witness:
    """The index of a log, asked before and after the database is opened.

    Its file stays open until `close`, which is for when nobody of this process has the database open any more: closing
    it takes SQLite's locks away.
    """

    def __init__(self, database: Path) -> None:
        self._fd = -1
        with contextlib.suppress(OSError):
            self._fd = os.open(f"{database}-shm", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._before = self._read()

    def lost(self, same_boot: bool) -> int:
        """After the first question to the database: how many pages of changes were in the log and are not any more.

        `same_boot`: the machine was not started anew since. Else the index may be of an earlier log.
        """
        before, after = self._before, self._read()
        if before is None or before.folded >= before.frames:
            return 0
        if after is not None and after.salts == before.salts:
            return max(0, before.frames - after.frames)
        return before.frames if same_boot else 0

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> _Index | None:
        size = _INDEX.size
        try:
            data = b"" if self._fd < 0 else os.pread(self._fd, 2 * size + _FOLDED.size, 0)
        except OSError:
            return None
        if len(data) < 2 * size + _FOLDED.size or data[:size] != data[size : 2 * size]:  # killed while it was written
            return None
        version, _, _, valid, _, _, frames, _, _, _, salts, _, _ = _INDEX.unpack_from(data)
        if version != _VERSION or not valid:
            return None
        return _Index(salts, frames, _FOLDED.unpack_from(data, 2 * size)[0])
