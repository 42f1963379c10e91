"""A soak in which something was not done, or a daemon died unseen, has failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.soak.__main__ import Sample, replaced
from tests.soak.load import Load
from tests.system.program import Program

if TYPE_CHECKING:
    from pathlib import Path


def test_a_daemon_that_nobody_has_killed_is_missed() -> None:
    samples = [Sample(at, daemon, {}) for at, daemon in ((2, 7), (4, 8), (6, 9), (8, 9), (10, 9))]
    assert replaced(samples, 6) == []
    assert replaced(samples, 4) == ["1 daemons have died that nobody had killed"]


def test_what_was_never_done_is_said(tmp_path: Path) -> None:
    load = Load(Program(tmp_path), 7)
    load.done = dict.fromkeys(load.done, 3) | {"feeds": 0}
    assert load.never_done() == ["feeds: never done"]
