"""Rows are what the events say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.core.records import (
    STATES,
    Data,
    Event,
    JobRow,
    Replay,
    RunRow,
    apply_job,
    apply_run,
    creates_job,
    creates_run,
    job_data,
    new_job_data,
    run_data,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

RUN = b"0123456789abcdef"
ints = st.integers(0, 2**53)
maybe = st.none() | ints
run_rows = st.builds(
    RunRow, seq=ints, run=st.just(RUN), owner=st.just(7), job=st.just("web"), number=ints, spec=st.binary(max_size=32),
    env=st.binary(max_size=32), by_uid=ints, queued_at=ints, state=st.sampled_from(STATES),
    result=st.none() | st.text(max_size=9), exit_code=maybe, signal=maybe, core=st.booleans(), step=st.text(max_size=9),
    errno=ints, pid=maybe, exited_at=maybe, closed=st.booleans(), note=st.text(max_size=9), cpu_user_usec=maybe,
)  # fmt: skip
job_rows = st.builds(
    JobRow, owner=st.just(7), job=st.just("web"), spec=st.binary(max_size=32), env=st.binary(max_size=32),
    created_at=ints, transient=st.booleans(), latest=st.none() | st.just(RUN), runs=ints, active=st.text(max_size=9),
    sub=st.text(max_size=9), result=st.text(max_size=9), changed_at=ints,
)  # fmt: skip


def event(data: Mapping[str, str | int | bytes | bool | None], run: bytes | None = RUN, kind: str = "x") -> Event:
    return Event(seq=2, at=1, kind=kind, owner=7, job="web", run=run, data=dict(data))


def row() -> RunRow:
    return RunRow(seq=1, run=RUN, owner=7, job="web", number=1, spec=b"s", env=b"e", by_uid=7, queued_at=5)


@given(run_rows)
def test_an_event_with_the_whole_run_makes_it_from_nothing(made: RunRow) -> None:
    assert apply_run(None, event(run_data(made))) == made


@given(job_rows)
def test_an_event_with_the_whole_job_makes_it_from_nothing(made: JobRow) -> None:
    assert apply_job(None, event(job_data(made))) == made
    assert apply_job(None, event(job_data(made), run=None)) == made
    assert apply_job(None, event(new_job_data(made))) == made


def test_of_a_new_job_an_event_says_what_is_not_by_default() -> None:
    made = JobRow(owner=7, job="web", spec=b"s", env=b"e", created_at=1, sub="running", restarts=0)
    assert new_job_data(made) == {"job.spec": b"s", "job.env": b"e", "job.created_at": 1, "job.sub": "running"}


@given(run_rows, run_rows, job_rows, job_rows)
def test_an_event_with_the_differences_leads_from_one_row_to_the_next(
    run: RunRow, next_run: RunRow, job: JobRow, next_job: JobRow
) -> None:
    both = event({**run_data(next_run, run), **job_data(next_job, job)})
    assert apply_run(run, both) == next_run
    assert apply_job(job, both) == next_job


@given(st.lists(st.tuples(run_rows, job_rows), min_size=1, max_size=8))
def test_a_replay_ends_at_the_last_rows(life: list[tuple[RunRow, JobRow]]) -> None:
    replay = Replay()
    last: tuple[RunRow | None, JobRow | None] = (None, None)
    for run, job in life:
        replay.feed(event({**run_data(run, last[0]), **job_data(job, last[1])}))
        last = (run, job)
    assert list(replay.runs.values()) == [last[0]]
    assert list(replay.jobs.values()) == [last[1]]


def test_an_event_that_sets_nothing_gives_the_same_row() -> None:
    run = row()
    assert apply_run(run, event({"job.active": "active"})) is run
    job = JobRow(owner=7, job="web", spec=b"s", env=b"e", created_at=1)
    assert apply_job(job, event({"state": "running"})) is job


def test_what_makes_no_row_is_refused_without_one() -> None:
    with pytest.raises(ValueError, match=r"cannot apply event 2 \(exited\): no run, and it makes none"):
        apply_run(None, event({"state": "finished"}, kind="exited"))
    with pytest.raises(ValueError, match="no job, and it makes none"):
        apply_job(None, event({"job.active": "active"}))
    assert not creates_run(event(run_data(row()), run=None))
    assert not creates_job(event(run_data(row())))


@pytest.mark.parametrize("data", [{"color": "red"}, {"owner": 0}, {"run": b"x"}, {"job.job": "x"}, {"job.color": 1}])
def test_a_field_that_is_not_there_or_is_part_of_the_key_is_refused(data: Data) -> None:
    job = JobRow(owner=7, job="web", spec=b"s", env=b"e", created_at=1)
    with pytest.raises(ValueError, match="has no"):
        (apply_run(row(), event(data)), apply_job(job, event(data)))


def test_the_wrong_type_is_refused_where_a_row_is_made() -> None:
    with pytest.raises(ValueError, match="Expected"):
        apply_run(None, event({**run_data(row()), "number": "one"}))


def test_a_replay_waits_for_the_summary_of_a_job_whose_beginning_is_gone() -> None:
    replay = Replay()
    replay.feed(event({**run_data(row()), "job.active": "active"}))
    assert not replay.jobs
    job = JobRow(owner=7, job="web", spec=b"s", env=b"e", created_at=1)
    replay.feed(event(job_data(job), run=None, kind="retired"))
    assert replay.jobs == {(7, "web"): job}
