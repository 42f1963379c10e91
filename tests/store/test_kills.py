"""A writing process is killed at random moments: what was durable is there, whole, and nothing is half there."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .helpers import DEADLINE_SEC, OWNER, Book, assert_rows_equal_replay, run_id

KILLS = 10
SEED = 20261122
MOST = 3000  # runs a child may write, so that a forgotten one ends

# Tells, on one line each, what is durable; retention goes on meanwhile.
CHILD = f"""
import sys
from pathlib import Path
from jobd.store.retention import Policy
from tests.store.helpers import Book, run_id
first = int(sys.argv[2])
with Book(Path(sys.argv[1])) as book:
    seen = 0
    for n in range(first, first + {MOST}):
        book.accept(run_id(n), f"make-{{n % 9}}", transient=n % 9 < 5)
        last = book.finish(run_id(n), out_bytes=n)
        if n % 5 == 0:
            book.wait(last)
            for batch in book.done[seen:]:
                assert batch.error is None
                print(batch.tag[0], batch.tag[1].hex(), flush=False)
            seen = len(book.done)
            print("", end="", flush=True)
        if n % 50 == 0:
            book.store.retain(Policy(keep_runs=40), now=1)
"""


def killed_child(state: Path, first: int, after_lines: int, pause_sec: float) -> list[tuple[str, bytes]]:
    """Run the child, kill it; what it had said."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(state), str(first)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert child.stdout is not None
    said: list[bytes] = []
    try:
        for line in child.stdout:
            said.append(line)
            if len(said) >= after_lines:
                break
        time.sleep(pause_sec)  # somewhere within the next commits: that is the point
        os.kill(child.pid, signal.SIGKILL)
        said += child.stdout.read().splitlines(keepends=True)
    finally:
        child.kill()
        assert child.wait(DEADLINE_SEC) == -signal.SIGKILL
        child.stdout.close()
    whole = [line.split() for line in said if line.endswith(b"\n")]
    return [(kind.decode(), bytes.fromhex(run.decode())) for kind, run in whole]


@pytest.mark.slow
def test_what_was_durable_survives_kills(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    first = 0
    for kill in range(KILLS):
        said = killed_child(tmp_path, first, rng.randrange(1, 400), rng.random() * 0.02)
        assert said
        conn = sqlite3.connect(tmp_path / "state.db")
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)], (SEED, kill)
        runs_of_events = {
            (run, kind) for run, kind in conn.execute("SELECT run, kind FROM events WHERE run IS NOT NULL")
        }
        conn.close()
        with Book(tmp_path) as book:
            assert book.store.notices == [], (SEED, kill)
            assert_rows_equal_replay(book.store)
            kept = {run for run, _ in runs_of_events}
            for kind, run in said:
                event = {"accept": "accepted"}.get(kind, kind)
                # Retention may have taken the run meanwhile: then all of it.
                assert (run, event) in runs_of_events or run not in kept, (SEED, kill, kind, run)
            newest = [run for kind, run in said if kind == "closed"][-20:]
            for run in newest:  # of 9 jobs with 40 runs each: too new for retention
                row = book.store.run(OWNER, run)
                assert row is not None, (SEED, kill)
                assert row.closed, (SEED, kill)
            book.durable(book.accept(run_id(10**6 + kill), f"check-{kill}"))
        first += MOST
