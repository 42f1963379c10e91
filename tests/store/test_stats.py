"""Figures are those of the runs, whichever way they are come by."""

from __future__ import annotations

import random
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING

import pytest

from jobd.core.globs import of_owner
from jobd.core.runfilter import RunFilter
from jobd.store import stats
from jobd.store.stats import Figures, Stats, group_of

from .helpers import OWNER, Book, run_id
from .test_reader import _fits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobd.core.records import RunRow

NAMES = ("web", "make-1", "make-2", "make-x", "web-1", "web-2", "train-1@1", "train-1@10", "train-2@1")
DEFINED = ("web", "web-2")
RESULTS = ("success", "success", "exit-code", "stopped", "canceled", "lost")


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Book]:
    """400 runs of two owners."""
    rng = random.Random(2)
    with Book(tmp_path_factory.mktemp("state")) as made:
        for n in range(400):
            name = rng.choice(NAMES)
            made.accept(run_id(n), name, OWNER + n % 2, transient=name not in DEFINED, queue=rng.choice(("", "build")))
            if n % 13:
                made.now += rng.randrange(10)
                result = rng.choice(RESULTS)
                began = None if result == "canceled" else made.now
                last = made.change(
                    run_id(n), "exited", {
                        "state": "finished", "result": result, "started_at": began, "finished_at": made.now,
                        "exited_at": None if began is None else began + rng.randrange(1000),
                        "max_rss_bytes": None if began is None else rng.randrange(10**6),
                        "cpu_user_usec": rng.randrange(50), "cpu_system_usec": rng.randrange(50),
                    },
                )  # fmt: skip
        made.durable(last)
        yield made


def nearest(values: list[int], percent: int) -> int | None:
    return sorted(values)[ceil(len(values) * percent / 100) - 1] if values else None


def figures(key: tuple[int, str], runs: list[RunRow]) -> Figures:
    """The plain way."""
    took = [r.exited_at - r.started_at for r in runs if r.exited_at is not None and r.started_at is not None]
    most = [r.max_rss_bytes for r in runs if r.max_rss_bytes is not None]
    return Figures(
        *key, len(runs), sum(r.result == "success" for r in runs),
        sum(r.result not in ("success", "stopped", "canceled") for r in runs),
        sum((r.cpu_user_usec or 0) + (r.cpu_system_usec or 0) for r in runs),
        max(r.finished_at or 0 for r in runs), nearest(took, 50), nearest(took, 95), nearest(most, 50),
        nearest(most, 95),
    )  # fmt: skip


def expected(book: Book, wanted: RunFilter) -> list[Figures]:
    rows: dict[tuple[int, str], list[RunRow]] = {}
    for run in book.runs.values():
        named = (run.owner, run.job) in wanted.jobs
        meant = named or (not wanted.jobs and not wanted.globs) or _fits(run, wanted.globs)
        seen = named or wanted.scope is None or _fits(run, wanted.scope)
        queue = wanted.queue is None or wanted.queue in ((None, run.queue), (run.owner, run.queue))
        timely = (wanted.since or 0) <= run.queued_at <= (wanted.until or 2**62)
        if meant and seen and queue and timely and run.state == "finished":
            name = run.job if named else group_of(run.job, frozenset(DEFINED))
            rows.setdefault((run.owner, name), []).append(run)
    return [figures(key, runs) for key, runs in sorted(rows.items())]


QUESTIONS = [
    RunFilter(), RunFilter(scope=((OWNER, "*"),)), RunFilter(globs=((None, "make-*"),)), RunFilter(globs=((5, "*"),)),
    RunFilter(jobs=((OWNER, "make-1"), (OWNER + 1, "web"))), RunFilter(queue=(OWNER, "build")),
    RunFilter(jobs=((OWNER, "train-1@1"),), globs=((OWNER, "*[0-9]"),), scope=((None, "*1"),)),
    RunFilter(since=1_000_500, until=1_001_500), RunFilter(scope=((OWNER, "web*"), (None, "make-1"))),
]  # fmt: skip


def everything(book: Book, wanted: RunFilter, limit: int) -> list[Figures]:
    found: list[Figures] = []
    after: tuple[int, str] | None = (-1, "")
    while after is not None:
        looked = Stats(book.store.fetch, wanted, after, limit)
        while looked.step():
            pass
        assert len(looked.found) <= limit
        found += looked.found
        after = looked.more
    return found


@pytest.mark.parametrize("wanted", QUESTIONS, ids=str)
def test_figures_are_those_of_the_runs(book: Book, wanted: RunFilter, monkeypatch: pytest.MonkeyPatch) -> None:
    assert everything(book, wanted, 1000) == expected(book, wanted)
    monkeypatch.setattr(stats, "NAMES_STEP", 2)
    monkeypatch.setattr(stats, "WALK", 10**6)
    assert everything(book, wanted, 1) == expected(book, wanted)


def test_numbered_names_are_one_row_unless_somebody_has_defined_them() -> None:
    names = ("make-3", "make", "make-3x", "web-1", "web-2", "train-1@7", "a-1-2", "-1", "x-")
    found = [group_of(name, frozenset({"web-2"})) for name in names]
    assert found == ["make-*", "make", "make-3x", "web-*", "web-2", "train-1@*", "a-1-*", "-1", "x-"]


def test_a_question_with_no_answer(book: Book) -> None:
    assert everything(book, RunFilter(jobs=((OWNER, "none"),)), 10) == []
    assert everything(book, replace(RunFilter(), since=2**60), 10) == []
    assert of_owner(((5, "*"),), OWNER) == ()
