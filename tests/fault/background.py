"""A thread that does its part of a campaign while a block lasts. What it raises ends the campaign: one whose load or
whose killer has died unseen would pass for want of anything to find."""

from __future__ import annotations

import threading
from abc import abstractmethod
from typing import Self


class Background(threading.Thread):
    """Does `act` from the beginning of the block, until that returns or, as `over` is set, the block has ended."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.over = threading.Event()
        self._error: BaseException | None = None

    @abstractmethod
    def act(self) -> None:
        """What it does; it looks at `over`."""

    def run(self) -> None:
        try:
            self.act()
        except BaseException as e:
            self._error = e

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Raises what has ended it before its time, unless the block raises something itself."""
        self.over.set()
        self.join()
        if self._error is not None and kind is None:
            raise self._error
