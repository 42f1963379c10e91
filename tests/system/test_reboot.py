"""The machine was started anew: what ran is lost, what is enabled starts again, and what waits waits on in order."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.system.program import Program, is_alive, until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow
BOOT_ID = "/proc/sys/kernel/random/boot_id"


def another_boot(root: Path) -> list[str]:
    """A command before that of jobd, by which it sees another boot's id; skips where nobody may mount."""
    if os.geteuid() or not shutil.which("unshare"):
        pytest.skip("only root has another boot's id for jobd, with unshare(1)")
    path = root / "boot_id"
    path.write_text("11111111-2222-4333-8444-555555555555\n")
    wrapper = ["unshare", "-m", "sh", "-c", f'mount --bind "{path}" {BOOT_ID} && exec "$@"', "sh"]
    if subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounts are not to be had here")
    return wrapper


def crash(program: Program, *jobs: str) -> None:
    """End keeper, daemon and jobs at once, as a power failure does."""
    daemon = program.daemon_pid()
    pids = [daemon, *(int(program.show(job, "MainPID")) for job in jobs)]
    for pid in (daemon, program.keeper.pid):
        os.kill(pid, signal.SIGSTOP)  # so that nobody sees the others end, nor starts another keeper
    for pid in (program.keeper.pid, *pids):
        os.kill(pid, signal.SIGKILL)
    program.keeper.wait()
    until(lambda: not any(map(is_alive, pids)), "all have ended")


def test_what_ran_is_lost_and_what_waits_waits_on(tmp_path: Path) -> None:
    wrapper = another_boot(tmp_path)
    program = Program(tmp_path)
    (program.config_dir / "jobs").mkdir()
    (program.config_dir / "jobs" / "web.toml").write_text('command = ["sleep", "600"]\n')
    ran = tmp_path / "ran"
    try:
        program.start()
        program.jobctl("enable", "web", check=True)
        program.jobctl("start", "web", check=True)
        program.jobctl("queue", "add", "q", "slots=1", check=True)
        program.jobctl("run", "--queue", "q", "--name", "busy", "--", "sleep", "600", check=True)
        for name, more in (("a", ()), ("held", ("--hold",)), ("b", ()), ("first", ("--priority", "3"))):
            words = ("run", "--queue", "q", "--name", name, *more, "--", "sh", "-c", f'echo {name} >>"{ran}"')
            program.jobctl(*words, check=True)
        program.jobctl("run", "--in", "1h", "--name", "later", "--", "true", check=True)
        due = program.show("later", "NotBeforeTimestamp")
        assert due
        crash(program, "busy", "web")
        program.start(wrapper=wrapper)
        program.jobctl("wait", "a", "b", "first", check=True)
        assert ran.read_text().split() == ["first", "a", "b"]
        (lost,) = program.history("busy")
        assert (lost["result"], lost["reason"]) == ("lost", "the machine was restarted while it ran")
        assert [row["result"] for row in program.history("web")] == [None, "lost"]
        assert program.show("web", "ActiveState") == "active"
        assert program.show("held", "SubState") == "held"
        assert (program.show("later", "SubState"), program.show("later", "NotBeforeTimestamp")) == ("queued", due)
        program.jobctl("release", "held", check=True)
        program.jobctl("wait", "held", check=True)
        program.jobctl("cancel", "later", check=True)
        program.jobctl("stop", "web", check=True)
    finally:
        program.close()
