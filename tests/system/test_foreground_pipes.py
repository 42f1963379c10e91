"""`run --pipe` between pipes that others write to as well."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.system.program import DEADLINE_SEC

if TYPE_CHECKING:
    from tests.system.program import Program

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("size", [1, 67, 500, 4096])
def test_what_a_job_writes_in_one_go_comes_in_one_piece(shared: Program, name: str, size: int) -> None:
    """As far as pipe(7) promises it: so lines of `xargs -P`, all with one stdout, do not mix."""
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_DIRECT)  # whatever is written in one piece is read in one
    with os.fdopen(reader, "rb", 0) as pipe:
        client = subprocess.Popen(
            shared.jobctl_command("run", "-P", "--name", name, "--", "printf", f"%{size}s", "x"),
            env=shared.env,
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=subprocess.DEVNULL,
        )
        os.close(writer)
        assert [len(piece) for piece in iter(lambda: pipe.read(1 << 16), b"")] == [size]
    assert client.wait(DEADLINE_SEC) == 0


@pytest.mark.parametrize(("options", "said"), [("-P", "{}\n"), ("-qP", "")])
def test_the_name_is_on_stderr_unless_nobody_wants_it(shared: Program, name: str, options: str, said: str) -> None:
    done = subprocess.run(
        shared.jobctl_command("run", options, "--name", name, "--", "cat"),
        env=shared.env, input=b"a line\n", capture_output=True, timeout=DEADLINE_SEC, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr.decode()) == (0, b"a line\n", said.format(name))
