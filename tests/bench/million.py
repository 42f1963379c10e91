"""Pages of `history` by a cursor anywhere among a million runs, with what people filter by; and `--stats` of them."""

from __future__ import annotations

import random
import sqlite3
import statistics
import threading
import time
from typing import TYPE_CHECKING

from jobd.wire import codec
from jobd.wire import messages as m
from tests.bench import measure
from tests.bench.measure import Figure
from tests.bench.requests import ask
from tests.system.program import Program
from tests.system.raw import Raw

if TYPE_CHECKING:
    import socket
    from pathlib import Path

RUNS = measure.quick(1_000_000, 100_000)
PAGES = measure.quick(200, 40)  # of each question
PAGE_MS = 5.0
STATS_SEC = 30.0  # a person waits that long for a look at everything, once told that it takes its time
MEANWHILE = 5.0  # times the p99 of one when nothing else is done, as in tests/bench/fairness.py
QUIET = 400  # requests
# Half of the runs are of 500 jobs, half each of a job of its own; a tenth has failed, one in 100,000 is lost; a third
# was in the queue of all, one in 10,000 in a small one.
OWN: dict[str, str] = {
    "seq": "n + 1000",
    "run": "randomblob(16)",
    "job": "CASE WHEN n % 2 THEN printf('make-%d', n) ELSE printf('job%dx', (n / 2) % 500) END",
    "number": "CASE WHEN n % 2 THEN 1 ELSE n / 1000 + 1 END",
    "tail": "abs(random()) % 4294967296",
    "queued_at": "queued_at - (:all - n) * 1000000000",
    "result": "CASE WHEN n % 100000 = 7 THEN 'lost' WHEN n % 10 = 4 THEN 'exit-code' ELSE 'success' END",
    "exited_at": "started_at + abs(random()) % 60000000000",
    "max_rss_bytes": "abs(random()) % 1000000000",
    "queue": "CASE WHEN n % 3 = 0 THEN '/batch' WHEN n % 10000 = 5 THEN 'small' ELSE '' END",
}
QUESTIONS: dict[str, dict[str, object]] = {
    "history": {},
    "--queue batch": {"queue": "shared/batch"},
    "--queue of a hundred": {"queue": "small"},
    "--state failed": {"states": ["failed"]},
    "--state lost": {"states": ["lost"]},
    "JOB": {"jobs": ["job7x"]},
    "JOB --state failed": {"jobs": ["job7x"], "states": ["failed"]},
    "'make-*'": {"jobs": ["make-*"]},
    "--queue batch --state lost": {"queue": "shared/batch", "states": ["lost"]},
}


def fill(jobd: Program, runs: int = RUNS) -> None:
    """Copy the one run that there is, of a jobd that is not running; its indexes are made anew, which is quicker."""
    db = sqlite3.connect(jobd.state_dir / "state.db", isolation_level=None)
    try:
        indexes = db.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'runs'"
        ).fetchall()
        made = [(name, sql) for name, sql in indexes if sql is not None]
        columns = [row[1] for row in db.execute("PRAGMA table_info(runs)")]
        values = ", ".join(OWN.get(column, column) for column in columns)
        db.execute("BEGIN")
        for name, _ in made:
            db.execute(f"DROP INDEX {name}")
        db.execute(
            f"""WITH RECURSIVE count(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM count WHERE n < :all)
            INSERT INTO runs SELECT {values} FROM count, (SELECT * FROM runs LIMIT 1)""",
            {"all": runs},
        )
        for _, sql in made:
            db.execute(sql)
        columns = [row[1] for row in db.execute("PRAGMA table_info(jobs)")]
        values = ", ".join("'job7x'" if column == "job" else column for column in columns)
        db.execute(f"INSERT INTO jobs SELECT {values} FROM jobs LIMIT 1")
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        db.close()


def pages(sock: socket.socket, asked: dict[str, object]) -> list[float]:
    """Seconds for pages that begin anywhere; the answers are read, and not decoded."""
    rng = random.Random(1)
    found = []
    for _ in range(PAGES):
        before = rng.randrange(RUNS // 20, RUNS) + 1000
        frame = codec.encode(m.History(id=1, before=before, **asked))  # type: ignore[arg-type]  # its own words
        found.append(measure.timed(lambda frame=frame: ask(sock, frame, 1)))  # type: ignore[misc]
    return found


def looked(jobd: Program) -> tuple[float, list[float], list[float]]:
    """Seconds for figures of everything, and for status requests on another connection, before and meanwhile."""
    took: list[float] = []

    def look() -> None:
        with Raw(jobd.socket) as raw:
            took.append(measure.timed(lambda: raw.ask(m.HistoryStats(id=1))))

    thread = threading.Thread(target=look)
    asked = []
    with Raw(jobd.socket) as raw:
        frame = codec.encode(m.Get(id=1, names=["first"]))

        def status() -> float:
            time.sleep(0.005)
            return measure.timed(lambda: ask(raw.sock, frame, 1))

        quiet = [status() for _ in range(QUIET)]
        thread.start()
        while thread.is_alive():
            asked.append(status())
    thread.join()
    return took[0], quiet, asked


def p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


def measure_all(root: Path) -> list[Figure]:
    jobd = Program(root)
    try:
        jobd.start()
        jobd.jobctl("run", "--wait", "--name", "first", "--", "true", check=True)
        jobd.keeper.terminate()
        jobd.keeper.wait(60)
        fill(jobd)
        jobd.start()
        figures = []
        with Raw(jobd.socket) as raw:
            raw.sock.settimeout(60)
            for name, asked in QUESTIONS.items():
                pages(raw.sock, asked)
                found = pages(raw.sock, asked)
                worst = statistics.quantiles(found, n=20)[-1] * 1000
                figures.append(
                    Figure(
                        name=f"a page of history{'' if name == 'history' else ' ' + name} among {RUNS:,} runs",
                        value=statistics.median(found) * 1000, unit="ms", reach=PAGE_MS,
                        ours=f"100 rows, from request to answer; p95 {worst:.1f} ms",
                    )
                )  # fmt: skip
        took, quiet, meanwhile = looked(jobd)
    finally:
        jobd.close()
    return [
        *figures,
        Figure(name=f"history --stats of {RUNS:,} runs", value=took, unit="s", reach=STATS_SEC),
        Figure(
            name="p99 of a status request meanwhile",
            value=p99(meanwhile) / p99(quiet),
            unit="times quiet",
            reach=MEANWHILE,
            ours=measure.milliseconds(p99(meanwhile)),
            yardstick=f"quiet: {measure.milliseconds(p99(quiet))}",
        ),
    ]
