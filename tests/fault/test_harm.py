"""F10's harm: files of any length, also such as an earlier one has left."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.fault.damage_work import harm

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("size", [0, 1, 31, 40])
def test_a_file_that_was_cut_before_can_be_harmed(tmp_path: Path, size: int) -> None:
    for name in ("state.db", "state.db-wal"):
        for seed in range(20):
            path = tmp_path / name
            path.write_bytes(bytes(range(size)))
            assert harm(path, random.Random(seed)).at < max(size, 1)
