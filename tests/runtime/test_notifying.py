"""What a service says through its socket, and what comes of it; on the autojump clock."""

from __future__ import annotations

import os

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from jobd.core import states
from jobd.runtime import notifying
from tests.runtime.servicing import NOTIFY, STRANGER, served


async def test_ready_is_durable_before_it_is_received(autojump_clock: MockClock) -> None:
    async with served(**NOTIFY) as at:
        assert at.sub == states.START
        assert at.run.service is not None
        assert at.run.service.waits == "for READY=1"
        at.bed.journal.held = []
        await at.say("READY=1", "STATUS=Up")
        assert at.sub == states.RUNNING
        heard = at.run.service.heard
        assert heard is not None
        assert heard.has_unread(), "the next daemon would have it once more"
        for commit in at.bed.journal.held:
            commit.settle(None)
        await wait_all_tasks_blocked()
        assert not heard.has_unread()
        assert at.bed.row(at.run).ready_at
        assert at.bed.row(at.run).status_text == "Up"
        assert at.run.service.waits == ""


async def test_said_twice_it_is_one_event(autojump_clock: MockClock) -> None:
    async with served(**NOTIFY) as at:
        await at.say("READY=1")
        await at.say("READY=1")
        assert at.kinds().count("ready") == 1


async def test_of_a_job_that_is_ready_when_it_runs_ready_says_nothing(autojump_clock: MockClock) -> None:
    async with served(watchdog_usec=10**9) as at:
        assert at.sub == states.RUNNING
        await at.say("READY=1")
        assert "ready" not in at.kinds()


async def test_a_stranger_is_not_listened_to_and_that_is_said_once(autojump_clock: MockClock) -> None:
    async with served(**NOTIFY) as at:
        at.run.pid = STRANGER
        for _ in range(3):
            await at.say("READY=1")
        assert at.sub == states.START
        assert at.kinds().count("notification-ignored") == 1
        assert "process" in at.bed.row(at.run).note


async def test_any_process_of_the_tree_is_listened_to(autojump_clock: MockClock) -> None:
    async with served(**NOTIFY) as at:
        at.run.pid = STRANGER
        at.bed.keeper.members[os.getpid()] = at.run.id
        await at.say("READY=1")
        assert at.sub == states.RUNNING


async def test_without_a_keeper_words_of_others_than_the_main_process_wait(autojump_clock: MockClock) -> None:
    async with served(**NOTIFY) as at:
        await at.say("READY=1")
        at.run.pid = STRANGER
        at.bed.keeper.alive = False
        await at.say("STATUS=later")
        service = at.run.service
        assert service is not None
        assert service.heard is not None
        assert service.status is None
        assert not service.heard.has_unread(), "nobody here will read it"


async def test_descriptors_are_closed_when_the_datagram_is_taken_in(autojump_clock: MockClock) -> None:
    async with served(**NOTIFY) as at:
        reader, writer = os.pipe()
        at.post("BARRIER=1", fds=(writer,))
        os.close(writer)
        before = len(os.listdir("/proc/self/fd"))
        await wait_all_tasks_blocked()
        assert os.read(reader, 1) == b""
        os.close(reader)
        assert len(os.listdir("/proc/self/fd")) <= before


async def test_another_main_process(autojump_clock: MockClock) -> None:
    async with served(**NOTIFY) as at:
        at.bed.keeper.members[STRANGER] = at.run.id
        at.bed.keeper.members[os.getpid()] = at.run.id
        await at.say(f"MAINPID={STRANGER}", "READY=1")
        assert (at.run.pid, at.bed.row(at.run).pid, at.sub) == (STRANGER, STRANGER, states.RUNNING)


async def test_a_stranger_is_not_made_the_main_process(autojump_clock: MockClock) -> None:
    async with served(**NOTIFY) as at:
        await at.say(f"MAINPID={STRANGER}", "READY=1")
        assert (at.run.pid, at.sub) == (os.getpid(), states.RUNNING)
        assert f"refused MAINPID={STRANGER}" in at.bed.row(at.run).note


async def test_a_main_process_that_is_named_while_the_keeper_dies_is_for_the_next_daemon(
    autojump_clock: MockClock,
) -> None:
    async with served(**NOTIFY) as at:
        at.bed.keeper.alive = False  # and does not know any process
        await at.say(f"MAINPID={STRANGER}\nREADY=1")
        assert (at.bed.row(at.run).note, at.sub) == ("", states.START)
        service = at.run.service
        assert service is not None
        assert service.heard is not None
        assert service.heard.has_unread(), "it is left in the socket"
        at.bed.keeper.exited(at.run.id, 0, empty=False)
        await trio.sleep(10 * notifying.END_SEC)
        assert (at.run.ending, at.sub) == (None, states.START), "the next daemon knows whether that was the run's end"


async def test_a_keeper_that_dies_over_the_question_whose_a_word_is_leaves_it(autojump_clock: MockClock) -> None:
    async with served(**NOTIFY) as at:
        at.run.pid = STRANGER

        async def dies(pids: list[int]) -> list[bytes | None]:
            at.bed.keeper.alive = False
            await trio.lowlevel.checkpoint()
            return [None] * len(pids)

        at.bed.keeper.runs_of = dies  # type: ignore[method-assign]
        await at.say("READY=1")
        assert (at.bed.row(at.run).note, at.sub) == ("", states.START)


async def test_the_parent_of_a_service_that_forks_away_ends_before_its_word_is_heard(
    autojump_clock: MockClock,
) -> None:
    async with served(**NOTIFY) as at:
        at.bed.keeper.members[STRANGER] = at.run.id
        at.post(f"MAINPID={STRANGER}", "READY=1")
        at.bed.keeper.exited(at.run.id, 0, empty=False)
        assert at.run.ending is None
        await wait_all_tasks_blocked()
        assert (at.run.ending, at.sub) == (None, states.RUNNING)
        at.bed.keeper.exited(at.run.id, 3 << 8)
        await wait_all_tasks_blocked()
        assert (at.bed.row(at.run).result, at.bed.row(at.run).exit_code) == ("exit-code", 3)


async def test_last_words_are_heard_before_the_end(autojump_clock: MockClock) -> None:
    async with served(**NOTIFY) as at:
        at.post("READY=1", "STATUS=cannot read /etc/x", "ERRNO=2")
        at.bed.keeper.exited(at.run.id, 1 << 8)
        await wait_all_tasks_blocked()
        row = at.bed.row(at.run)
        assert (row.status_text, row.status_errno, row.result) == ("cannot read /etc/x", 2, "exit-code")
        assert row.ready_at


async def test_an_end_waits_for_words_no_longer_than_a_second(autojump_clock: MockClock) -> None:
    async with served(**NOTIFY) as at:
        await at.say("READY=1")
        at.bed.journal.held = []
        at.post("ERRNO=3")
        at.bed.keeper.exited(at.run.id, 0)
        began = trio.current_time()
        while at.sub == states.RUNNING:
            at.post("STATUS=and more")
            await trio.sleep(0.1)
            for commit in at.bed.journal.held:
                if not commit.done:
                    commit.settle(None)
        assert trio.current_time() - began <= notifying.END_SEC + 0.2


async def test_what_ends_well_before_it_is_ready_has_failed(autojump_clock: MockClock) -> None:
    async with served(**NOTIFY) as at:
        at.bed.keeper.exited(at.run.id, 0)
        await wait_all_tasks_blocked()
        assert at.bed.row(at.run).result == "protocol"


async def test_a_reload_that_the_service_announces(autojump_clock: MockClock) -> None:
    async with served(**NOTIFY) as at:
        await at.say("READY=1")
        await at.say("RELOADING=1", "STATUS=Reading")
        assert (at.sub, at.run.job.row.active) == (states.RELOAD, "reloading")
        await at.say("RELOADING=1")
        await at.say("READY=1")
        assert (at.sub, at.kinds().count("reloading")) == (states.RUNNING, 1)


async def test_a_reload_that_is_never_done_is_over_after_the_time_of_a_start(autojump_clock: MockClock) -> None:
    async with served(**NOTIFY, ready_timeout_usec=90_000_000) as at:
        await at.say("READY=1")
        await at.say("RELOADING=1")
        await trio.sleep(89)
        assert at.sub == states.RELOAD
        await trio.sleep(2)
        assert at.sub == states.RUNNING
        assert at.kinds()[-1] == "reload-timed-out"


async def test_a_service_that_stops_gets_no_signal_but_its_time(autojump_clock: MockClock) -> None:
    async with served(**NOTIFY, stop_timeout_usec=10_000_000) as at:
        await at.say("READY=1")
        await at.say("STOPPING=1")
        assert at.run.job.row.active == "deactivating"
        assert at.bed.keeper.ops("signal", "kill-tree") == []
        began = trio.current_time()
        await at.bed.keeper.until("kill-tree kill-1", within=60)
        assert trio.current_time() - began == pytest.approx(10, abs=0.2)
        at.bed.keeper.exited(at.run.id, 9)
        await wait_all_tasks_blocked()
        assert at.bed.row(at.run).result == "timeout"


async def test_a_service_that_stops_by_itself_ends_as_its_exit_says(autojump_clock: MockClock) -> None:
    async with served(**NOTIFY) as at:
        await at.say("READY=1")
        await at.say("STOPPING=1")
        at.bed.keeper.exited(at.run.id, 0)
        await wait_all_tasks_blocked()
        assert at.bed.row(at.run).result == "success"


async def test_more_time_to_stop(autojump_clock: MockClock) -> None:
    async with served(**NOTIFY, stop_timeout_usec=10_000_000) as at:
        await at.say("READY=1")
        at.run.ask_stop(None)
        await trio.sleep(9)
        await at.say("EXTEND_TIMEOUT_USEC=20000000")
        await trio.sleep(15)
        assert at.sub == states.STOP_SIGTERM
        await trio.sleep(6)
        assert at.sub == states.STOP_SIGKILL


async def test_more_time_is_for_one_state(autojump_clock: MockClock) -> None:
    async with served(**NOTIFY, ready_timeout_usec=5_000_000, stop_timeout_usec=5_000_000) as at:
        await at.say("EXTEND_TIMEOUT_USEC=1000000000")
        assert at.bed.row(at.run).extended_usec == 1_000_000_000
        await trio.sleep(500)
        await at.say("READY=1")
        assert at.bed.row(at.run).extended_usec == 0
        at.run.ask_stop(None)
        await at.bed.keeper.until("kill-tree kill-1", within=5.2)


async def test_many_statuses_are_a_few_events_and_the_last_is_kept_at_the_end(autojump_clock: MockClock) -> None:
    async with served(**NOTIFY) as at:
        await at.say("READY=1")
        for n in range(3000):
            at.post(f"STATUS={n}")
            await trio.sleep(1)
        assert at.run.service is not None
        assert at.run.service.status == "2999"
        assert notifying.STATUSES <= at.kinds().count("status") <= notifying.STATUSES + 3000 / 600 + 1
        at.bed.keeper.exited(at.run.id, 0)
        await wait_all_tasks_blocked()
        assert at.bed.row(at.run).status_text == "2999"


async def test_a_flood_is_read_slowly_and_is_a_few_events(autojump_clock: MockClock) -> None:
    async with served(**NOTIFY) as at:
        await at.say("READY=1")
        sent = 0
        with trio.move_on_after(60):
            while True:
                try:
                    at.post("RELOADING=1")
                    at.post("READY=1", f"ERRNO={sent % 100}")
                    sent += 2
                except BlockingIOError:
                    await trio.sleep(0.01)
        assert len(at.bed.store.events) < 120
        assert at.kinds().count("notification-ignored") == 1


async def test_what_cannot_be_read_is_said_and_the_rest_counts(autojump_clock: MockClock) -> None:
    async with served(**NOTIFY) as at:
        await at.say("ERRNO=many", "READY=1")
        assert at.sub == states.RUNNING
        assert at.bed.row(at.run).note == "ignored of its notifications: ERRNO=many"
