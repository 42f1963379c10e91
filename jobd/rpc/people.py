"""Names of users and their uids, known ahead of the question.

The system's databases may be a server on a network that does not answer, so nothing here asks them in the loop: a
request whose words or rules need a name waits until a thread has looked it up, and everything else reads what is known.
What was found is believed for a minute, what was not for a few seconds.
"""

from __future__ import annotations

import pwd
import threading
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Iterable

KNOWN_SEC: Final = 60.0
UNKNOWN_SEC: Final = 5.0
MAX_KNOWN: Final = 4096  # words; whoever asks for more of them makes us forget, not grow
MAX_THREADS: Final = 4  # of one uid, that may hang at once
MAX_UID_DIGITS: Final = 10


def uid_in(word: str) -> int | None:
    """The uid that a word is, if it is one in digits."""
    return int(word) if word.isascii() and word.isdecimal() and len(word) <= MAX_UID_DIGITS else None


def uid_of(name: str) -> int | None:
    """Ask the system. May block."""
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):  # a name with a NUL in it
        return None


def name_of(uid: int) -> str:
    """Ask the system for a name that means this uid, "" if there is none. May block."""
    try:
        name = pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return ""
    return name if uid_of(name) == uid else ""


class People:
    """What is known of names."""

    def __init__(self) -> None:
        self._uids: dict[str, tuple[float, int | None]] = {}
        self._names: dict[int, tuple[float, str]] = {}
        self._asking: dict[int, trio.CapacityLimiter] = {}  # the threads for each uid that asks

    def uid(self, word: str) -> int | None:
        """The uid of a user's name, or of a uid in digits; None: not known, or nobody's."""
        digits = uid_in(word)
        return digits if digits is not None else self._uids.get(word, (0.0, None))[1]

    def name(self, uid: int) -> str:
        """The name of a uid, "" if none is known."""
        return self._names.get(uid, (0.0, ""))[1]

    def shown(self, uid: int) -> str:
        """The word for a uid that leads back to it."""
        return self.name(uid) or str(uid)

    def unknown(self, names: Iterable[str], uids: Iterable[int] = ()) -> list[str | int]:
        """Those of them that have to be looked up."""
        now = trio.current_time()
        asked: list[str | int] = [name for name in names if uid_in(name) is None and self._is_old(name, now)]
        return asked + [uid for uid in uids if self._names.get(uid, (0.0, ""))[0] <= now]

    async def learn(self, words: Iterable[str | int], by: int) -> None:
        """Look names and uids up, in a thread. Who asks (`by`) for what is not answered keeps himself waiting."""
        asked, left = list(words), threading.Event()
        look_up = partial(_look_up, asked, left)
        try:
            found = await trio.to_thread.run_sync(look_up, limiter=self._threads(by), abandon_on_cancel=True)
        finally:
            left.set()
        now = trio.current_time()
        if len(self._uids) + len(self._names) > MAX_KNOWN:
            self._uids.clear()
            self._names.clear()
        for name, uid in found:
            until = now + (KNOWN_SEC if name and uid is not None else UNKNOWN_SEC)
            if name:
                self._uids[name] = until, uid
        for word, (name, _) in zip(asked, found, strict=True):
            if isinstance(word, int):
                self._names[word] = now + (KNOWN_SEC if name else UNKNOWN_SEC), name

    def _threads(self, uid: int) -> trio.CapacityLimiter:
        """One that hangs counts until it has its answer, whoever still waits for that."""
        for other in [other for other, threads in self._asking.items() if not threads.borrowed_tokens]:
            del self._asking[other]
        return self._asking.setdefault(uid, trio.CapacityLimiter(MAX_THREADS))

    def give_up(self, words: Iterable[str | int]) -> None:
        """They could not be looked up in time: nobody's, for a while, but for what was known before."""
        until = trio.current_time() + UNKNOWN_SEC
        for word in words:
            if isinstance(word, str):
                self._uids[word] = until, self._uids.get(word, (0.0, None))[1]
            else:
                self._names[word] = until, self.name(word)

    def _is_old(self, name: str, now: float) -> bool:
        return self._uids.get(name, (0.0, None))[0] <= now


def _look_up(words: list[str | int], left: threading.Event) -> list[tuple[str, int | None]]:
    """In a thread, which ends soon when nobody waits for it any more."""
    found: list[tuple[str, int | None]] = []
    for word in words:
        if left.is_set():
            break
        found.append((word, uid_of(word)) if isinstance(word, str) else (name_of(word), word))
    return found
