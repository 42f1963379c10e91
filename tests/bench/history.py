"""`status JOB` with 1 and with 100,000 finished runs in history."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from jobd.wire import codec
from jobd.wire import messages as m
from tests.bench import measure
from tests.bench.measure import Figure
from tests.bench.requests import ask
from tests.system.program import Program
from tests.system.raw import Raw

if TYPE_CHECKING:
    from pathlib import Path

JOBS = measure.quick(100, 20)
RUNS_OF_A_JOB = 1000  # the default retention keeps so many
ROUNDS = measure.quick(30, 10)
REQUESTS = 500
NOISE = 1.15  # the two within this of each other: the same


def fill(jobd: Program, jobs: int = JOBS, runs_of_a_job: int = RUNS_OF_A_JOB) -> None:
    """Copy the one run of the job `first` in the database, of a jobd that is not running, for so many other jobs."""
    if not jobs:
        return  # the recursion would make one
    with sqlite3.connect(jobd.state_dir / "state.db") as db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(runs)")]
        own = {
            "seq": "(SELECT max(seq) FROM runs) + n",
            "run": "randomblob(16)",
            "job": "printf('other-%d', (n - 1) / :each)",
            "number": "(n - 1) % :each + 1",
            "tail": "abs(random()) % 4294967296",
        }
        values = ", ".join(own.get(column, column) for column in columns)
        db.execute(
            f"""WITH RECURSIVE count(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM count WHERE n < :all)
            INSERT INTO runs SELECT {values} FROM count, (SELECT * FROM runs LIMIT 1)""",
            {"each": runs_of_a_job, "all": jobs * runs_of_a_job},
        )
        columns = [row[1] for row in db.execute("PRAGMA table_info(jobs)")]
        own = {
            "job": "other.job",
            "latest": "(SELECT run FROM runs WHERE runs.job = other.job ORDER BY number DESC LIMIT 1)",
            "runs": str(runs_of_a_job),
        }
        values = ", ".join(own.get(column, f"first.{column}") for column in columns)
        db.execute(
            f"""INSERT INTO jobs SELECT {values} FROM (SELECT * FROM jobs LIMIT 1) AS first,
            (SELECT DISTINCT job FROM runs WHERE job LIKE 'other-%') AS other"""
        )
    db.close()


def measure_all(root: Path) -> list[Figure]:
    small, large = Program(root / "small"), Program(root / "large")
    try:
        for jobd in (small, large):
            jobd.start()
            jobd.jobctl("run", "--wait", "--name", "first", "--", "true", check=True)
        large.keeper.terminate()
        large.keeper.wait(60)
        fill(large)
        large.start()
        assert len(large.history("other-1")) > 50

        def rate(jobd: Program) -> float:
            with Raw(jobd.socket) as raw:
                frame = codec.encode(m.Get(id=1, names=["first"]))
                return measure.timed(lambda: ask(raw.sock, frame, REQUESTS)) / REQUESTS

        def whole(jobd: Program) -> float:
            return measure.timed_process([measure.JOBCTL, "status", "first"], jobd.env, status=3)

        asked = measure.medians(ROUNDS, {"small": lambda: rate(small), "large": lambda: rate(large)})
        typed = measure.medians(ROUNDS, {"small": lambda: whole(small), "large": lambda: whole(large)})
    finally:
        try:
            small.close()
        finally:
            large.close()
    total = JOBS * RUNS_OF_A_JOB
    return [
        Figure(
            name=f"{what} with {total} finished runs",
            value=found["large"] / found["small"],
            unit="x with 1 run",
            reach=NOISE,
            ours=f"{found['large'] * 1e6:.0f} µs",
            yardstick=f"{found['small'] * 1e6:.0f} µs",
        )
        for what, found in (("status request", asked), ("jobctl status", typed))
    ]
