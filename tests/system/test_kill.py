"""`kill`: a signal is sent once, whoever dies over it."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from jobd.wire import messages as m
from tests.system.program import DEADLINE_SEC, Program, is_alive, until
from tests.system.raw import Raw

pytestmark = pytest.mark.slow
COUNTING = "trap 'echo caught' USR1; echo up; while :; do sleep 0.01; done"


def killed(program: Program, request: m.Kill, killer: threading.Timer) -> m.Done:
    """Ask until there is an answer; starts `killer` right after the first sending."""
    end = time.monotonic() + DEADLINE_SEC
    while time.monotonic() < end:
        try:
            with Raw(program.socket) as raw:
                raw.send(request)
                if killer.ident is None:
                    killer.start()
                answer = raw.receive()
                assert isinstance(answer, m.Item), answer
                assert isinstance(answer.body, m.Done)
                return answer.body
        except (EOFError, ConnectionError):
            continue
    raise AssertionError("no answer")


def test_a_signal_is_sent_once_though_the_daemon_is_killed_at_any_moment(jobd: Program) -> None:
    jobd.jobctl("run", "--name", "job", "--", "/bin/sh", "-c", COUNTING, check=True)
    until(lambda: jobd.output("job") == b"up\n", "its trap is set")
    for step in range(10):
        killer = threading.Timer(step * 0.001, os.kill, (jobd.daemon_pid(), signal.SIGKILL))
        request = m.Kill(id=1, names=["job"], signal=signal.SIGUSR1, whom="main", once=f"signal-{step}")
        assert killed(jobd, request, killer).code == ""
        killer.join()
        expected = b"up\n" + b"caught\n" * (step + 1)
        until(lambda expected=expected: len(jobd.output("job")) >= len(expected), "it is caught")  # type: ignore[misc]
        assert jobd.output("job") == expected
    jobd.jobctl("stop", "job", check=True)
    assert jobd.output("job").count(b"caught") == 10


def test_a_signal_that_ends_the_job_is_no_failure_when_asked_for_again(jobd: Program) -> None:
    for step in range(6):
        jobd.jobctl("run", "--name", "job", "--", "sleep", "600", check=True)
        killer = threading.Timer(step * 0.0013, os.kill, (jobd.daemon_pid(), signal.SIGKILL))
        done = killed(jobd, m.Kill(id=1, names=["job"], once=f"end-{step}"), killer)
        killer.join()
        assert done.code == "", done
        assert jobd.jobctl("wait", "job").returncode == 128 + signal.SIGTERM
        again = killed(jobd, m.Kill(id=1, names=["job"], once=f"other-{step}"), killer)
        assert again.code == "not-applicable"


def test_jobctl_kill_goes_on_under_the_next_daemon(jobd: Program) -> None:
    jobd.jobctl("run", "--name", "job", "--", "/bin/sh", "-c", COUNTING, check=True)
    until(lambda: jobd.output("job") == b"up\n", "its trap is set")
    daemon = jobd.daemon_pid()
    os.kill(daemon, signal.SIGSTOP)  # whether jobctl has asked by the time of its end or not, it has no answer
    asking = jobd.start_jobctl("kill", "-s", "USR1", "--kill-whom", "main", "job")
    until(lambda: is_alive(asking.pid), "jobctl is there")
    os.kill(daemon, signal.SIGKILL)
    assert asking.communicate(timeout=DEADLINE_SEC) == (b"", b"")
    assert asking.returncode == 0
    until(lambda: jobd.output("job") == b"up\ncaught\n", "it is caught")
