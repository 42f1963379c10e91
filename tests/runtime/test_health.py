"""A service that is asked how it is, again and again: on the autojump clock."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.core import service, states
from jobd.core.service import Check, Health
from jobd.runtime import checks
from tests.runtime.servicing import served

HTTP = Check(service.HTTP, "http://localhost/")
HEALTH = Health(HTTP, interval_usec=30_000_000, timeout_usec=10_000_000, failures=3, action=service.RESTART)


class Patient:
    """What is answered, one after the other; the last again and again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers = [""]
        self.asked: list[float] = []
        monkeypatch.setattr(checks, "ask", self.ask)

    async def ask(self, *_: object) -> str:
        self.asked.append(trio.current_time())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer == "not asked":
            raise checks.NotAsked
        if answer == "silence":
            await trio.sleep_forever()
        return answer


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> Patient:
    return Patient(monkeypatch)


async def test_it_is_asked_at_its_interval_once_it_is_ready(autojump_clock: MockClock, patient: Patient) -> None:
    async with served(ready=Check(service.DELAY, delay_usec=50_000_000), health=HEALTH) as at:
        began = trio.current_time()
        await trio.sleep(50 + 95)
        assert patient.asked == pytest.approx([began + 80, began + 110, began + 140], abs=0.5)
        assert at.run.service is not None
        assert at.run.service.health == "healthy"


async def test_so_many_failures_in_a_row_restart_it(autojump_clock: MockClock, patient: Patient) -> None:
    patient.answers = ["it answered 500", "it answered 500", "", "it answered 500", "silence"]
    async with served(health=HEALTH) as at:
        await trio.sleep(4 * 30 + 1)
        assert at.run.service is not None
        assert at.run.service.health == "http http://localhost/: it answered 500"
        assert at.sub == states.RUNNING
        await trio.sleep(82)
        assert at.sub == states.STOP_SIGTERM
        at.bed.keeper.exited(at.run.id, 15)
        await wait_all_tasks_blocked()
        row = at.bed.row(at.run)
        assert (row.result, row.again) == ("watchdog", "restart")
        assert row.reason == "its health check failed 3 times in a row: http http://localhost/: no answer in 10s"
        assert at.bed.store.jobs[0, "job-1"].sub == states.AUTO_RESTART, "whatever its policy says"


async def test_what_nobody_could_ask_is_not_held_against_it(autojump_clock: MockClock, patient: Patient) -> None:
    patient.answers = ["no", *["not asked"] * 5, "no", ""]
    async with served(health=HEALTH) as at:
        await trio.sleep(8 * 30 + 1)
        assert len(patient.asked) == 8
        assert at.run.service is not None
        assert (at.sub, at.run.service.health) == (states.RUNNING, "healthy")


@pytest.mark.parametrize(("action", "sub"), [(service.STOP, states.STOP_SIGTERM), (service.NONE, states.RUNNING)])
async def test_other_actions(autojump_clock: MockClock, patient: Patient, action: str, sub: str) -> None:
    patient.answers = ["no", "no", "no", "no", ""]
    health = Health(HTTP, interval_usec=10_000_000, failures=3, action=action)
    async with served(health=health, restart=service.ALWAYS) as at:
        await trio.sleep(35)
        assert at.sub == sub
        assert "unhealthy" in at.kinds() or at.run.row.stop_asked
        at.bed.keeper.exited(at.run.id, 15)
        await wait_all_tasks_blocked()
        again = states.FAILED if action == service.STOP else states.AUTO_RESTART
        assert at.bed.store.jobs[0, "job-1"].sub == again


async def test_one_that_is_only_looked_at_may_recover(autojump_clock: MockClock, patient: Patient) -> None:
    patient.answers = ["no", "no", ""]
    async with served(health=Health(HTTP, interval_usec=10_000_000, failures=1, action=service.NONE)) as at:
        await trio.sleep(35)
        assert [kind for kind in at.kinds() if "health" in kind] == ["unhealthy", "healthy"]


async def test_what_is_frozen_is_not_asked(autojump_clock: MockClock, patient: Patient) -> None:
    patient.answers = ["no"]
    async with served(health=HEALTH) as at:
        at.bed.keeper.say(at.run.id, "frozen", frozen=True)
        await trio.sleep(1000)
        assert patient.asked == []
        at.bed.keeper.say(at.run.id, "frozen", frozen=False)
        await trio.sleep(95)
        assert len(patient.asked) == 3
        assert at.sub == states.STOP_SIGTERM


async def test_one_that_is_frozen_while_it_is_asked_is_not_to_blame(
    autojump_clock: MockClock, patient: Patient
) -> None:
    patient.answers = ["silence"]
    async with served(health=Health(HTTP, failures=1)) as at:
        await trio.sleep(31)
        at.bed.keeper.say(at.run.id, "frozen", frozen=True)
        await trio.sleep(100)
        assert at.sub == states.RUNNING


async def test_without_a_keeper_nobody_is_to_blame(autojump_clock: MockClock, patient: Patient) -> None:
    patient.answers = ["Connection reset by peer"]
    async with served(health=HEALTH) as at:
        at.bed.keeper.alive = False
        await trio.sleep(1000)
        assert at.sub == states.RUNNING


async def test_what_is_being_stopped_is_not_asked(autojump_clock: MockClock, patient: Patient) -> None:
    async with served(health=HEALTH, stop_timeout_usec=None) as at:
        at.run.ask_stop(None)
        await trio.sleep(1000)
        assert patient.asked == []
