"""The settings that were last taken, kept for the next daemon of the same keeper.

A daemon may be replaced at any moment, also while somebody is editing jobd.toml: rules that hold do not end with it.
A keeper that starts anew begins without: what is on disk then may be years old.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

NAME: Final = "settings.last"
_SAFE: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class LastGood:
    """A file in the state directory: the keeper's id in its first line, then the text. Blocks on the disk."""

    def __init__(self, state_dir: str, keeper: str) -> None:
        self._path = Path(state_dir, NAME)
        self._head = f"{keeper}\n"

    def save(self, text: str) -> None:
        """Keep the text. Raises OSError; then nothing is kept."""
        if self.load() == text:
            return
        fresh = self._path.with_suffix(".new")
        with suppress(FileNotFoundError):
            fresh.unlink()
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE
            with open(os.open(fresh, flags, 0o600), "w", encoding="utf-8", newline="") as file:
                file.write(self._head + text)
            fresh.replace(self._path)
        except OSError:
            with suppress(OSError):
                self._path.unlink()  # it is not what is in force
            raise

    def load(self) -> str | None:
        """The text, if this keeper's daemon has kept one."""
        try:
            with open(os.open(self._path, os.O_RDONLY | _SAFE), encoding="utf-8", newline="") as file:
                info = os.fstat(file.fileno())
                if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o077:
                    return None
                return file.read() if file.readline() == self._head else None
        except (OSError, ValueError):
            return None
