"""jobctl as scripts, cron and people with odd words use it."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.system.program import DEADLINE_SEC, Gate, open_fds, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.program import Program

pytestmark = pytest.mark.slow
CALLS = 25  # of each of four kinds; a thousand would leak ten times as much


def test_a_loop_of_calls_leaves_nothing_behind(shared: Program, name: str) -> None:
    shared.jobctl("run", "--wait", "--name", name, "--", "true", check=True)
    script = f"""set -e
    i=0
    while [ $i -lt {CALLS} ]; do
        jobctl is-active -q {name} || [ $? = 3 ]
        jobctl status {name} >/dev/null || [ $? = 3 ]
        jobctl list >/dev/null
        jobctl logs -n 3 {name}
        i=$((i + 1))
    done"""
    path = os.pathsep.join((os.path.dirname(str(shared.jobctl_command()[0])), os.environ["PATH"]))
    before = open_now(shared)
    env = {**shared.env, "PATH": path}
    done = subprocess.run(["sh", "-c", script], env=env, capture_output=True, timeout=3 * DEADLINE_SEC, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    until(lambda: all(now <= then for now, then in zip(open_now(shared), before, strict=True)), "nothing is left open")


def open_now(jobd: Program) -> tuple[int, ...]:
    """How much the daemon and its keeper have open: what a run that has just ended left open goes meanwhile."""
    status = jobd.daemon_status()
    assert status.keeper_pid is not None
    return tuple(len(open_fds(pid)) for pid in (status.pid, status.keeper_pid))


def test_new_lines_since_the_last_time(shared: Program, name: str, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    cursor = str(tmp_path / "cursor")

    def seen() -> str:
        return shared.jobctl("logs", "--cursor-file", cursor, name, check=True).stdout

    shared.jobctl("run", "--name", name, "--shell", f"echo one; {gate.wait}; echo two", check=True)
    until(lambda: shared.output(name) == b"one\n", "the first line is there")
    assert seen() == "one\n"
    assert seen() == ""
    gate.open()
    shared.jobctl("wait", name, check=True)
    assert seen() == "two\n"
    shared.jobctl("run", "--wait", "--name", name, "--", "echo", "three", check=True)
    assert seen() == "three\n"
    assert seen() == ""


@pytest.mark.parametrize("dashes", [["--"], []])
def test_options_of_a_command_are_its_own(shared: Program, dashes: list[str]) -> None:
    job = shared.jobctl("run", "--wait", *dashes, "sh", "-c", 'echo "$0" "$@"', "--help", "--wait", "-x", check=True)
    assert shared.output(job.stdout.strip()) == b"--help --wait -x\n"


def test_a_command_that_looks_like_an_option(shared: Program) -> None:
    done = shared.jobctl("run", "--", "--help")
    assert done.returncode == 127
    assert "executing --help: No such file" in done.stderr
    assert shared.jobctl("result", done.stdout.strip(), check=True).stdout.count("--help") == 1


def test_a_job_that_looks_like_an_option(shared: Program) -> None:
    done = shared.jobctl("status", "--", "-x")
    assert (done.returncode, done.stderr) == (4, "Job -x could not be found.\n")
    assert shared.jobctl("is-active", "--", "--all").stdout == "inactive\n"
    named = shared.jobctl("run", "--name=-x", "true")
    assert named.returncode == 2
    assert "-x" in named.stderr
