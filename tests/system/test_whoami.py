"""whoami and status PID with real processes, tracked by control group and without."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from jobd.client import connect_blocking
from tests.system.program import Program, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["", "process"])
def tracked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A jobd with control groups where there are any, and one that does without."""
    program = Program(tmp_path_factory.mktemp("jobd"), env={"JOBD_TRACKING": request.param} if request.param else {})
    try:
        program.start()
        yield program
    finally:
        program.close()


def pids(directory: Path, *names: str) -> list[int]:
    """What the processes of a job have written."""
    paths = [directory / name for name in names]
    until(lambda: all(path.exists() and path.read_text().endswith("\n") for path in paths), "all have begun")
    return [int(path.read_text()) for path in paths]


def test_every_process_of_a_tree(tracked: Program, name: str, tmp_path: Path) -> None:
    name = name.replace("[", "-").replace("]", "")[:60]
    script = """
        sh -c 'echo $$ > child; exec sleep 600' &
        setsid sh -c 'echo $$ > session; exec sleep 600' &
        (setsid sh -c 'echo $$ > orphan; sleep 600 & echo $! > grandchild; wait' &)
        echo $$ > main
        wait
    """
    tracked.jobctl("run", "--name", name, "-C", str(tmp_path), "--shell", script, check=True)
    found = pids(tmp_path, "main", "child", "session", "orphan", "grandchild")
    until(lambda: tracked.jobctl("status", name).stdout.count("sleep") >= 4, "the tree has grown")
    told = tracked.jobctl("whoami", *map(str, found))
    assert (told.returncode, told.stdout, told.stderr) == (0, f"{name}\n" * 5, "")
    for pid in found:
        assert f"● {name}" in tracked.jobctl("status", str(pid)).stdout
    strangers = [os.getpid(), tracked.keeper_pid, tracked.daemon_pid(), 1]
    told = tracked.jobctl("whoami", "-o", "json", *map(str, strangers))
    assert told.returncode == 1
    assert [row["job"] for row in json.loads(told.stdout)] == [None] * 4
    with connect_blocking(str(tracked.socket)) as jobs:
        members = jobs.whoami(found[3], os.getpid())
        assert [(member.job, member.number) for member in members] == [(name, 1), ("", None)]
    tracked.replace_daemon()
    assert tracked.jobctl("whoami", str(found[4])).stdout == f"{name}\n"
    tracked.jobctl("stop", name, check=True)
    assert tracked.jobctl("whoami", str(found[0])).returncode == 1


def test_in_a_job_it_is_that_job(tracked: Program, name: str) -> None:
    name = name.replace("[", "-").replace("]", "")[:60]
    command = [str(word) for word in tracked.jobctl_command("whoami")]
    tracked.jobctl("run", "--wait", "--name", name, "--", *command, check=True)
    assert tracked.output(name) == f"{name}\n".encode()


def test_outside_of_all_jobs_it_is_none(tracked: Program) -> None:
    told = tracked.jobctl("whoami")
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr == "jobctl: cannot find the job of this process: it belongs to none\n"
