"""What request handlers may reach: the parts of the daemon, put together by `daemon.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobd.runtime.configuration import Configuration
    from jobd.runtime.definitions import Definitions
    from jobd.runtime.keeperlink import KeeperLink
    from jobd.runtime.pump import Pump
    from jobd.runtime.registry import Registry


@dataclass
class World:
    """The daemon, as handlers see it."""

    registry: Registry
    keeper: KeeperLink
    pump: Pump
    started_at: int  # wall ns
    configuration: Configuration
    definitions: Definitions
    connections: Callable[[], int] = lambda: 0
