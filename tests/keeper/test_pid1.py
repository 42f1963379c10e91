"""The keeper as PID 1 of a container: it reaps everybody and hands signals on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.keeper import harness
from tests.keeper.harness import DEADLINE_SEC, KeeperProcess, close_all, read_all

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow
RUN = b"\1" * 16
UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]


def can_unshare() -> bool:
    """Whether this machine lets us make a pid namespace."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*UNSHARE, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0


@pytest.mark.skipif(not can_unshare(), reason="no pid namespaces here")
def test_pid_1_reaps_forwards_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = KeeperProcess.start

    def start_unshared(self: KeeperProcess) -> subprocess.Popen[bytes]:
        executable = sys.executable
        wrapper = self.directory / "python"
        wrapper.write_text(f'#!/bin/sh\nexec {" ".join(UNSHARE)} {executable} "$@"\n')
        wrapper.chmod(0o755)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", str(wrapper))
            return start(self)

    monkeypatch.setattr(KeeperProcess, "start", start_unshared)
    hasty = "from jobd.keeper import shutdown\nshutdown.LEAVE_SEC = 0.1\n"
    monkeypatch.setattr(harness, "KEEPER", hasty + harness.KEEPER)
    with KeeperProcess(tmp_path) as keeper:
        daemon = keeper.daemon()
        welcome, fds = daemon.expect("welcome")
        close_all(fds)
        assert welcome["keeper_pid"] == 1
        daemon.send("ready")
        script = b"trap 'echo usr1; exit 4' USR1; echo up; setsid sleep 0.1 & while :; do sleep 0.02; done"
        _, fds = daemon.start(RUN, b"sh", b"-c", script)
        assert os.read(fds["out"], 3) == b"up\n"
        with open(f"/proc/{keeper.processes[0].pid}/task/{keeper.processes[0].pid}/children", encoding="ascii") as file:
            init = int(file.read())
        os.kill(init, signal.SIGUSR1)
        exited = daemon.expect("exited", run=RUN)[0]
        assert os.waitstatus_to_exitcode(exited["status"]) == 4  # type: ignore[arg-type]
        assert read_all(fds["out"]) == b"usr1\n"
        close_all(fds)
        daemon.send("watch", run=RUN)
        daemon.expect("empty", run=RUN)
        daemon.send("ask-shutdown")
        daemon.expect("shutdown")
        daemon.send("bye", code=5)
        daemon.close()
        assert keeper.processes[0].wait(DEADLINE_SEC) == 5
