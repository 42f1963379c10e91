"""Retention takes what it should, in small steps, and nothing that lives."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from jobd.core.records import QUEUE_ADDED, QUEUE_REMOVED, QUEUE_SET, SHARED, Event, QueueRow
from jobd.core.spec import FOR_EVER, JobSpec, digest, encode_spec
from jobd.store import retention
from jobd.store.batch import Batch, StoreError
from jobd.store.logs import run_dir
from jobd.store.retention import Policy, Retention

from .helpers import BLOBS, OWNER, Book, assert_rows_equal_replay, run_id

if TYPE_CHECKING:
    from pathlib import Path

HUGE = 1 << 60


def logs_of(book: Book, run: bytes) -> Path:
    """Make the log directory of a run."""
    directory = run_dir(book.store.state_dir, book.runs[run].owner, run)
    directory.mkdir(parents=True)
    (directory / "out.0000000000000000").write_bytes(b"x")
    (directory / "idx").write_bytes(b"y" * 32)
    return directory


def retain(book: Book, policy: Policy | None = None, now: int | None = None, disk: int = HUGE) -> Retention:
    """One whole pass, in this thread."""
    assert book.store._writer is not None
    writer = book.store._writer
    one = Retention(book.store.fetch, writer.call, book.store.state_dir, policy or Policy(), now or book.now, disk)
    steps = 0
    while one.step():
        steps += 1
        assert steps < 1000
    return one


def left(book: Book) -> list[int]:
    """Which of run_id(0…) are there."""
    return [n for n in range(len(book.runs)) if book.store.run(OWNER, run_id(n)) is not None]


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "STEP_RUNS", 3)
    monkeypatch.setattr(retention, "STEP_JOBS", 2)


def saying(**fields: int) -> tuple[tuple[bytes, bytes], ...]:
    """Blobs of a job that says what is kept of it."""
    spec = encode_spec(JobSpec(argv=(b"x",), cwd=b"/", **fields))  # type: ignore[arg-type]  # numbers alone
    return ((digest(spec), spec), BLOBS[1])


def test_a_job_says_how_many_of_its_runs_are_kept_and_for_how_long(tmp_path: Path) -> None:
    day = 86_400 * 10**9
    jobs = {
        "few": saying(keep_runs=2),
        "many": saying(keep_runs=15),
        "all": saying(keep_runs=FOR_EVER, keep_for_usec=FOR_EVER),
        "short": saying(keep_for_usec=1),
        "usual": BLOBS,
        "long": saying(keep_for_usec=10 * day // 1000),
    }
    with Book(tmp_path) as book:
        for n in range(120):
            name = list(jobs)[n % len(jobs)]
            book.accept(run_id(n), name, transient=False, blobs=jobs[name])
            book.durable(book.finish(run_id(n)))

        def counts() -> dict[str, int]:
            return {name: len(book.store.last_runs(OWNER, name, 100)) for name in jobs}

        retain(book, Policy(keep_runs=10), now=book.now + 1)
        assert counts() == {"few": 2, "many": 15, "all": 20, "short": 10, "usual": 10, "long": 10}
        retain(book, Policy(keep_runs=10), now=book.now + 5 * day)
        assert counts() == {"few": 2, "many": 15, "all": 20, "short": 0, "usual": 10, "long": 10}
        retain(book, Policy(keep_runs=10, keep_for_ns=day), now=book.now + 11 * day)
        assert counts() == {"few": 0, "many": 0, "all": 20, "short": 0, "usual": 0, "long": 0}
        assert_rows_equal_replay(book.store)


def test_of_all_an_owner_has_the_oldest_go_whatever_his_jobs_say(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        for n in range(20):
            book.accept(run_id(n), f"job-{n % 3}", transient=False, blobs=saying(keep_runs=FOR_EVER))
            last = book.accept(run_id(100 + n), "other", OWNER + 1)
            if n != 1:
                book.finish(run_id(n))
        book.durable(last)
        retain(book, Policy(runs_per_owner=8), now=book.now + 1)
        assert left(book) == [1, *range(12, 20)]  # the newest eight, and what runs
        assert len(book.store.last_runs(OWNER + 1, "other", 100)) == 20
        assert_rows_equal_replay(book.store)


def test_the_newest_runs_of_each_job_stay(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        for n in range(30):
            book.accept(run_id(n), f"make-{n % 2}")
            last = book.finish(run_id(n))
        book.durable(last)
        done = retain(book, Policy(keep_runs=5))
        assert done.runs == 20
        assert done.removed == []
        assert left(book) == list(range(20, 30))
        assert book.store.events_of_run(OWNER, "make-0", run_id(2)) == []
        assert_rows_equal_replay(book.store)


def test_a_job_between_two_runs_stays_without_any(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        book.accept(run_id(0), "web")
        book.finish(run_id(0))
        book.change(run_id(0), "finished", {"job.sub": "auto-restart", "job.restart_at": 10**18})
        book.until_quiet()
        retain(book, Policy(keep_for_ns=0), now=book.now + 10**18)
        assert left(book) == []
        assert [row.job for row in book.store.jobs_to_restart()] == ["web"]


def test_old_runs_go_and_the_last_takes_its_transient_job_along(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        for n in range(10):
            book.accept(run_id(n), f"make-{n % 3}", transient=n % 3 != 2)
            last = book.finish(run_id(n))
        book.now += 1000
        book.accept(run_id(10), "make-0")
        last = book.finish(run_id(10))
        book.durable(last)
        done = retain(book, Policy(keep_for_ns=500))
        assert left(book) == [10]
        assert done.removed == [(OWNER, "make-1")]
        assert [j.job for j in book.store.jobs_page(every=True)] == ["make-0", "make-2"]
        assert assert_rows_equal_replay(book.store) == (2, 1)
        assert retain(book, Policy(keep_for_ns=500)).runs == 0


def test_a_run_that_lives_stays_and_does_not_stand_in_the_way(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        for n in range(20):
            book.accept(run_id(n))
            if n == 1:
                book.change(run_id(n), "exited", {"state": "finished", "finished_at": book.now})  # output still open
            elif n not in (0, 2):
                book.finish(run_id(n))
        book.now += 1000
        book.durable(book.change(run_id(0), "x", {"note": "queued for long"}))
        retain(book, Policy(keep_runs=0, keep_for_ns=0))
        assert left(book) == [0, 1, 2]
        assert_rows_equal_replay(book.store)


def test_logs_over_the_owners_share_go_oldest_first(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        for n in range(12):
            book.accept(run_id(n), f"make-{n % 4}")
            last = book.finish(run_id(n), out_bytes=0 if n == 1 else 100)
        book.durable(last)
        retain(book, Policy(log_bytes_per_owner=800, spare_for_ns=0))
        assert left(book) == [1, *range(4, 12)]  # the run without output is in nobody's way
        assert_rows_equal_replay(book.store)


def test_size_alone_takes_nothing_of_the_last_day(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        book.accept(run_id(1))
        book.durable(book.finish(run_id(1), out_bytes=10_000))
        retain(book, Policy(log_bytes_per_owner=800))
        assert book.store.run(OWNER, run_id(1)) is not None
        book.now += retention.DAY_NS + 1
        retain(book, Policy(log_bytes_per_owner=800))
        assert book.store.run(OWNER, run_id(1)) is None


def test_logs_over_the_disks_share_go_whoever_owns_them(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        for n in range(12):
            book.accept(run_id(n), f"make-{n}", owner=OWNER + n % 2)
            last = book.finish(run_id(n), out_bytes=100)
        book.durable(last)
        retain(book, Policy(log_share=0.1, spare_for_ns=0), disk=7000)
        assert [r.run for r in book.store.runs_page().rows] == [run_id(n) for n in range(11, 4, -1)]


def test_log_directories_go_after_the_rows_and_links_are_not_followed(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        for n in range(4):
            book.accept(run_id(n))
            last = book.finish(run_id(n), out_bytes=1)
        book.durable(last)
        directories = [logs_of(book, run_id(n)) for n in range(3)]
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "precious").touch()
        (directories[0] / "link").symlink_to(elsewhere)
        linked = run_dir(tmp_path, OWNER, run_id(3))
        linked.parent.mkdir(parents=True, exist_ok=True)
        linked.symlink_to(elsewhere)
        retain(book, Policy(keep_runs=0))
        assert not any(d.exists() for d in directories)
        assert (elsewhere / "precious").exists()
        assert book.store.fetch("SELECT owner, run FROM trash") == [(OWNER, run_id(3))]


def test_logs_left_by_a_daemon_that_died_in_between_are_deleted_later(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        book.accept(run_id(1))
        book.durable(book.finish(run_id(1)))
        directory = logs_of(book, run_id(1))
        one = Retention(book.store.fetch, book.store._writer.call, tmp_path, Policy(keep_runs=0), 1, HUGE)  # type: ignore[union-attr]
        assert one.step()  # the rows are gone, and then nothing more happens
    assert directory.exists()
    with Book(tmp_path) as book:
        assert book.store.run(OWNER, run_id(1)) is None
        retain(book)
        assert not directory.exists()
        assert book.store.fetch("SELECT * FROM trash") == []


def test_an_id_that_is_used_again_keeps_its_new_logs(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        book.accept(run_id(1))
        book.durable(book.finish(run_id(1)))
        one = Retention(book.store.fetch, book.store._writer.call, tmp_path, Policy(keep_runs=0), 1, HUGE)  # type: ignore[union-attr]
        assert one.step()
        book.runs.clear()
        book.durable(book.accept(run_id(1)))
        directory = logs_of(book, run_id(1))
        retain(book)
        assert directory.exists()
        assert book.store.fetch("SELECT * FROM trash") == []


def test_blobs_go_with_the_last_row_that_names_them(tmp_path: Path) -> None:
    other = (BLOBS[0], (b"h" * 16, b"another environment"))
    with Book(tmp_path) as book:
        book.accept(run_id(0), "make-1")
        book.accept(run_id(1), "make-2", blobs=other)
        book.accept(run_id(2), "make-3")
        book.finish(run_id(0))
        book.durable(book.finish(run_id(1)))
        retain(book, Policy(keep_runs=0))
        assert left(book) == [2]
        assert book.store.blob(b"h" * 16) is None
        assert book.store.blob(BLOBS[0][0]) == BLOBS[0][1]
        assert book.store.blob(BLOBS[1][0]) == BLOBS[1][1]


def test_a_job_that_retention_took_begins_again_whole(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        book.accept(run_id(0))
        book.durable(book.finish(run_id(0)))
        retain(book, Policy(keep_runs=0))
        book.durable(book.accept(run_id(1)))  # the daemon still had the job in memory
        assert book.store.job(OWNER, "make-1") == book.jobs[OWNER, "make-1"]
        assert book.store.blob(BLOBS[0][0]) is not None
        assert assert_rows_equal_replay(book.store) == (1, 1)


def test_changes_between_two_passes_replay_in_the_right_order(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        for n in range(12):
            book.accept(run_id(n), f"web-{n % 2}", transient=False)
            book.durable(book.finish(run_id(n), result="signal" if n % 3 else "success"))
            if n % 4 == 3:
                retain(book, Policy(keep_runs=1))
                assert_rows_equal_replay(book.store)
        retain(book, Policy(keep_runs=0))
        assert assert_rows_equal_replay(book.store) == (2, 0)
        assert len(book.store.events_page()) == 2  # one summary a job


@pytest.mark.slow
def test_the_store_does_it_in_the_background(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        for n in range(20):
            book.accept(run_id(n), f"make-{n}")
            last = book.finish(run_id(n))
        book.durable(last)
        book.store.retain(Policy(keep_for_ns=0), now=book.now + 10)
        book.store.retain(Policy(keep_for_ns=0), now=book.now + 10)
        book.until_quiet()
        assert book.store.jobs_page(every=True) == []
        assert left(book) == []


def test_closing_ends_a_pass_early_and_whole(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        for n in range(60):
            book.accept(run_id(n), f"make-{n}")
            last = book.finish(run_id(n))
        book.durable(last)
        book.store.retain(Policy(keep_for_ns=0), now=book.now + 10)
    with Book(tmp_path) as again:
        assert_rows_equal_replay(again.store)


def test_a_step_that_fails_can_be_done_again(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        book.accept(run_id(1))
        book.durable(book.finish(run_id(1)))

        def fails(_: object) -> list[tuple[int, str]]:
            raise StoreError("cannot write: no")

        one = Retention(book.store.fetch, fails, tmp_path, Policy(keep_runs=0), 1, HUGE)
        with contextlib.suppress(StoreError):
            one.step()
        assert left(book) == []  # run_id(0) was never there
        assert book.store.run(OWNER, run_id(1)) is not None
        assert retain(book, Policy(keep_runs=0)).runs == 1


def test_the_default_is_that_of_the_design() -> None:
    policy = Policy()
    assert (policy.keep_runs, policy.keep_for_ns, policy.log_share, policy.log_bytes_per_owner) == (
        1000,
        90 * 24 * 3600 * 10**9,
        0.1,
        4 << 30,
    )


def test_a_directory_that_cannot_be_deleted_is_tried_again_in_the_next_pass(tmp_path: Path) -> None:
    with Book(tmp_path) as book:
        book.accept(run_id(1))
        book.durable(book.finish(run_id(1)))
        directory = logs_of(book, run_id(1))
        (directory / "sub").mkdir()  # nothing of ours
        retain(book, Policy(keep_runs=0))
        assert directory.exists()
        (directory / "sub").rmdir()
        retain(book)
        assert not directory.exists()


def test_what_says_how_a_queue_is_set_stays_as_long_as_the_queue(tmp_path: Path) -> None:
    day = retention.DAY_NS
    with Book(tmp_path) as book:
        rows = [QueueRow(owner=owner, name="q", slots=1, created_at=1) for owner in (SHARED, 7)]
        gone = QueueRow(owner=7, name="gone", slots=None, created_at=2)
        for row in (*rows, gone):
            book.queue(QUEUE_ADDED, row)
        book.queue(QUEUE_REMOVED, gone)
        last = [book.queue(QUEUE_SET, replace(row, slots=2)).events[0] for row in rows]
        book.accept(run_id(0))
        book.durable(book.finish(run_id(0)))
        assert book.store.queues() == [replace(row, slots=2) for row in rows]
        retain(book, now=150 * day, policy=Policy(keep_for_ns=100 * day))
        assert [event for event in book.store.events_page() if not event.job] == last
        assert_rows_equal_replay(book.store)


def test_acts_on_the_daemon_go_by_age_and_explain_no_row(tmp_path: Path) -> None:
    day = retention.DAY_NS
    with Book(tmp_path) as book:
        acts = []
        for at in (1, 2, 100 * day):
            seq = book.store.next_event_seq()
            act = Event(seq=seq, at=at, kind="shutdown", owner=7, job="", by_uid=0, by_pid=1, data={"act.gid": 0})
            book.store.submit(Batch(events=(act,)))
            acts.append(act)
        book.accept(run_id(0))
        book.durable(book.finish(run_id(0)))
        assert [event for event in book.store.events_page() if not event.job] == acts
        assert_rows_equal_replay(book.store)
        retain(book, now=150 * day, policy=Policy(keep_for_ns=100 * day))
        assert [event for event in book.store.events_page() if not event.job] == acts[2:]
        assert book.store.removed_events(7) == acts[1].seq
        assert_rows_equal_replay(book.store)
