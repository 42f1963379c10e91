"""A stdout that cannot be written to, or is not there at all."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from jobd.wire import messages as m
from tests.jobctl.fakes import DEADLINE_SEC, RUN_ID, jobctl, jobctl_command, table
from tests.jobctl.logfakes import writes
from tests.jobctl.test_hostile import LINES, hostile
from tests.jobctl.test_verbs import LOOKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.jobctl.fakes import FakeDaemon, Script

    Make = Callable[[Script], FakeDaemon]

pytestmark = pytest.mark.slow


def test_stdout_that_cannot_be_written_is_an_error(daemon: Make) -> None:
    with open("/dev/full", "wb") as full:
        result = jobctl(daemon(LOOKS).path, "list", capture_output=False, stdout=full, stderr=-1)
    assert result.returncode == 1
    assert result.stderr == b"jobctl: cannot write to standard output: No space left on device\n"


WRITING = [
    *LINES, ["logs", "-f", "web"], ["logs", "-o", "json", "web"], ["run", "-o", "json", "true"], ["run", "-f", "true"],
    ["wait", "-o", "json", "web"], ["completion", "bash"], ["help"], ["help", "run"], ["--help"], ["run", "--help"],
    ["--version"], ["list", "--state=help"], ["list", "-t", "help"], ["is-active", "-o", "json", "web"],
]  # fmt: skip


@pytest.mark.parametrize("line", WRITING, ids=" ".join)
def test_every_verb_says_so_when_it_cannot_write(daemon: Make, line: list[str]) -> None:
    path = daemon(hostile).path
    usual = jobctl(path, *line)
    with open("/dev/full", "wb") as device:
        full = jobctl(path, *line, capture_output=False, stdout=device, stderr=-1)
    for result, why in ((full, b"No space left on device"), (closed_stdout(path, *line), b"Bad file descriptor")):
        assert b"Traceback" not in result.stderr
        if usual.stdout:
            assert result.returncode in (1, 125)
            assert b"jobctl: cannot write to standard output: " + why in result.stderr
        else:
            assert (result.returncode, result.stderr) == (usual.returncode, usual.stderr)


@pytest.mark.parametrize("line", ["list", "status -n0 web", "show web", "history", "daemon-status"])
def test_a_closed_stdout_is_an_error_and_nothing_of_it_reaches_the_daemon(daemon: Make, line: str) -> None:
    fake = daemon(LOOKS)
    result = closed_stdout(fake.path, *line.split())
    assert (result.returncode, result.stderr) == (
        1,
        b"jobctl: cannot write to standard output: Bad file descriptor\n",
    )


def test_logs_with_a_closed_stdout(daemon: Make) -> None:
    result = closed_stdout(daemon(writes((1, 0, b"x\n", 0))).path, "logs", "web")
    assert result.returncode == 1
    assert result.stderr == b"jobctl: cannot write to standard output: Bad file descriptor\n"


def test_run_with_a_closed_stdout_says_that_the_job_was_accepted(daemon: Make) -> None:
    started = m.Started(job="web", owner=os.getuid(), run=RUN_ID, number=1)
    result = closed_stdout(daemon(table(run=lambda _: started)).path, "run", "true")
    assert result.returncode == 1
    assert result.stderr.endswith(b"; web was accepted all the same\n")


def closed_stdout(path: str, *args: str) -> subprocess.CompletedProcess[bytes]:
    """jobctl, started with descriptor 1 closed."""
    command = ["sh", "-c", '"$@" >&-', "sh", *jobctl_command(path, *args)]
    return subprocess.run(command, stderr=-1, timeout=DEADLINE_SEC, check=False)
