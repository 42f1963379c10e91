"""`jobd.client` feeds runs of the real daemon, also while it is killed."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
import trio

from jobd.client import Conflict, connect, connect_blocking
from tests.system.program import DEADLINE_SEC

if TYPE_CHECKING:
    from tests.system.program import Program

pytestmark = pytest.mark.slow


async def test_a_stdin_over_killed_daemons(jobd: Program) -> None:
    data = random.Random(3).randbytes(8_000_000)
    env = {"JOBD_TEST_MARK": jobd.mark, "PATH": "/usr/bin:/bin"}
    with trio.fail_after(DEADLINE_SEC):
        async with connect(str(jobd.socket)) as jobs:
            run = await jobs.run(["cat"], name="fed", env=env, stdin="pipe")
            async with run.feed() as stdin:
                for at in range(0, len(data), 1_000_000):
                    await stdin.send(data[at : at + 1_000_000])
                    if at in (2_000_000, 5_000_000):
                        await trio.to_thread.run_sync(jobd.replace_daemon)
            assert (await run.wait()).check().exit_code == 0
    assert jobd.output("fed") == data


def test_the_blocking_client_too(jobd: Program) -> None:
    data = random.Random(4).randbytes(8_000_000)
    env = {"JOBD_TEST_MARK": jobd.mark, "PATH": "/usr/bin:/bin"}
    with connect_blocking(str(jobd.socket)) as jobs:
        run = jobs.run(["cat"], name="fed", env=env, stdin="pipe")
        with run.feed() as stdin:
            stdin.send(data[:3_000_000])
            jobd.replace_daemon()
            stdin.send(data[3_000_000:])
        assert run.wait().check().exit_code == 0
    assert jobd.output("fed") == data


def test_a_block_that_fails_leaves_the_stdin_to_the_next(shared: Program, name: str) -> None:
    env = {"JOBD_TEST_MARK": shared.mark, "PATH": "/usr/bin:/bin"}
    with connect_blocking(str(shared.socket)) as jobs:
        run = jobs.run(["cat"], name=name, env=env, stdin="pipe")

        def fail() -> None:
            with run.feed() as stdin:
                stdin.send(b"one ")
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        with run.feed() as stdin:
            stdin.send(b"two")
        assert run.wait().check().exit_code == 0
    assert shared.output(name) == b"one two"


def test_a_run_that_has_ended_takes_nothing(shared: Program, name: str) -> None:
    env = {"JOBD_TEST_MARK": shared.mark, "PATH": "/usr/bin:/bin"}
    with connect_blocking(str(shared.socket)) as jobs:
        run = jobs.run(["true"], name=name, env=env, stdin="pipe")
        run.wait()
        with pytest.raises(Conflict), run.feed() as stdin:
            stdin.send(b"x")
