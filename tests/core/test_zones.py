"""The machine's time zone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from jobd.core.zones import local_zone

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_zone_is_that_of_the_variable_or_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    now = datetime(2026, 7, 1)
    monkeypatch.setenv("TZ", "Europe/Berlin")
    assert local_zone().utcoffset(now) == ZoneInfo("Europe/Berlin").utcoffset(now)
    for nothing in ("Nowhere/Such", ":/nonexistent", ""):
        monkeypatch.setenv("TZ", nothing)
        assert local_zone(str(tmp_path / "none")) is UTC
    (tmp_path / "broken").write_bytes(b"TZif?")
    assert local_zone(str(tmp_path / "broken")) is UTC
