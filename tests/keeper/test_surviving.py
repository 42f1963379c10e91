"""Errors that come again and again: what else there is goes on, and the log is not filled with them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

from jobd.keeper.surviving import MAX_SAID, PAUSE_SEC, SAY_SEC, Surviving

if TYPE_CHECKING:
    import pytest

    from jobd.keeper.log import Log


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_an_error_that_stays_is_said_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, said = Clock(monkeypatch), list[str]()
    surviving = Surviving(cast("Log", lambda text, _: said.append(text)))
    errors: list[type[Exception]] = [OSError, MemoryError]

    def fail(error: type[Exception], *words: object) -> int:
        raise error(*words)

    rounds = int(2.5 * SAY_SEC / PAUSE_SEC)
    for _ in range(rounds):
        assert [surviving.attempt(7, fail, error) for error in errors] == [7, 7]
        surviving.rest()
    assert clock.now >= 100 + 2.5 * SAY_SEC - 1
    assert len(said) == 3 * len(errors)
    for number in range(3 * MAX_SAID):
        surviving.attempt(None, fail, OSError, number, str(number))
    assert len(surviving._said) <= MAX_SAID


def test_without_an_error_nobody_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    surviving = Surviving(cast("Log", None))
    assert surviving.attempt(0, max, 3, 4) == 4
    surviving.rest()
    assert clock.now == 100.0
