"""Which jobs `list` shows."""

from __future__ import annotations

import time

import pytest

from jobd.core.records import JobRow
from jobd.rpc.handlers import look
from jobd.wire import messages as m

HOUR_NS = 3600 * 10**9


@pytest.mark.parametrize(
    ("active", "transient", "hours", "shown"),
    [
        ("failed", True, 23, True),
        ("failed", True, 25, False),
        ("failed", False, 25, True),  # from a file: it stays until somebody sees to it
        ("active", True, 1000, True),
        ("inactive", True, 1, False),
    ],
)
def test_a_failed_transient_job_leaves_the_list_after_a_day(
    active: str, transient: bool, hours: int, shown: bool
) -> None:
    now = time.time_ns()
    row = JobRow(
        owner=0,
        job="x",
        spec=b"",
        env=b"",
        created_at=0,
        transient=transient,
        active=active,
        changed_at=now - hours * HOUR_NS,
    )
    assert look._matches(row, m.List(id=1), False, now) is shown
    assert look._matches(row, m.List(id=1, all=True), True, now)
