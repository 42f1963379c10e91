"""The loop is woken from a thread, also when the kernel has no memory for that at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
import trio

from jobd.runtime import waking

if TYPE_CHECKING:
    from collections.abc import Callable


class Token:
    """Of a loop that cannot be woken the first times."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.woken: list[Callable[[], object]] = []

    def run_sync_soon(self, act: Callable[[], object], *, idempotent: bool) -> None:
        assert idempotent
        if self.errors:
            raise self.errors.pop(0)
        self.woken.append(act)


def wake(token: Token) -> None:
    waking.wake(cast("trio.lowlevel.TrioToken", token), print)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr("jobd.runtime.waking.time.sleep", found.append)
    return found


def test_it_is_tried_until_it_works(pauses: list[float]) -> None:
    token = Token(OSError(12, "no memory"), OSError(105, "no buffers"))
    wake(token)
    assert token.woken == [print]
    assert pauses == [waking.AGAIN_SEC] * 2


def test_a_loop_that_has_ended_is_left(pauses: list[float]) -> None:
    token = Token(trio.RunFinishedError())
    wake(token)
    assert not token.woken
    assert not pauses
