"""A user's own daemon that nobody needs leaves, and is back for whoever comes, at whatever moment."""

from __future__ import annotations

import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from jobctl.client import Client
from jobctl.connect import Target
from jobd.client import connect_blocking
from tests.system.own import Own
from tests.system.program import DEADLINE_SEC, Gate, is_alive, until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow
LIMIT_SEC = 0.2
ROUNDS = 5


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Own]:
    program = Own(tmp_path, env={"JOBD_IDLE_EXIT": f"{LIMIT_SEC}s"})
    try:
        yield program
    finally:
        program.close()


def test_it_leaves_when_idle_and_is_back_for_the_next(own: Own) -> None:
    own.jobctl("run", "--wait", "--name", "job", "--", "true", check=True)
    until(own.ended, "jobd has left")
    again = own.jobctl("result", "job", check=True)
    assert again.stderr == ""
    assert own.history("job")[0]["result"] == "success"
    until(own.ended, "jobd has left again")


def test_it_stays_for_a_job_and_for_a_client(own: Own, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    own.jobctl("run", "--name", "job", "--", "/bin/sh", "-c", gate.wait, check=True)
    keeper = own.keeper_pid
    time.sleep(4 * LIMIT_SEC)  # nothing can be waited for: it is not to happen
    assert is_alive(keeper)
    waiter = own.start_jobctl("wait", "job")
    gate.open()
    assert waiter.wait(DEADLINE_SEC) == 0
    with connect_blocking(str(own.socket)) as jobs:
        assert jobs.daemon_status().running == 0
        time.sleep(4 * LIMIT_SEC)
        assert is_alive(keeper)
    until(own.ended, "jobd has left")
    assert own.starts() == 1


def test_zero_is_for_ever(tmp_path: Path) -> None:
    own = Own(tmp_path, env={"JOBD_IDLE_EXIT": "0"})
    try:
        own.jobctl("list", check=True)
        keeper = own.keeper_pid
        time.sleep(4 * LIMIT_SEC)
        assert is_alive(keeper)
        own.jobctl("shutdown", check=True)
    finally:
        own.close()


def test_twenty_clients_at_the_moment_of_leaving_are_all_served(own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads, not processes: they have to come within milliseconds of the end, from before it to after it."""
    for name, value in own.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("JOBD_SOCKET", raising=False)
    chance = random.Random(7)

    def client(pause: float) -> None:
        time.sleep(pause)
        talk = Client(Target("user"))
        try:
            assert talk.call({"type": "list"})["type"] == "jobs"
        finally:
            talk.close()

    def burst(pauses: Iterable[float]) -> None:
        for _ in pool.map(client, pauses, timeout=DEADLINE_SEC):
            pass

    with ThreadPoolExecutor(20) as pool:
        for number in range(ROUNDS):
            burst([0.0] * 20)
            # In the instant before it leaves, if the machine is quiet enough to hit it …
            moment = LIMIT_SEC + chance.uniform(-0.005, 0.02)
            burst(moment + chance.uniform(0, 0.005) for _ in range(20))
            # … and, for sure, while it is leaving.
            until(lambda: own.log_text().count("nothing to do: leaving") > number, "jobd begins to leave")  # noqa: B023
            burst(chance.uniform(0, 0.03) for _ in range(20))
    until(own.ended, "jobd has left")


def test_twenty_jobctls_at_the_moment_of_leaving_run_their_jobs(own: Own) -> None:
    for _ in range(2):
        own.jobctl("list", check=True)
        time.sleep(LIMIT_SEC / 2)
        clients = [own.start_jobctl("run", "--wait", "--", "echo", str(n)) for n in range(20)]
        assert [(client.communicate(timeout=DEADLINE_SEC)[1], client.returncode) for client in clients] == [
            (b"", 0)
        ] * 20
    until(own.ended, "jobd has left")
    assert len(own.history("echo-*")) == 40


def test_a_daemon_killed_as_it_leaves_leaves_no_deaf_socket(own: Own) -> None:
    """At any instant of the way out, whoever comes next is served."""
    for pause in (0.0, 0.002, 0.005, 0.01, 0.02):
        own.jobctl("list", check=True)
        daemon = own.daemon_pid()
        time.sleep(LIMIT_SEC + pause)
        if is_alive(daemon):
            os.kill(daemon, signal.SIGKILL)
        own.jobctl("list", check=True)


def test_a_python_client_that_lost_its_daemon_starts_the_next(own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in own.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("JOBD_SOCKET", raising=False)
    with connect_blocking(mode="user") as jobs:
        first = jobs.daemon_status().keeper_pid
        own.kill_daemon()  # takes the idle connection along, so that nothing keeps the next from leaving
        until(own.ended, "jobd has left")
        assert jobs.daemon_status().keeper_pid != first
    until(own.ended, "jobd has left again")
