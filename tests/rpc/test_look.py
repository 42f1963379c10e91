"""Which jobs `list` shows."""

from __future__ import annotations

import time

import pytest

from jobd.core.records import JobRow
from jobd.core.spec import JobSpec
from jobd.rpc.handlers import look
from jobd.wire import codec
from jobd.wire import messages as m
from tests.rpc.test_lifecycle import Answers, context_of
from tests.runtime.fakes import ROOT, Bed, serving
from tests.runtime.test_registry import ended

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
    assert look._matches(row, m.List(id=1), lambda *_: True, False, now) is shown
    assert look._matches(row, m.List(id=1, all=True), lambda *_: True, True, now)


async def test_a_page_fits_a_frame_however_long_the_command_lines_are() -> None:
    async with serving(Bed()) as bed:
        for n in range(12):
            spec = JobSpec(argv=(b"false", b"x" * 100_000), cwd=b"/", description="\u00e9" * 4000)
            run = bed.registry.submit(0, f"job-{n:02}", bytes([n + 1] * 16), spec, b"\x90", ROOT)
            await ended(bed, run)
        context, names, after = context_of(bed, Answers()), [], ""
        while True:
            page = look.list_jobs(context, m.List(id=1, all=True, patterns=["job-*"], after=after))
            assert len(codec.encode(m.Reply(id=1, body=page))) < m.MAX_FRAME_BYTES
            names += [view.job for view in page.jobs]
            after = page.more
            if not after:
                break
        assert names == [f"job-{n:02}" for n in range(12)]
        assert look.list_jobs(context, m.List(id=1, all=True, patterns=["7/job-*", "nobody-here/*"])).jobs == []
        assert len(look.list_jobs(context, m.List(id=1, all=True, patterns=["0/job-0*"])).jobs) == 4
