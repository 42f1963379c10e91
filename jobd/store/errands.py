"""What the writer's thread is asked for, besides batches."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

T = TypeVar("T")


class Call(Generic[T]):
    """A piece of work for the writer's thread, in a transaction of its own."""

    def __init__(self, work: Callable[[sqlite3.Connection], T]) -> None:
        self.work = work
        self.done = threading.Event()
        self.result: T | None = None
        self.error: Exception | None = None


class Close:
    """The thread is to end."""


class Damage:
    """The file of this generation is damaged."""

    def __init__(self, text: str, generation: int) -> None:
        self.text = text
        self.generation = generation
        self.done = threading.Event()
