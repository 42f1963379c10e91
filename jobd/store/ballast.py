"""A file of 4 MiB that is only there to be removed: the room for the last writes on a full disk.

With it gone, exits can still be recorded and retention can still delete; new runs are refused until it is there again.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

# DESIGN.md's companion on durability: 4 MiB. It is also the size at which the write-ahead log is folded back into the
# database (1,000 pages), so that what it frees is enough to get through one such round.
SIZE_BYTES: Final = 4 << 20
# Made again only when that leaves as much free beside it, else it would come and go.
SPARE_BYTES: Final = SIZE_BYTES


class Ballast:
    """The ballast file of one state directory."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "ballast"

    def is_there(self) -> bool:
        """Whether it is in place, whole."""
        try:
            return self._path.stat().st_size == SIZE_BYTES
        except OSError:
            return False

    def release(self) -> bool:
        """Give its room to others. Returns whether there was any to give."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def restore(self) -> bool:
        """Make it if there is room to spare. Returns whether it is in place."""
        if self.is_there():
            return True
        try:
            disk = os.statvfs(self._path.parent)
            if disk.f_bavail * disk.f_frsize < SIZE_BYTES + SPARE_BYTES:
                return False
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.posix_fallocate(fd, 0, SIZE_BYTES)
            finally:
                os.close(fd)
        except OSError:
            with contextlib.suppress(OSError):
                self._path.unlink()
            return False
        return True
