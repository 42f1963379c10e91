"""A campaign with strace that hardly ever meets its calls has not passed."""

from __future__ import annotations

import pytest

from tests.fault.strace import SURE, TOO_FEW, too_few


@pytest.mark.parametrize(("hit", "size", "found"), [(0, SURE - 1, False), (4, SURE, True), (5, SURE, False)])
def test_too_few_are_found(hit: int, size: int, found: bool) -> None:
    assert [problem.kind for problem in too_few(hit, size)] == [TOO_FEW] * found
