"""The machine's time zone, for what says none: read from the machine, which is all that is not pure about it."""

from __future__ import annotations

import os
from datetime import UTC
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from datetime import tzinfo

LOCALTIME: Final = "/etc/localtime"  # localtime(5)


def local_zone(path: str = LOCALTIME) -> tzinfo:
    """The zone of $TZ, or of the machine; UTC where none is set or it cannot be read."""
    name = os.environ.get("TZ", "").removeprefix(":")
    try:
        if name and not name.startswith("/"):
            return ZoneInfo(name)
        with open(name or path, "rb") as file:
            return ZoneInfo.from_file(file, key="localtime")
    except (OSError, ValueError, KeyError):
        return UTC
