"""auth whoami, as the kernel sees the caller."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from jobd.client import connect_blocking
from tests.system.program import DEADLINE_SEC

if TYPE_CHECKING:
    from tests.system.program import Program

pytestmark = pytest.mark.slow


def test_whom_the_daemon_takes_us_for(shared: Program) -> None:
    told = json.loads(shared.jobctl("auth", "whoami", "-o", "json", check=True).stdout)
    assert (told["uid"], told["gid"], told["gids"]) == (os.geteuid(), os.getegid(), os.getgroups())
    assert told["rules"] == ["read", "control", "admin"]
    assert told["owner"] == told["user"]
    with connect_blocking(str(shared.socket)) as jobs:
        identity = jobs.identity()
    assert (identity.uid, identity.pid, identity.groups) == (os.geteuid(), os.getpid(), os.getgroups())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can set its groups")
def test_groups_are_those_of_the_process_and_not_of_the_user(shared: Program) -> None:
    command = ["setpriv", "--groups=27,1234", *map(str, shared.jobctl_command("auth", "whoami", "-o", "json"))]
    done = subprocess.run(command, env=shared.env, capture_output=True, timeout=DEADLINE_SEC, check=True)
    assert json.loads(done.stdout)["gids"] == [27, 1234]
