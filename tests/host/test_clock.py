"""The alarm by the kernel's timers."""

from __future__ import annotations

import errno
import os
import select
from typing import TYPE_CHECKING

import pytest

from jobd.host.clock import Alarm, boot_ns, wall_ns

if TYPE_CHECKING:
    from collections.abc import Iterator

FAR = 10**9 * 3600


@pytest.fixture
def alarm() -> Iterator[Alarm]:
    before = set(os.listdir("/proc/self/fd"))
    found = Alarm()
    yield found
    found.close()
    assert set(os.listdir("/proc/self/fd")) <= before  # what other tests have left may be closed meanwhile


def rings(alarm: Alarm, within_sec: float) -> bool:
    return bool(select.select([alarm], [], [], within_sec)[0])


@pytest.mark.parametrize("by_wall", [True, False])
def test_it_rings_when_the_moment_comes_and_is_quiet_when_set_anew(alarm: Alarm, by_wall: bool) -> None:
    assert not rings(alarm, 0)
    now = wall_ns() if by_wall else boot_ns()
    alarm.set(*((now + 2_000_000, None) if by_wall else (None, now + 2_000_000)))
    assert rings(alarm, 5)
    assert (wall_ns() if by_wall else boot_ns()) >= now + 2_000_000
    alarm.set(wall_ns() + FAR, boot_ns() + FAR)
    assert not rings(alarm, 0)


def test_what_has_passed_rings_at_once_and_none_never(alarm: Alarm) -> None:
    alarm.set(-1, None)
    assert rings(alarm, 5)
    alarm.set(None, None)
    assert not rings(alarm, 0)
    alarm.set(None, 1)
    assert rings(alarm, 5)


def test_that_the_clock_was_set_is_not_forgotten_when_it_is_set_before_anybody_has_looked(
    alarm: Alarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can set the clock for a test: the kernel's word for it is put into its mouth."""
    alarm.set(wall_ns() + FAR, None)
    real = os.read
    told: list[int] = []

    def read(fd: int, count: int) -> bytes:
        if not told:
            told.append(fd)
            raise OSError(errno.ECANCELED, "the clock was set")
        return real(fd, count)

    monkeypatch.setattr(os, "read", read)
    alarm.set(wall_ns() + FAR, None)
    assert rings(alarm, 5)
    alarm.set(wall_ns() + FAR, None)
    assert not rings(alarm, 0)
