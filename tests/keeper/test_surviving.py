"""Errors that come again and again: what else there is goes on, and the log is not filled with them."""

from __future__ import annotations

import os
import signal
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, NoReturn, cast

from jobd.host import pidfd
from jobd.keeper import kernel
from jobd.keeper.loop import Keeper
from jobd.keeper.mains import Mains
from jobd.keeper.surviving import MAX_SAID, PAUSE_SEC, SAY_SEC, Surviving
from jobd.keeper.table import Entry

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


def test_a_signal_that_cannot_be_served_takes_no_other_with_it() -> None:
    """All that have come are read at once."""
    why: list[str] = []

    def refuse(_: int) -> NoReturn:
        raise OSError

    double = SimpleNamespace(_surviving=Surviving(cast("Log", lambda *_: None)))
    double.mains, double.shutdown = SimpleNamespace(forward=refuse), SimpleNamespace(begin=why.append)
    double._on_signal = lambda sig: Keeper._on_signal(cast("Keeper", double), sig)
    reader, writer = os.pipe()
    for sig in (signal.SIGUSR1, signal.SIGTERM):
        os.write(writer, sig.to_bytes(4, sys.byteorder).ljust(kernel.SIGINFO_SIZE, b"\0"))
    Keeper._on_signals(cast("Keeper", double), reader)
    assert why == ["SIGTERM"]
    os.close(reader)
    os.close(writer)


def test_as_pid_1_a_setuid_program_keeps_no_signal_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    got: list[int] = []
    double = SimpleNamespace(table={}, log=lambda text, _: said.append(text))
    for number in (1, 2):
        entry = double.table[number] = Entry(b"%d" % number * 16)
        entry.pid, entry.pidfd, entry.execd = number, number + 1000, True

    def send(fd: int, _: int) -> None:
        if fd == 1001:
            raise PermissionError
        got.append(fd)

    monkeypatch.setattr(pidfd, "send_signal", send)
    Mains(cast("Keeper", double)).forward(signal.SIGUSR1)
    assert (got, said) == ([1002], ["not allowed to signal process 1"])
