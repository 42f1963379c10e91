"""Jobs that the clock starts, on a clock that a test sets: exact times, and what people and machines do to it."""

from __future__ import annotations

import random
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.core import records
from jobd.core.whystarts import SKIPPED
from jobd.runtime import schedule as module
from jobd.runtime.boot import Boot
from jobd.runtime.schedule import ARMED, ELAPSED, LATE
from tests.runtime.clocks import DAY, HOUR, Timed, timed
from tests.runtime.fakes import ROOT, WELCOME, Bed

if TYPE_CHECKING:
    from jobd.runtime.submission import Terms

SUNDAY = "2026-11-22 15:00:00"


@pytest.fixture(autouse=True)
def _even(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance is even."""
    monkeypatch.setattr(random, "random", lambda: 0.5)


async def test_a_job_starts_at_each_time_and_knows_the_next(autojump_clock: MockClock) -> None:
    async with timed(SUNDAY) as on:
        on.define("Mon..Fri 03:00")
        assert on.due() == "11-23 03:00:00"
        await on.until("2026-11-30 12:00")
        assert on.starts == [f"11-{day} 03:00:00" for day in (23, 24, 25, 26, 27, 30)]
        assert on.due() == "12-01 03:00:00"
        assert on.clocks.text(on.row().elapse_last) == "11-30 03:00:00"
        run = on.bed.store.runs[on.row().latest or b""]
        assert (run.cause, run.by_uid) == ("schedule", 0)


async def test_every_second_for_a_minute(autojump_clock: MockClock) -> None:
    async with timed(SUNDAY) as on:
        on.takes = 0.25
        on.define("*:*:*")
        await on.until("2026-11-22 15:01:00")
        assert on.starts == [*(f"11-22 15:00:{sec:02}" for sec in range(1, 60)), "11-22 15:01:00"]
        assert on.kinds(SKIPPED) == []
        assert on.clocks.rung == 60, "it wakes for what is due and for nothing else"


async def test_each_run_is_accepted_in_the_transaction_that_arms_the_next(autojump_clock: MockClock) -> None:
    async with timed(SUNDAY) as on:
        on.define("hourly")
        on.bed.journal.held = []
        await on.until("2026-11-22 16:00:00")
        assert len(on.bed.journal.held) == 1
        assert [event.kind for event in on.bed.store.events[-2:]] == ["accepted", ELAPSED]
        held, on.bed.journal.held = on.bed.journal.held, None
        for commit in held:
            commit.settle(None)
        await wait_all_tasks_blocked()


async def test_a_handover_that_begins_between_two_of_many_keeps_the_rest_for_the_next_daemon(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STEP", 1)
    async with timed(SUNDAY) as on:
        for name in ("one", "two"):
            on.define("hourly", name=name)
        failed = trio.Event()

        def hand_over(_owner: int) -> None:
            on.world.handing_over = None if failed.is_set() else failed

        monkeypatch.setattr(on.world, "note_owner", hand_over)  # of each run that is accepted
        await on.until("2026-11-22 16:00:00")
        assert (len(on.bed.store.runs), on.kinds(ELAPSED)) == (1, [ELAPSED])
        on.world.handing_over = None
        failed.set()
        await wait_all_tasks_blocked()
        assert len(on.bed.store.runs) == 2


# --- armed, and not -------------------------------------------------------------------------------------------------
async def test_it_is_armed_while_it_is_enabled_and_can_be_started(autojump_clock: MockClock) -> None:
    async with timed(SUNDAY) as on:
        assert on.define("hourly", enabled=False).elapse_next is None
        on.change(enabled=True)
        assert on.due() == "11-22 16:00:00"
        for fields in ({"masked": True}, {"load": records.BAD_SETTING}, {"load": records.NOT_FOUND}):
            before = on.row()
            assert on.change(**fields).elapse_next is None
            assert on.change(masked=False, load=before.load).elapse_next is not None
        await on.until("2026-11-22 15:59:59")
        on.change(enabled=False)
        await on.until("2026-11-22 17:30:00")
        assert on.starts == []
        on.change(enabled=True)
        await on.until("2026-11-22 18:00:00")
        assert on.starts == ["11-22 18:00:00"]


async def test_another_schedule_counts_at_once_and_the_same_one_stays_as_it_is(autojump_clock: MockClock) -> None:
    async with timed(SUNDAY) as on:
        on.define("hourly", schedule_jitter_usec=10**9)
        assert on.due() == "11-22 16:08:20"
        await on.until("2026-11-22 16:05:00")
        on.define("hourly", schedule_jitter_usec=10**9, description="another word")
        assert on.due() == "11-22 16:08:20"
        on.define("daily")
        assert on.due() == "11-23 00:00:00"
        on.define()
        assert on.due() == "-"
        await on.until("2026-11-24 00:00:00")
        assert on.starts == []


async def test_the_start_of_jobd_starts_no_job_with_a_schedule(autojump_clock: MockClock) -> None:
    async with timed(SUNDAY) as on:
        on.define("hourly")
        on.define(name="plain")
        boot = Boot(on.world, None, WELCOME)  # type: ignore[arg-type]  # no files are read
        assert [row.job for row in boot.enabled()] == ["plain"]


async def test_a_schedule_without_another_time_is_at_its_end(autojump_clock: MockClock) -> None:
    async with timed(SUNDAY) as on:
        on.define("2026-11-22 15:30")
        await on.until("2026-11-22 16:00:00")
        assert (on.starts, on.due()) == (["11-22 15:30:00"], "-")
        assert on.define("2020-01-01", name="past").elapse_next is None


# --- while it runs --------------------------------------------------------------------------------------------------
async def test_a_time_that_comes_while_it_runs_is_skipped_and_said_so(autojump_clock: MockClock) -> None:
    async with timed(SUNDAY) as on:
        on.takes = 1.5 * HOUR
        on.define("hourly")
        await on.until("2026-11-22 19:00:00")
        assert on.starts == ["11-22 16:00:00", "11-22 18:00:00"]
        assert on.said(SKIPPED) == ["it still runs"] * 2
        skipped = [event for event in on.bed.store.events if event.kind == SKIPPED]
        assert all(event.run is not None for event in skipped), "which goes with the run that it is about"


async def test_with_queue_one_run_follows_however_many_times_pass(autojump_clock: MockClock) -> None:
    async with timed(SUNDAY) as on:
        on.takes = 3.5 * HOUR
        on.define("hourly", schedule_overlap="queue")
        await on.until("2026-11-22 19:45:00")
        assert on.starts == ["11-22 16:00:00", "11-22 19:30:00"]
        assert on.said(SKIPPED) == ["another run is to follow already"] * 2
        assert on.bed.store.runs[on.row().latest or b""].cause == "schedule"


async def test_with_replace_the_run_is_stopped_and_the_next_one_follows(autojump_clock: MockClock) -> None:
    async with timed(SUNDAY) as on:
        on.takes = None
        on.define("hourly", schedule_overlap="replace")
        await on.until("2026-11-22 17:00:00")
        first = on.world.jobs[0, "nightly"].run
        assert first is not None
        assert (first.row.stop_asked, first.row.next_run is not None) == ("stopped", True)
        await on.end()
        assert on.starts == ["11-22 16:00:00", "11-22 17:00:00"]
        assert on.due() == "11-22 18:00:00"


# --- what was missed ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("persistent", [False, True])
async def test_the_clock_is_set_a_year_forward(autojump_clock: MockClock, persistent: bool) -> None:
    async with timed(SUNDAY) as on:
        on.define("daily", schedule_persistent=persistent)
        await on.until("2026-11-22 20:00:00")
        on.clocks.step(365 * DAY)
        await wait_all_tasks_blocked()
        assert on.starts == (["11-22 20:00:00"] if persistent else [])
        assert on.said(SKIPPED) == ([] if persistent else [LATE])
        assert on.due() == "11-23 00:00:00"
        await trio.sleep(DAY)
        assert on.starts[-1] == "11-23 00:00:00"


@pytest.mark.parametrize(
    ("calendar", "starts"),
    [
        ("15:30", ["11-22 15:30:00", "11-23 15:30:00"]),  # a time of the day is not done again
        ("*:0/15", ["11-22 15:15:00", "11-22 15:30:00", "11-22 14:45:00", "11-22 15:00:00", "11-22 15:15:00"]),
        ("14:50", ["11-22 14:50:00"]),  # and what had not come yet by the clock as it is, comes
    ],
)
async def test_the_clock_is_set_an_hour_back(autojump_clock: MockClock, calendar: str, starts: list[str]) -> None:
    async with timed(SUNDAY) as on:
        on.define(calendar)
        await on.until("2026-11-22 15:40:00")
        on.clocks.step(-HOUR)
        await on.until("2026-11-22 15:25:00")
        if starts[-1].startswith("11-23"):
            await on.until("2026-11-23 16:00:00")
        assert on.starts == starts


async def test_a_clock_that_was_a_year_ahead_is_set_right(autojump_clock: MockClock) -> None:
    async with timed("2027-11-22 15:00:00") as on:
        on.define("daily")
        await on.until("2027-11-23 01:00:00")
        on.clocks.step(-365 * DAY)
        await wait_all_tasks_blocked()
        assert on.kinds(ARMED) == [ARMED]
        await on.until("2026-11-25 00:00:00")
        assert on.starts == ["11-23 00:00:00", "11-24 00:00:00", "11-25 00:00:00"]


async def test_a_small_correction_changes_nothing(autojump_clock: MockClock) -> None:
    async with timed(SUNDAY) as on:
        on.define("hourly")
        on.clocks.step(-0.5)
        await on.until("2026-11-22 16:30:00")
        assert (on.starts, on.kinds(ARMED)) == (["11-22 16:00:00"], [])


@pytest.mark.parametrize(
    ("away", "persistent", "starts"),
    [
        (30.0, False, ["11-22 16:00:20"]),  # a daemon was killed, and the next one has come
        (2 * HOUR, False, []),
        (2 * HOUR, True, ["11-22 17:59:50"]),  # once, and not three times
    ],
)
async def test_the_next_daemon_finds_a_time_that_has_passed(
    autojump_clock: MockClock, away: float, persistent: bool, starts: list[str]
) -> None:
    bed = Bed()
    async with timed("2026-11-22 15:59:50", bed=bed) as on:
        on.define("*:0/30", schedule_persistent=persistent)
    later = on.clocks.wall() // 10**9 + int(away)
    following = Bed()
    following.store.jobs.update(bed.store.jobs)
    following.store.blobs.update(bed.store.blobs)
    following.store.events.extend(bed.store.events)
    async with timed(
        datetime.fromtimestamp(later, on.clocks.here()).strftime("%Y-%m-%d %H:%M:%S"), bed=following
    ) as on:
        assert on.starts == starts
        assert on.said(SKIPPED) == ([] if starts else [LATE])


# --- nights -----------------------------------------------------------------------------------------------------------
async def test_half_past_two_on_both_nights_of_the_year(autojump_clock: MockClock) -> None:
    async with timed("2026-03-28 12:00:00", "Europe/Berlin") as on:
        on.define("02:30")
        await on.until("2026-03-30 12:00:00")
        assert on.starts == ["03-29 03:00:00", "03-30 02:30:00"]
    async with timed("2026-10-24 12:00:00", "Europe/Berlin") as on:
        on.define("02:30")
        await on.until("2026-10-26 12:00:00")
        assert on.starts == ["10-25 02:30:00", "10-26 02:30:00"]


# --- what cannot be started ------------------------------------------------------------------------------------------
async def test_what_cannot_be_started_says_so_and_is_due_again(autojump_clock: MockClock) -> None:
    async with timed(SUNDAY) as on:
        on.define("hourly", requires=("db",))
        await on.until("2026-11-22 17:00:00")
        assert on.starts == []
        assert on.said(SKIPPED) == ["it requires db, which does not exist"] * 2
        assert on.due() == "11-22 18:00:00"


# --- runs that wait for their time ------------------------------------------------------------------------------------
def waiting(on: Timed, name: str, not_before: int | None = None, delay_sec: float | None = None) -> Terms:
    delay = None if delay_sec is None else round(delay_sec * 10**6)
    terms = on.world.schedule.terms(not_before, delay)
    on.jobs.submit(name, 0, terms, {})
    return terms


async def test_a_run_begins_at_its_time_by_the_wall(autojump_clock: MockClock) -> None:
    async with timed(SUNDAY) as on:
        on.define("00:00")
        now = on.clocks.wall()
        waiting(on, "later", now + 3600 * 10**9)
        assert waiting(on, "past", now - 1) == {}
        await on.until("2026-11-22 15:30:00")
        assert on.starts == ["11-22 15:00:00"]
        on.clocks.step(-HOUR)
        await on.until("2026-11-22 16:30:00")
        assert on.starts == ["11-22 15:00:00", "11-22 16:00:00"]


async def test_a_delay_goes_by_no_clock_that_anybody_sets(autojump_clock: MockClock) -> None:
    async with timed(SUNDAY) as on:
        waiting(on, "soon", delay_sec=600)
        await trio.sleep(60)
        on.clocks.step(DAY)
        await trio.sleep(539)
        assert on.starts == []
        await trio.sleep(1.5)
        assert on.starts == ["11-23 15:10:00"]


async def test_a_delay_has_no_end_that_a_row_could_not_name(autojump_clock: MockClock) -> None:
    async with timed(SUNDAY) as on:
        assert waiting(on, "never", delay_sec=2**53 / 10**6)["not_before"] == 2**63 - 1


async def test_a_canceled_run_is_forgotten_and_does_not_begin(autojump_clock: MockClock) -> None:
    async with timed(SUNDAY) as on:
        waiting(on, "soon", delay_sec=600)
        on.world.jobs[0, "soon"].run.ask_stop(None)  # type: ignore[union-attr]
        await wait_all_tasks_blocked()
        assert list(on.world.schedule.waiting()) == []
        await trio.sleep(700)
        assert on.starts == []


async def test_thousands_that_are_due_and_wait_for_their_turn_have_no_tasks(autojump_clock: MockClock) -> None:
    async with timed(SUNDAY) as on:
        on.world.queues.add(0, "q", 0, ROOT)
        terms = on.world.schedule.terms(None, 600 * 10**6)
        runs = [on.jobs.submit(f"late-{number}", 0, terms, {"queue": "q"}) for number in range(20)]
        await trio.sleep(601)
        assert {run.row.not_before for run in runs} == {None}
        assert all(run.wake.parked for run in runs)


async def test_many_jobs_may_be_due_at_the_same_time(autojump_clock: MockClock) -> None:
    async with timed(SUNDAY) as on:
        for number in range(300):
            on.define("16:00", name=f"job-{number}")
        await on.until("2026-11-22 16:00:01")
        assert len(on.starts) == 300


async def test_on_another_boot_a_delay_goes_by_the_wall(autojump_clock: MockClock) -> None:
    async with timed(SUNDAY) as on:
        terms: Terms = {"not_before": on.clocks.wall() + 600 * 10**9, "due_boot": 1, "boot_id": "another"}
        on.jobs.submit("soon", 0, terms, {})
        await on.until("2026-11-22 15:09:59")
        assert on.starts == []
        await on.until("2026-11-22 15:10:00")
        assert on.starts == ["11-22 15:10:00"]


async def test_a_queue_that_takes_nothing_new_is_why_it_is_not_started(autojump_clock: MockClock) -> None:
    async with timed(SUNDAY) as on:
        on.define("hourly", queue="nowhere")
        await on.until("2026-11-22 16:00:01")
        (why,) = on.said(SKIPPED)
        assert "nowhere" in str(why)
        on.define("hourly", queue="batch")
        await on.until("2026-11-22 17:00:01")
        assert on.starts == ["11-22 17:00:00"]
        assert on.bed.store.runs[on.row().latest or b""].queue == "/batch"


async def test_a_job_does_not_come_so_often_that_nobody_else_has_a_turn(autojump_clock: MockClock) -> None:
    async with timed(SUNDAY) as on:
        on.define("*:*:0/0.000001")
        await trio.sleep(1.05)
        assert len(on.starts) == 11


async def test_a_schedule_that_fails_by_an_error_of_ours_is_left_alone(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with timed(SUNDAY) as on:
        on.define("16:00", name="bad")
        on.define("16:00", name="good")
        start = on.world.schedule._start
        monkeypatch.setattr(on.world.schedule, "_start", lambda row: 1 / 0 if row.job == "bad" else start(row))
        await on.until("2026-11-23 16:00:00")
        assert on.starts == ["11-22 16:00:00", "11-23 16:00:00"]


async def test_a_jitter_of_centuries_is_no_time_at_all(autojump_clock: MockClock) -> None:
    """No row can name it."""
    async with timed(SUNDAY) as on:
        on.define("16:00", schedule_jitter_usec=1000 * 365 * 86400 * 10**6)
        assert on.row().elapse_next is None
        assert on.starts == []


async def test_a_clock_beyond_all_calendars_starts_nothing(autojump_clock: MockClock) -> None:
    async with timed("9999-12-31 23:00:00") as on:
        assert on.define("*:*").elapse_next is None
