"""Questions: the right rows, and always from an index."""

from __future__ import annotations

import random
import sqlite3
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from jobd.core.exits import GOOD_RESULTS
from jobd.core.records import STATES, JobRow, RunRow
from jobd.core.runfilter import RunFilter
from jobd.store import pages, reader
from jobd.store.connections import Connections

from .helpers import OWNER, Book, run_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from jobd.core.globs import Globs
    from jobd.store.rows import Value, Values

EVERYTHING: Globs = ((None, "*"),)
Question: TypeAlias = dict[str, Any]  # arguments of runs_page
QUEUES = ("", "build", "/batch", "", "/batch")
RESULTS = ("success", "exit-code", "signal", "stopped", "canceled")


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Book]:
    """300 runs of 12 jobs of 3 owners, most of them finished."""
    rng = random.Random(1)
    with Book(tmp_path_factory.mktemp("state")) as made:
        for n in range(300):
            made.accept(run_id(n), f"make-{n % 4 + 8}", OWNER + n % 3, queue=QUEUES[n % 5])
            if n < 290:
                made.finish(run_id(n), rng.choice(RESULTS))
        for n in (280, 281, 299):
            last = made.change(run_id(n), "failed", {"job.active": "failed", "job.result": "exit-code"})
        made.durable(last)
        made.store.close()
        made.store = type(made.store).open(made.store.state_dir, boot_id="boot-1")
        yield made


def everything(book: Book, asked: Question) -> list[RunRow]:
    """All pages of a question, with small pages."""
    rows: list[RunRow] = []
    before, skip = None, asked.get("offset", 0)
    asked = {key: value for key, value in asked.items() if key != "offset"}
    for _ in range(1000):
        page = book.store.runs_page(RunFilter(**asked), before=before, offset=skip, limit=7)
        assert len(page.rows) <= 7
        rows += page.rows
        before, skip = page.more, page.skip
        if before is None:
            return rows
    raise AssertionError("the pages have no end")


def _fits(row: RunRow | JobRow, scope: Globs) -> bool:
    return any(owner in (None, row.owner) and fnmatchcase(row.job, pattern) for owner, pattern in scope)


def _is_named(row: RunRow, asked: Question) -> bool:
    if not (asked.get("jobs") or asked.get("globs")):
        return True
    return (row.owner, row.job) in asked.get("jobs", ()) or _fits(row, asked.get("globs", ()))


def expected(book: Book, asked: Question) -> list[RunRow]:
    """The same, the plain way."""

    def fits(r: RunRow) -> bool:
        states = asked.get("states") or (r.state,)
        failed = r.result is not None and r.result not in GOOD_RESULTS
        return (
            (bool(asked.get("jobs")) or _fits(r, asked.get("scope") or EVERYTHING))
            and _is_named(r, asked)
            and asked.get("queue", (None, r.queue)) in ((None, r.queue), (r.owner, r.queue))
            and (r.state in states or r.result in states or ("failed" in states and failed))
            and r.queued_at >= asked.get("since", 0)
            and r.queued_at <= asked.get("until", 2**62)
        )

    rows = sorted((r for r in book.runs.values() if fits(r)), key=lambda r: -r.seq)
    return rows[asked.get("offset", 0) :]


SCOPE: Globs = ((OWNER, "make-8"), (None, "make-1[!0]*"))
SEVERAL = [(OWNER, "make-8"), (OWNER + 1, "make-9"), (OWNER, "none")]
MANY = [(OWNER + n % 3, f"make-{n}") for n in range(40)]
QUESTIONS: list[Question] = [
    dict(asked, **more)
    for asked in (
        {}, {"scope": ((OWNER, "*"),)}, {"scope": ((5, "*"),)}, {"scope": SCOPE},
        {"jobs": [(OWNER, "make-8")]}, {"jobs": SEVERAL}, {"jobs": MANY}, {"globs": ((None, "make-1*"),)},
        {"globs": ((OWNER, "*8"), (None, "none*"))}, {"globs": ((None, "m*"),), "scope": ((OWNER, "*"),)},
        {"globs": ((OWNER, "*9"),), "jobs": [(OWNER, "make-8")]}, {"queue": (None, "/batch")},
        {"queue": (OWNER, "build")}, {"queue": (None, "/batch"), "scope": ((OWNER, "*"),)},
        {"queue": (OWNER, "build"), "scope": ((OWNER + 1, "*"),)}, {"queue": (None, "/batch"), "jobs": SEVERAL},
    )
    for more in (
        {}, {"states": ["failed"]}, {"states": ["queued", "running"]}, {"states": ["finished"]}, {"offset": 30},
        {"states": ["success", "queued"]}, {"states": ["nonsense"]}, {"states": ["stopped"], "offset": 3},
        {"since": 1_000_300, "until": 1_000_700}, {"states": ["failed"], "since": 1_000_300, "offset": 5},
    )
]  # fmt: skip


@pytest.mark.parametrize("scan", [5, 23, 1000])
@pytest.mark.parametrize("asked", QUESTIONS, ids=str)
def test_pages_of_runs_join_to_what_was_asked_for(
    book: Book, asked: Question, scan: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "SCAN_ROWS", scan)
    assert everything(book, asked) == expected(book, asked)


@pytest.mark.parametrize(("name", "value"), [("MERGED", 1), ("MERGED", 5), ("GLOB_STEPS", 2)])
def test_pages_join_whichever_way_they_are_read(
    book: Book, name: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, name, value)
    monkeypatch.setattr(pages, "SCAN_ROWS", 40)
    for asked in QUESTIONS:
        assert everything(book, asked) == expected(book, asked), asked


def test_a_page_examines_a_bounded_number_of_rows(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "SCAN_ROWS", 20)
    page = book.store.runs_page(RunFilter(states=["success", "nonsense"], until=0), limit=100)
    assert page.rows == []
    assert page.more == 281


def test_a_run_is_found_by_number_from_either_end(book: Book) -> None:
    runs = sorted((r for r in book.runs.values() if (r.owner, r.job) == (OWNER, "make-8")), key=lambda r: r.number)
    find = book.store.run_number
    assert [find(OWNER, "make-8", n) for n in (1, 2, 25)] == [runs[0], runs[1], runs[24]]
    assert [find(OWNER, "make-8", n) for n in (0, -1, -24)] == [runs[-1], runs[-2], runs[0]]
    assert [find(OWNER, "make-8", n) for n in (26, -25)] == [None, None]
    assert find(OWNER, "none", 0) is None


def test_a_run_is_found_by_any_unique_end_of_its_id(book: Book) -> None:
    row = book.runs[run_id(77)]
    digits = row.run.hex()
    for length in (6, 7, 8, 9, 13, 32):
        assert book.store.runs_by_suffix(((row.owner, "*"),), digits[-length:].upper()) == [row]
        assert book.store.runs_by_suffix(None, digits[-length:]) == [row]
        assert book.store.runs_by_suffix(((row.owner + 1, "*"),), digits[-length:]) == []
    dashed = f"{digits[:8]}-{digits[8:12]}-{digits[12:]}"
    assert book.store.runs_by_suffix(None, dashed) == [row]
    for n in (1, 2, 3):
        end = digits[-n:]
        same = [r for r in book.runs.values() if r.run.hex().endswith(end)]
        assert {r.run for r in book.store.runs_by_suffix(None, end, limit=400)} == {r.run for r in same}
    assert len(book.store.runs_by_suffix(None, digits[-1])) == 2
    assert book.store.runs_by_suffix(None, "") == book.store.runs_by_suffix(None, "xyz") == []
    assert book.store.runs_by_suffix(None, "0" * 33) == []


def jobs_everywhere(
    book: Book, *, owner: int | None = None, scope: Globs | None = None, every: bool = False, prefix: str = ""
) -> list[JobRow]:
    rows: list[JobRow] = []
    after: tuple[int, str] | None = None
    while page := book.store.jobs_page(owner=owner, scope=scope, every=every, prefix=prefix, after=after, limit=2):
        rows += page
        after = (page[-1].owner, page[-1].job)
    return rows


def test_jobs_come_sorted_page_by_page(book: Book) -> None:
    by_key = [book.jobs[key] for key in sorted(book.jobs)]
    assert jobs_everywhere(book, every=True) == by_key
    mine = [j for j in by_key if j.owner == OWNER]
    seen = [j for j in by_key if _fits(j, SCOPE)]
    assert len(mine) < len(seen) + len(mine) < len(by_key)
    assert jobs_everywhere(book, every=True, scope=SCOPE) == seen
    assert jobs_everywhere(book, every=True, owner=OWNER, scope=SCOPE) == [j for j in seen if j.owner == OWNER]
    assert jobs_everywhere(book, every=True, scope=()) == []
    assert jobs_everywhere(book, every=True, owner=OWNER) == mine
    assert jobs_everywhere(book, every=True, prefix="make-1") == [j for j in by_key if j.job.startswith("make-1")]
    assert jobs_everywhere(book, every=True, prefix="make-8", owner=OWNER) == [j for j in mine if j.job == "make-8"]
    listed = [j for j in by_key if (j.active, j.result) != ("inactive", "success")]
    assert listed
    assert jobs_everywhere(book) == listed
    assert book.store.owners() == [OWNER, OWNER + 1, OWNER + 2]


def test_live_runs_and_counts(book: Book) -> None:
    live = sorted((r for r in book.runs.values() if r.state != "finished" or not r.closed), key=lambda r: r.seq)
    assert book.store.live_runs() == live
    counts = book.store.counts()
    assert (counts.queued, counts.running, counts.closing) == (10, 0, 0)
    assert counts.database_bytes > 4096


def test_the_rest(book: Book) -> None:
    row = book.runs[run_id(3)]
    assert book.store.run(OWNER + 9, row.run) is None
    assert book.store.blob(b"none") is None
    assert book.store.highest_suffix(OWNER, "make") == 11
    assert book.store.highest_suffix(OWNER, "mak") == 0
    events = book.store.events_page(limit=3)
    assert [e.seq for e in events] == [2, 4, 6]
    assert book.store.events_page(events[-1].seq, 1)[0].seq == 8


class Plans:
    """Asks a Reader everything, and keeps the query plans."""

    def __init__(self, path: Path) -> None:
        self.conn = sqlite3.connect(path)
        self.seen: dict[str, str] = {}

    def fetch(self, sql: str, args: Sequence[Value] = ()) -> list[Values]:
        plan = self.conn.execute(f"EXPLAIN QUERY PLAN {sql}", args).fetchall()
        self.seen[sql] = "; ".join(str(step[3]) for step in plan)
        return self.conn.execute(sql, args).fetchall()


@pytest.mark.parametrize("scan", [1, 2, 5, 1000])
@pytest.mark.parametrize("every", [True, False])
def test_a_part_of_an_owners_jobs_is_found_a_little_at_a_time(
    book: Book, every: bool, scan: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "SCAN_JOBS", scan)
    for scope in (((None, "make-1[01]"),), ((None, "none"),), ((None, "make-8"), (None, "*9"))):
        expected = book.store.jobs_page(owner=OWNER, every=every, scope=scope)
        for limit in (1, 2, 100):
            found: list[JobRow] = []
            name: str | None = ""
            while name is not None:
                page, name = book.store.jobs_seen(owner=OWNER, every=every, scope=scope, after=name, limit=limit)
                assert len(page) <= min(limit, scan)
                found += page
            assert found == expected


def test_no_question_walks_or_sorts_a_table(book: Book) -> None:
    plans = Plans(book.store.state_dir / "state.db")
    asking = reader.Reader(book.store.state_dir / "state.db", lambda: 0, lambda *_: False, Connections())
    asking.fetch = plans.fetch  # type: ignore[method-assign]
    asking.job(OWNER, "make-8")
    for every in (True, False):
        asking.jobs_page(every=every)
        asking.jobs_page(every=every, owner=OWNER, prefix="m", after=(OWNER, "make-8"))
    asking.run(OWNER, run_id(1))
    asking.live_runs()
    asking.run_number(OWNER, "make-8", 3)
    asking.run_number(OWNER, "make-8", -3)
    asking.runs_by_suffix(None, "abcd")
    asking.runs_by_suffix(SCOPE, "abcd")
    asking.jobs_page(scope=SCOPE)
    asking.jobs_seen(owner=OWNER, every=True, scope=SCOPE, after="x", limit=5)
    asking.jobs_seen(owner=OWNER, every=False, scope=SCOPE, after="", limit=5)
    asking.highest_suffix(OWNER, "make")
    asking.blob(b"x")
    asking.events_page(4)
    asking.events_of_run(OWNER, "make-8", run_id(1))
    asking.counts()
    for asked in QUESTIONS:
        asking.runs_page(RunFilter(**{k: v for k, v in asked.items() if k != "offset"}), offset=asked.get("offset", 0))
    plans.conn.close()
    assert len(plans.seen) > 40
    for sql, plan in plans.seen.items():
        for step in plan.split("; "):
            # Partial indexes are walked in their own order (they are small, or a LIMIT ends it), and VALUES are a list.
            fine = step.startswith(("SEARCH", "LIST", "SCAN pragma")) or "SUBQUERY" in step
            fine = fine or step.endswith(("runs_live", "CONSTANT ROWS"))
            grouped = "GROUP BY state" in sql and step == "USE TEMP B-TREE FOR GROUP BY"  # of live runs only
            assert fine or grouped, f"{sql}: {plan}"


def test_states_are_those_of_the_design() -> None:
    assert set(STATES) == {"queued", "starting", "running", "stopping", "finished"}
