"""Writing: what is durable when, in what order, and what is refused."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobd.core.records import Data, Event
from jobd.store.batch import Batch, StoreError, StoreFenced
from jobd.store.db import Store, read_boot_id

from .helpers import ACTIVE, BLOBS, OWNER, REST, Book, assert_rows_equal_replay, run_id

if TYPE_CHECKING:
    from pathlib import Path


def test_a_run_is_there_for_readers_and_for_the_next_daemon_once_its_batch_is_done(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        batch = book.durable(book.accept(run_id(1)))
        assert book.store.run(OWNER, run_id(1)) == batch.runs[0]
        assert book.store.job(OWNER, "make-1") == batch.jobs[0]
        assert book.store.blob(BLOBS[1][0]) == BLOBS[1][1]
    with Book(tmp_path) as book:
        assert book.store.live_runs() == [batch.runs[0]]
        assert book.store.events_of_run(OWNER, "make-1", run_id(1)) == list(batch.events)
        assert book.store.last_boot_id == "boot-1"


def test_numbers_go_on_where_the_last_daemon_stopped(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        first = (book.store.next_run_seq(), book.store.next_event_seq())
        last = book.durable(book.accept(run_id(1)))
    assert first == (1, 2)
    with Book(tmp_path) as book:
        assert book.store.next_run_seq() == last.runs[0].seq + 1
        assert book.store.next_event_seq() == last.events[0].seq + 2


def test_batches_come_back_once_and_in_order(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        batches = [book.accept(run_id(n), f"make-{n % 7}") for n in range(200)]
        book.durable(batches[-1])
        assert book.done == batches
        assert book.store.completions() == []
        assert [r.run for r in book.store.live_runs()] == [run_id(n) for n in range(200)]


def test_everything_queued_is_written_before_the_store_closes(tmp_path: Path) -> None:
    book = Book(tmp_path).start()
    batches = [book.accept(run_id(n)) for n in range(50)]
    book.store.close()
    assert book.store.completions() == batches
    with Book(tmp_path) as again:
        assert len(again.store.live_runs()) == 50


def test_a_batch_that_cannot_be_written_fails_alone(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        row = book.durable(book.accept(run_id(1))).runs[0]
        twice = Event(seq=book.store.next_event_seq(), at=1, kind="x", owner=OWNER, job="make-1")
        group = [
            Batch(events=(twice,)),
            Batch(events=(twice,)),  # the same number again
            Batch(runs=(row,)),  # no event
            Batch(events=(Event(seq=2**70, at=1, kind="x", owner=OWNER, job="make-1"),)),
            Batch(events=(Event(seq=book.store.next_event_seq(), at=1, kind="\udc80", owner=OWNER, job="make-1"),)),
            Batch(events=(Event(seq=book.store.next_event_seq(), at=1, kind="x", owner=OWNER, job="make-1"),)),
        ]
        for batch in group:
            book.store.submit(batch)
        book.wait(group[-1])
        assert [b.error is None for b in group] == [True, False, False, False, False, True]
        assert str(group[2].error).endswith("cannot record a row of make-1 without an event of it')")
        assert book.store.trouble == ""


def test_a_second_run_with_the_id_of_another_is_refused(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        book.durable(book.accept(run_id(1)))
        del book.runs[run_id(1)]
        again = book.wait(book.accept(run_id(1), "other"))
        assert isinstance(again.error, StoreError)
        del book.runs[run_id(1)]
        book.durable(book.accept(run_id(1), owner=OWNER + 1))  # ids belong to owners


def test_a_store_whose_database_was_opened_again_can_write_no_more(tmp_path: Path) -> None:
    with Book(tmp_path) as old:
        old.durable(old.accept(run_id(1)))
        with Book(tmp_path) as new:
            for n in (2, 3):
                refused = old.wait(old.accept(run_id(n)))
                assert isinstance(refused.error, StoreFenced)
            new.durable(new.accept(run_id(4)))
            assert [r.run for r in new.store.live_runs()] == [run_id(1), run_id(4)]


def test_the_files_are_private_and_the_ballast_is_there(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        book.durable(book.accept(run_id(1)))
        for name in ("state.db", "state.db-wal", "ballast"):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
        assert (tmp_path / "ballast").stat().st_size == 4 << 20


def test_a_link_in_the_place_of_the_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch()
    os.symlink("elsewhere", tmp_path / "state.db")
    with pytest.raises(StoreError, match=r"^cannot open .*state\.db"):
        Store.open(tmp_path)


def test_every_commit_is_synced(tmp_path: Path) -> None:
    with Book(tmp_path):
        conn = sqlite3.connect(tmp_path / "state.db")
        assert conn.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        conn.close()


def test_submitting_from_many_threads_loses_nothing(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        row = book.durable(book.accept(run_id(1)))
        seqs = [[book.store.next_event_seq() for _ in range(50)] for _ in range(4)]

        def work(mine: list[int]) -> None:
            for seq in mine:
                book.store.submit(Batch(events=(Event(seq=seq, at=1, kind="x", owner=OWNER, job="make-1"),)))

        threads = [threading.Thread(target=work, args=(mine,)) for mine in seqs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        book.durable(book.change(run_id(1), "last", {"note": "x"}))
        assert len(book.store.events_page(after=row.events[0].seq)) == 201


def test_this_boots_id_is_the_kernels() -> None:
    assert len(read_boot_id()) == 36


STEPS: list[tuple[str, Data]] = [
    ("starting", {"state": "starting", "keeper": "k", "job.active": "activating", "job.sub": "start"}),
    ("started", {"state": "running", "pid": 7, "pid_start": 1, **ACTIVE}),
    ("stop", {"state": "stopping", "stop_asked": "stopped", "job.sub": "stop-sigterm"}),
    ("exited", {"state": "finished", "result": "signal", "signal": 15, "core": True, "job.result": "signal", **REST}),
    ("closed", {"closed": True, "out_bytes": 3, "note": "é", "job.changed_at": 9}),
]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, len(STEPS) - 1)), max_size=40))
@pytest.mark.slow
def test_the_tables_are_what_a_replay_of_the_events_gives(
    tmp_path_factory: pytest.TempPathFactory, life: list[tuple[int, int]]
) -> None:
    with Book(tmp_path_factory.mktemp("state")) as book:
        last = book.accept(run_id(0))
        for n, step in life:
            if run_id(n) not in book.runs:
                last = book.accept(run_id(n), f"make-{n % 3}", owner=OWNER + n % 2)
            last = book.change(run_id(n), *STEPS[step])
        book.durable(last)
        assert_rows_equal_replay(book.store)
        assert {r.run: r for r in book.store.runs_page(limit=100).rows} == book.runs
