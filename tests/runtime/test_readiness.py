"""When a service is ready, and what becomes of one that is not in time; on the autojump clock."""

from __future__ import annotations

import errno

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.core import service, states
from jobd.core.service import Check
from jobd.runtime import checks, logwatch, readiness
from tests.runtime.fakes import Bed
from tests.runtime.servicing import NOTIFY, served

TCP = Check(service.TCP, "localhost:8000")


class Answers:
    """What a service answers from when on, and when it was asked."""

    def __init__(self) -> None:
        self.good_at = float("inf")
        self.why = "Connection refused"
        self.takes_sec = 0.0
        self.asked: list[float] = []

    async def ask(self, *_: object) -> str:
        self.asked.append(trio.current_time())
        await trio.sleep(self.takes_sec)
        return "" if trio.current_time() >= self.good_at else self.why


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    made = Answers()
    monkeypatch.setattr(checks, "ask", made.ask)
    return made


async def test_ready_never_comes(autojump_clock: MockClock) -> None:
    async with served(**NOTIFY, ready_timeout_usec=90_000_000, stop_timeout_usec=5_000_000) as at:
        began = trio.current_time()
        await at.bed.keeper.until("signal term-1", within=100)
        assert trio.current_time() - began == pytest.approx(90, abs=0.2)
        assert not at.run.up, "who waits for its start is told when all of it is over"
        at.bed.keeper.exited(at.run.id, 15)
        await wait_all_tasks_blocked()
        row = at.bed.row(at.run)
        assert (row.result, row.reason) == ("timeout", "it was not ready within 1min 30s: it waited for READY=1")
        assert at.bed.store.jobs[0, "job-1"].active == "failed"


async def test_no_time_at_all_and_all_the_time_there_is(autojump_clock: MockClock) -> None:
    async with served(**NOTIFY, ready_timeout_usec=0) as at:
        await wait_all_tasks_blocked()
        assert at.sub == states.STOP_SIGTERM
    async with served(**NOTIFY, ready_timeout_usec=None) as at:
        await trio.sleep(10**7)
        assert at.sub == states.START


async def test_more_time_to_start(autojump_clock: MockClock) -> None:
    async with served(**NOTIFY, ready_timeout_usec=10_000_000) as at:
        await trio.sleep(9)
        await at.say("EXTEND_TIMEOUT_USEC=5000000")
        await trio.sleep(4)
        await at.say("EXTEND_TIMEOUT_USEC=5000000")
        await trio.sleep(4.5)
        assert at.sub == states.START
        assert at.kinds().count("notified") == 1, "said again it is no news"
        await trio.sleep(1)
        assert at.sub == states.STOP_SIGTERM


async def test_more_time_than_there_was_left_is_never_less(autojump_clock: MockClock) -> None:
    async with served(**NOTIFY, ready_timeout_usec=60_000_000) as at:
        await at.say("EXTEND_TIMEOUT_USEC=1000")
        await trio.sleep(59)
        assert at.sub == states.START


async def test_a_check_is_asked_until_it_is_good(autojump_clock: MockClock, answers: Answers) -> None:
    answers.good_at = trio.current_time() + 20
    async with served(ready=TCP) as at:
        await trio.sleep(1)
        assert (at.sub, at.run.up) == (states.START, False)
        assert at.run.service is not None
        assert at.run.service.waits == "for tcp 8000 (Connection refused)"
        await trio.sleep(18.9)
        assert at.sub == states.START
        await trio.sleep(1.2)
        assert (at.sub, at.run.up) == (states.RUNNING, True)
        pauses = [b - a for a, b in zip(answers.asked, answers.asked[1:], strict=False)]
        assert pauses[0] == pytest.approx(readiness.LEAST_SEC)
        assert max(pauses) <= readiness.MOST_SEC + 0.01
        assert len(pauses) < 130


async def test_a_service_that_is_ready_early_is_found_so_early(autojump_clock: MockClock, answers: Answers) -> None:
    began = trio.current_time()
    answers.good_at = began + 0.2
    async with served(ready=TCP) as at:
        while at.sub == states.START:
            await at.run.job.changed.wait()
        assert trio.current_time() - began < 0.2 + 0.015


async def test_who_says_nothing_is_asked_anew(autojump_clock: MockClock, answers: Answers) -> None:
    answers.takes_sec = 10**6
    async with served(ready=TCP, ready_timeout_usec=25_000_000) as at:
        await trio.sleep(24)
        assert len(answers.asked) == 3
        assert at.run.service is not None
        assert "no answer in 10 s" in at.run.service.waits
        await trio.sleep(2)
        assert at.run.row.stop_asked == "timeout"


async def test_a_stop_while_it_waits_for_its_check(autojump_clock: MockClock, answers: Answers) -> None:
    async with served(ready=TCP) as at:
        await trio.sleep(1)
        at.run.ask_stop(None)
        await wait_all_tasks_blocked()
        asked = len(answers.asked)
        await trio.sleep(5)
        assert len(answers.asked) == asked
        assert at.bed.keeper.ops("signal") == ["signal term-1"]


async def test_an_end_while_it_waits_for_its_check(autojump_clock: MockClock, answers: Answers) -> None:
    async with served(ready=TCP) as at:
        at.bed.keeper.exited(at.run.id, 1 << 8)
        await wait_all_tasks_blocked()
        assert at.bed.row(at.run).result == "exit-code"


async def test_a_unix_socket_is_asked_by_the_keeper(autojump_clock: MockClock) -> None:
    bed = Bed()
    bed.keeper.sockets[b"/run/db.sock"] = errno.EACCES
    async with served(bed, ready=Check(service.UNIX, "/run/db.sock")) as at:
        await trio.sleep(1)
        assert at.run.service is not None
        assert at.run.service.waits == "for unix /run/db.sock (Permission denied)"
        bed.keeper.sockets[b"/run/db.sock"] = 0
        await trio.sleep(1)
        assert at.sub == states.RUNNING


async def test_a_delay(autojump_clock: MockClock) -> None:
    async with served(ready=Check(service.DELAY, delay_usec=3_000_000)) as at:
        await trio.sleep(2.9)
        assert at.sub == states.START
        await trio.sleep(0.2)
        assert at.sub == states.RUNNING


async def test_a_pattern_that_takes_too_long_ends_the_start_at_once(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def until_line(*_: object) -> str:
        raise logwatch.PatternTooSlow

    monkeypatch.setattr(logwatch, "until_line", until_line)
    async with served(ready=Check(service.LOG, "(a+)+$")) as at:
        assert at.run.row.stop_asked == "timeout"
        assert "(a+)+$, takes too long" in at.run.row.reason


async def test_a_oneshot_is_in_its_start_for_as_long_as_it_may(autojump_clock: MockClock) -> None:
    async with served(type=service.ONESHOT, ready_timeout_usec=60_000_000, stop_timeout_usec=None) as at:
        assert at.run.service is None
        await trio.sleep(59)
        assert at.sub == states.START
        await trio.sleep(2)
        assert (at.sub, at.run.row.stop_asked) == (states.STOP_SIGTERM, "timeout")
        assert at.run.row.reason == "it ran for longer than 1min"
