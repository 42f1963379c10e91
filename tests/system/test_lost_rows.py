"""A database that SQLite finds nothing wrong with, and in which something is missing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.system.program import Program

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


def test_a_run_whose_job_is_gone_is_taken_up_under_a_new_one(tmp_path: Path) -> None:
    """No daemon could start on it, one after the other."""
    with Program(tmp_path) as program:
        program.jobctl("queue", "add", "later", check=True)
        program.jobctl("queue", "pause", "later", check=True)
        program.jobctl("run", "--queue", "later", "--name", "waits", "--", "sh", "-c", "exit 7", check=True)
    with closing(sqlite3.connect(program.state_dir / "state.db", isolation_level=None)) as conn:
        conn.execute("DELETE FROM jobs WHERE job = 'waits'")
    (program.state_dir / "state.db.seal").unlink()  # as if it had been so when jobd was killed
    with program:
        program.jobctl("queue", "resume", "later", check=True)
        assert program.jobctl("wait", "waits").returncode == 7
        assert "there is no job 'waits' beside its run" in program.log_text()
