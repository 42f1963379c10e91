"""What a campaign says: a planted problem is seen in its counts, its line and its table."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.fault.__main__ import Outcome, Running, main, output_of, row
from tests.fault.campaigns import CAMPAIGNS, Campaign, run
from tests.fault.report import MEANT, CannotRunError, Problem, Report, details, own_deaths, tally

if TYPE_CHECKING:
    from pathlib import Path

LOST = Problem("lost", "make-1", "ran 0 times")


def one(body: object) -> Campaign:
    def act(_root: Path, _size: int, seed: int) -> Report:
        if isinstance(body, Exception):
            raise body
        assert isinstance(body, Report)
        return body._replace(seed=seed)

    return Campaign("F0", "nothing happens", act, "kills", 2, 1)


def test_a_problem_is_counted_and_told() -> None:
    report = Report(7, "2 kills", tally(("lost", "doubled"), [LOST]), details([LOST]), 1.2)
    assert not report.passed
    assert str(report) == "seed 7: 2 kills: 1 lost, 0 doubled, 1 s: FAILED\n  lost: make-1: ran 0 times"


def test_a_kind_that_nobody_has_announced_is_counted() -> None:
    assert tally(("doubled",), [LOST]) == {"doubled": 0, "lost": 1}


def test_a_daemon_that_dies_by_itself_is_seen() -> None:
    log = "jobd: warning: the daemon has died ({0})\njobd: info: the daemon has ended (exit status 0)\n"
    for meant in MEANT:
        assert own_deaths(log.format(meant)) == []
    assert own_deaths(log.format("exit status 1")) == ["a daemon has died: exit status 1"]
    assert own_deaths(log.format("signal 11")) == ["a daemon has died: signal 11"]


def test_what_is_not_zero_comes_first() -> None:
    assert Report(7, "", {"lost": 0, "doubled": 3}).zeros == "3 doubled, 0 lost"


def test_nothing_found_has_passed() -> None:
    assert Report(7, "2 kills", tally(("lost",), []), seconds=3.0).passed


def test_what_a_campaign_raises_is_a_failure_with_its_seed(tmp_path: Path) -> None:
    report = run(one(AssertionError("not in 60 s: jobd answers")), tmp_path, 2, 9)
    assert (report.seed, report.counts, report.passed) == (9, {"broke off": 1}, False)
    assert "jobd answers" in report.details[-1]


def test_what_cannot_run_here_says_so(tmp_path: Path) -> None:
    with pytest.raises(CannotRunError):
        run(one(CannotRunError("no strace")), tmp_path, 2, 9)
    assert row(Outcome(one(None), 2, None, "no strace")) == "| F0 | nothing happens | | skipped: no strace | |"


def test_a_row_says_what_the_line_says() -> None:
    outcome = Outcome(one(None), 2, Report(7, "2 kills", {"lost": 1, "doubled": 0}, seconds=3.4))
    assert outcome.failed
    assert row(outcome) == "| F0 | nothing happens | 2 kills | **1 lost**; 0 of: doubled | 3 |"
    assert outcome.again == "make fault FAULT=F0 SIZE=2 SEED=7"


def test_a_row_of_nothing_found_says_what_was_looked_for() -> None:
    outcome = Outcome(one(None), 2, Report(7, "2 kills", {"lost": 0, "doubled": 0}, seconds=3.4))
    assert row(outcome) == "| F0 | nothing happens | 2 kills | 0 of: lost, doubled | 3 |"


@pytest.mark.parametrize("size", ["0", "-3", "many"])
def test_a_size_that_tries_nothing_is_refused(size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["fault", "F1", "--size", size])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2


def test_what_is_stopped_ends_its_campaigns(tmp_path: Path) -> None:
    running = Running()
    process = running.start([sys.executable, "-c", "import time; print('here', flush=True); time.sleep(60)"])
    assert process is not None
    assert process.stdout is not None
    process.stdout.readline()
    running.stop()
    assert output_of(process) == ""
    assert process.returncode == -signal.SIGTERM
    assert not running.ended(process)
    assert running.start([sys.executable, "-c", f"open({str(tmp_path / 'ran')!r}, 'w')"]) is None


def test_every_campaign_has_a_short_form() -> None:
    assert all(0 < one.short <= one.full for one in CAMPAIGNS.values())
