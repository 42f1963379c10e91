"""Events as people are shown them: the right ones, once, in order, a bounded number at a time; and what is missing."""

from __future__ import annotations

import random
import sqlite3
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import pytest

from jobd.core.globs import sql_glob
from jobd.core.records import QUEUE_SET, SHARED, Event
from jobd.store import changes, reader, schema
from jobd.store.changes import HIDDEN, Wanted
from jobd.store.connections import Connections
from jobd.store.db import Batch, Policy, Store
from jobd.store.rows import event_values, insert_events

from .helpers import OWNER, Book, run_id
from .test_retention import retain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jobd.store.rows import Value, Values

JOBS = ("web", "make-1", "make-2", "db.main", "a@b")
GLOBS = ("*", "make-*", "[!m]*", "?e?", "[^m]*", "[a-d]*", "[", "make-[!1]", "[]x]*", "*[.@]*")
LAST = 2 * 600


class Table:
    """A table of events, asked without a store; counts the work of each question."""

    def __init__(self, path: Path, events: Sequence[Event]) -> None:
        self.events = events
        schema.open_database(path).close()
        self.conn = schema.connect(path)
        insert_events(self.conn, [event_values(event) for event in events])
        self.steps = 0
        self.worst = 0
        self.plans: dict[str, str] = {}
        self._expected: dict[Wanted, list[int]] = {}

    def count_steps(self) -> None:
        def step() -> int:
            self.steps += 1
            return 0

        self.conn.set_progress_handler(step, 100)

    def fetch(self, sql: str, args: Sequence[Value] = ()) -> list[Values]:
        self.steps = 0
        found = self.conn.execute(sql, args).fetchall()
        self.worst = max(self.worst, self.steps)
        return found

    def explain(self, sql: str, args: Sequence[Value] = ()) -> list[Values]:
        plan = self.conn.execute(f"EXPLAIN QUERY PLAN {sql}", args).fetchall()
        self.plans[sql] = "; ".join(str(step[3]) for step in plan)
        return self.fetch(sql, args)

    def all(self, wanted: Wanted, after: int = 0, upto: int = LAST, limit: int = 7) -> list[int]:
        found: list[int] = []
        for _ in range(5000):
            page = changes.page(self.fetch, wanted, after, upto, limit)
            assert len(page.rows) <= limit
            assert all(after < int(row[0] or 0) <= page.end for row in page.rows)
            found += [int(row[0] or 0) for row in page.rows]
            assert page.end > after or not page.more
            after = page.end
            if not page.more:
                return found
        raise AssertionError("the pages have no end")

    def begin(self, wanted: Wanted, count: int, after: int = 0, upto: int = LAST) -> int:
        *pauses, answer = changes.before_last(self.fetch, wanted, after, upto, count)
        assert set(pauses) <= {None}
        assert answer is not None
        return answer

    def expected(self, wanted: Wanted, after: int = 0, upto: int = LAST) -> list[int]:
        if wanted not in self._expected:
            self._expected[wanted] = self._all_expected(wanted)
        return [seq for seq in self._expected[wanted] if after < seq <= upto]

    def _all_expected(self, wanted: Wanted) -> list[int]:
        return [
            e.seq for e in self.events
            if e.kind not in HIDDEN
            and ((e.owner, e.job) in wanted.jobs or _fits(e, wanted.globs))
            and (e.by_uid is not None if wanted.acts else _is_of_job(e))
            and (wanted.scope is None or (_is_of_job(e) and _fits(e, wanted.scope)) or e.by_uid == (wanted.by or -1)
                 or (e.kind == QUEUE_SET and e.owner == SHARED))
            and (wanted.since is None or e.at >= wanted.since) and (wanted.until is None or e.at <= wanted.until)
        ]  # fmt: skip


def _is_of_job(event: Event) -> bool:
    return bool(event.job) or event.kind == QUEUE_SET


def _fits(event: Event, globs: Sequence[tuple[int | None, str]]) -> bool:
    return any(owner in (None, event.owner) and fnmatchcase(event.job, pattern) for owner, pattern in globs)


def an_event(rng: random.Random, n: int) -> Event:
    """One of many: numbers with gaps, a clock that steps back, now and then one that is not shown."""
    kind = rng.choice(("accepted", "started", "finished", "closed", *HIDDEN))
    seq = 2 * n + (kind in HIDDEN)
    owner, job = OWNER + rng.randrange(2), rng.choice((*JOBS, ""))
    by = rng.choice((None, OWNER, 7))
    if not job and rng.random() < 0.5:
        kind, seq, owner = QUEUE_SET, 2 * n, rng.choice((SHARED, OWNER, OWNER + 1))
    at = 1000 + n - (n // 200) * 150
    return Event(seq=seq, at=at, kind=kind, owner=owner, job=job, run=run_id(n % 50) if job else None, by_uid=by)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    rng = random.Random(3)
    events = [an_event(rng, n) for n in range(1, 600) if n % 7]
    return Table(tmp_path_factory.mktemp("state") / "state.db", events)


WANTED = [
    Wanted(jobs=jobs, globs=globs, since=since, until=until)
    for jobs, globs in (
        ((), ((OWNER, "*"),)),
        (((OWNER, "web"),), ()),
        (((OWNER, "web"), (OWNER + 1, "a@b"), (OWNER, "none")), ()),
        (tuple((OWNER, job) for job in (*JOBS, *"xyz")), ()),
        (((OWNER, "web"),), ((OWNER, "make-*"), (OWNER + 1, "*"))),
        ((), ()),
    )
    for since, until in ((None, None), (1200, None), (None, 1300), (1100, 1250))
]
WANTED += [
    Wanted(globs=globs, scope=scope, by=by, acts=acts)
    for globs in (((None, "*"),), ((None, "make-*"), (OWNER, "web")))
    for scope, by in (
        (None, None),
        (((OWNER, "*"),), None),
        (((OWNER, "*"),), 7),
        (((None, "web"), (OWNER, "?e?")), None),
    )
    for acts in (False, True)
]


@pytest.mark.parametrize("scan", [1, 10, 1000])
@pytest.mark.parametrize("few", [0, 40, 1000])
@pytest.mark.parametrize("wanted", WANTED, ids=str)
def test_pages_join_to_what_was_asked_for(
    table: Table, wanted: Wanted, scan: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "SCAN_NUMBERS", scan)
    monkeypatch.setattr(changes, "FEW_EVENTS", few)
    whole = ((0, LAST),) if scan > 1 else ()  # by one number each would be a hundred thousand questions
    for after, upto in (*whole, (300, 700), (301, 703), (LAST, LAST), (500, 400)):
        expected = table.expected(wanted, after, upto)
        assert table.all(wanted, after, upto) == expected
        for count in (0, 1, 5, 30, 10_000):
            start = table.begin(wanted, count, after, upto)
            assert table.expected(wanted, start, upto) == (expected[-count:] if count else [])


def test_globs_are_those_of_the_other_verbs(table: Table) -> None:
    rng = random.Random(1)
    made = ["".join(rng.choices("[]!^-*?adm", k=rng.randrange(1, 7))) for _ in range(300)]
    for pattern in (*GLOBS, *made):
        for name in JOBS:
            found = table.conn.execute("SELECT ? GLOB ?", (name, sql_glob(pattern))).fetchone()[0]
            assert found == fnmatchcase(name, pattern), (pattern, name)


def test_no_question_walks_or_sorts_the_table(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "SCAN_NUMBERS", 10)
    asking = reader.Reader(table.conn, lambda: 0, lambda *_: False, Connections())  # type: ignore[arg-type]  # `fetch` is replaced
    asking.fetch = table.explain  # type: ignore[method-assign]
    for wanted in WANTED:
        asking.changes_page(wanted, 0, LAST, 10)
        list(asking.before_last_changes(wanted, 0, LAST, 10))
    asking.last_event(OWNER)
    assert len(table.plans) > 10
    for sql, plan in table.plans.items():
        for step in plan.split("; "):
            assert step.startswith(("SEARCH", "LIST")) or "CONSTANT ROW" in step, f"{sql}: {plan}"


@pytest.mark.slow
def test_a_page_of_a_million_events_is_a_bounded_amount_of_work(tmp_path: Path) -> None:
    """Counted in steps of SQLite's machine, not in time: 50,000 are about half a millisecond."""
    count = 1_000_000
    table = Table(tmp_path / "state.db", [])
    table.conn.execute(
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO events"
        " SELECT 2 * i, i, 'started', ?, 'make-' || i % 1000, CAST(i / 4 AS BLOB), NULL, NULL, x'80' FROM n",
        (count, OWNER),
    )
    table.count_steps()
    last = 2 * count
    for wanted in (
        Wanted(globs=((OWNER, "*"),)),
        Wanted(globs=((OWNER, "none*"),)),
        Wanted(jobs=((OWNER, "make-7"),)),
        Wanted(jobs=tuple((OWNER, f"make-{n}") for n in range(20))),
        Wanted(globs=((OWNER, "*"),), since=10**9),
    ):
        for after in (0, last // 2, last - 500):
            changes.page(table.fetch, wanted, after, last, 256)
        next(changes.before_last(table.fetch, wanted, 0, last, 10))
    assert table.worst <= 500
    table.conn.close()


# --- what is gone -------------------------------------------------------------------------------------------------
def test_what_retention_took_is_known_by_owner(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        for n in range(6):
            book.accept(run_id(n), "web")
            last = book.finish(run_id(n))
        book.durable(last)
        assert book.store.removed_events(OWNER) == 0
        third = book.store.events_of_run(OWNER, "web", run_id(2))[-1].seq
        retain(book, Policy(keep_runs=3))
        assert book.store.removed_events(OWNER) == third
        assert book.store.removed_events(OWNER + 1) == 0
        retain(book, Policy(keep_runs=3))
        assert book.store.removed_events(OWNER) == third


def test_an_older_event_that_goes_later_takes_nothing_back(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        book.accept(run_id(0), "web")
        book.finish(run_id(0))
        book.accept(run_id(1), "make")
        book.durable(book.finish(run_id(1), out_bytes=10_000))
        last = book.store.last_event(OWNER)
        retain(book, Policy(log_bytes_per_owner=100, spare_for_ns=0))
        assert book.store.removed_events(OWNER) == last
        retain(book, Policy(keep_runs=0))
        assert book.store.removed_events(OWNER) == last


def test_the_numbers_of_events_that_are_gone_are_not_given_again(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        book.accept(run_id(0))
        book.durable(book.finish(run_id(0)))
        last = book.store.last_event(OWNER)
        retain(book, Policy(keep_runs=0))
        assert book.store.events_page() == []
        assert book.store.last_event(OWNER) == last
    with Book(tmp_path) as again:
        assert again.store.next_event_seq() > last


def test_a_damaged_database_leaves_a_gap_for_all(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        book.accept(run_id(0))
        book.durable(book.finish(run_id(0)))
        last = book.store.last_event(OWNER)
    conn = sqlite3.connect(tmp_path / "state.db")
    conn.execute("DROP TABLE jobs")  # damage of a kind that leaves the rest to be read
    conn.close()
    with Book(tmp_path) as again:
        assert again.store.notices
        assert again.store.removed_events(OWNER) == again.store.removed_events(5) == last
        assert again.store.next_event_seq() > last


def test_committed_events_alone_are_there(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        store: Store = book.store
        book.durable(book.accept(run_id(0)))
        seq = store.next_event_seq()
        wanted = Wanted(globs=((OWNER, "*"),))
        assert [e.kind for e in store.changes_page(wanted, 0, 100, 10)[0]] == ["accepted"]
        event = Event(seq=seq, at=1, kind="reset", owner=OWNER, job="make-1")
        batch = Batch(events=(event,), tag="")
        store.submit(batch)
        book.durable(batch)
        assert [e.kind for e in store.changes_page(wanted, 0, 100, 10)[0]] == ["accepted", "reset"]
