"""`jobd.client` against the real daemon: the API as documented, across the death of daemon and keeper."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from jobd.client import JobdError, NotFound, connect, connect_blocking
from tests.system.program import DEADLINE_SEC, Gate

if TYPE_CHECKING:
    from tests.system.program import Program

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parent.parent.parent


async def test_run_logs_wait_across_killed_daemons(jobd: Program, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    script = f'echo one; echo error >&2; {gate.wait}; echo "$line"; exit 3'
    with trio.fail_after(DEADLINE_SEC):
        async with connect(str(jobd.socket)) as jobs:
            run = await jobs.run(["/bin/sh", "-c", script], name="job", env={"JOBD_TEST_MARK": jobd.mark})
            found = {"stdout": b"", "stderr": b""}
            async for chunk in run.logs(follow=True):
                found[chunk.stream] += chunk.data
                if found == {"stdout": b"one\n", "stderr": b"error\n"}:
                    await trio.to_thread.run_sync(jobd.replace_daemon)
                    await trio.to_thread.run_sync(gate.open, "two")
            result = await run.wait()
    assert found == {"stdout": b"one\ntwo\n", "stderr": b"error\n"}
    assert (result.exit_code, result.ok) == (3, False)
    with pytest.raises(JobdError):
        result.check()


def test_blocking_client_has_the_same_methods(shared: Program, name: str) -> None:
    with connect_blocking(str(shared.socket)) as jobs:
        run = jobs.run(["/bin/sh", "-c", "echo text"], name=name, env={"JOBD_TEST_MARK": shared.mark})
        assert run.wait().check().exit_code == 0
        assert b"".join(chunk.data for chunk in run.logs()) == b"text\n"
        assert [view.job for view in jobs.get(name)] == [name]
        with pytest.raises(NotFound):
            jobs.stop("no-such-job")


def test_example_of_the_readme_runs(shared: Program, tmp_path: Path) -> None:
    code = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0]
    (tmp_path / "make").write_text("#!/bin/sh\necho made\n")
    (tmp_path / "make").chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**shared.env, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SEC,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "b'made\\n'\n", "")
