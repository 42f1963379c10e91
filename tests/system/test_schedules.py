"""What starts by the clock, with the real programs: schedules, and runs that wait for their time."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.system.own import Own
from tests.system.program import Program, is_alive, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow
HOUR_SEC = 3600
TICK = 'command = ["true"]\ntype = "oneshot"\nschedule = "*:*:0/0.25"\n'


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A jobd with a job whose schedule does not count yet."""
    program = Program(tmp_path_factory.mktemp("timed"))
    jobs = program.config_dir / "jobs"
    jobs.mkdir()
    (jobs / "tick.toml").write_text(TICK)
    (jobs / "nightly.toml").write_text('command = "sleep 300"\ntype = "oneshot"\nschedule = "Mon..Fri 03:00"\n')
    try:
        program.start()
        yield program
    finally:
        program.close()


def timers(program: Program, *options: str) -> dict[str, dict[str, object]]:
    rows = json.loads(program.jobctl("list-timers", "-o", "json", *options, check=True).stdout)
    return {row["job"]: row for row in rows}


def test_a_schedule_counts_while_it_is_enabled_and_outlives_the_daemon(timed: Program) -> None:
    assert timers(timed) == {}
    assert timers(timed, "-a", "t*").keys() == {"tick"}
    timed.jobctl("enable", "tick", check=True)
    assert timers(timed)["tick"]["next"] is not None
    until(lambda: len(timed.history("tick")) >= 2, "it has run twice")
    before = timed.replace_daemon()
    assert before
    seen = len(timed.history("tick"))
    until(lambda: len(timed.history("tick")) >= seen + 2, "it has run twice more")
    timed.jobctl("disable", "tick", check=True)
    assert timers(timed) == {}
    runs = timed.history("tick")
    assert {run["result"] for run in runs} <= {"success", None}
    assert {run["cause"] for run in runs} == {"schedule"}
    kinds = timed.jobctl("events", "tick", "-n", "all", "-o", "json", check=True).stdout
    assert kinds.count('"schedule-elapsed"') == kinds.count('"accepted"') == len(timed.history("tick"))


def test_the_start_of_jobd_arms_what_is_enabled_and_starts_nothing(timed: Program) -> None:
    timed.jobctl("enable", "nightly", check=True)
    due = timers(timed)["nightly"]["next"]
    assert timed.show("nightly", "NextElapseUSecRealtime")
    assert "Trigger: " in timed.jobctl("status", "nightly").stdout
    timed.close()
    timed.start()
    assert timers(timed)["nightly"]["next"] == due
    assert timed.show("nightly", "ActiveState") == "inactive"
    assert "its schedule starts it on" in timed.jobctl("why", "nightly", check=True).stdout
    timed.jobctl("mask", "nightly", check=True)
    assert timers(timed) == {}
    timed.jobctl("unmask", "nightly", check=True)
    timed.jobctl("disable", "nightly", check=True)


def test_a_run_begins_after_its_delay(timed: Program) -> None:
    begun = time.monotonic()
    done = timed.jobctl("run", "--in", "300ms", "--name", "soon", "--wait", "--", "true")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begun >= 0.3


def test_a_run_that_waits_for_its_time_outlives_the_daemon_and_can_be_taken_back(timed: Program) -> None:
    at = int(time.time()) + HOUR_SEC
    timed.jobctl("run", "--at", f"@{at}", "--name", "later", "--", "true", check=True)
    due = timers(timed)["later"]
    assert due["run"] is not None
    assert "waits until" in timed.jobctl("why", "later", check=True).stdout
    timed.replace_daemon()
    assert timers(timed)["later"] == due
    assert timed.show("later", "SubState") == "queued"
    timed.jobctl("cancel", "later", check=True)
    assert timed.history("later")[0]["result"] == "canceled"
    assert timers(timed) == {}
    refused = timed.jobctl("run", "--at", "2020-01-01", "--", "true")
    assert refused.returncode == 2
    assert "has passed" in refused.stderr


def test_a_users_daemon_stays_for_a_timer(tmp_path: Path) -> None:
    own = Own(tmp_path, env={"JOBD_IDLE_EXIT": "0.2s"})
    try:
        own.jobctl("run", "--in", "1h", "--name", "later", "--", "true", check=True)
        keeper = own.keeper_pid
        time.sleep(0.5)  # nothing can be waited for: it is not to happen
        assert is_alive(keeper)
        own.jobctl("cancel", "later", check=True)
        until(own.ended, "jobd has left when nothing waits any more")
        assert own.history("later")[0]["result"] == "canceled"
    finally:
        own.close()
