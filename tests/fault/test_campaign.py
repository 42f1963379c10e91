"""Every campaign in its short form; `make fault` runs the long one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fault.campaigns import CAMPAIGNS, new_seed, run
from tests.fault.report import CannotRunError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.fixture
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("f")  # short: paths of sockets have 107 bytes at most


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_nothing_is_found_by(name: str, root: Path) -> None:
    one = CAMPAIGNS[name]
    try:
        report = run(one, root, one.short, new_seed() if one.seed is None else one.seed)
    except CannotRunError as e:
        pytest.skip(str(e))
    assert report.passed, str(report)
