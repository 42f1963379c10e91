"""A machine on which jobd is installed and run by systemd, for the tests of its units."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.system.container import Container, Unable
from tests.system.program import until

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

ROOT = Path(__file__).parents[2]
PYTHONS = ("/usr/bin/python3", "/usr/local/bin/python3", os.path.realpath(sys.executable))
INSTALL_SEC = 180.0  # pip, and a build
# Executed by each Python of the installation at its start, twice (lib and lib64): by it a test hurts the next daemon.
SITE = "jobd-test.pth"
HURT = "import os, sys, time; 'jobd.daemon' in sys.orig_argv and {}\n"
# A job whose output tells whether a line is missing, or there twice.
COUNT = "i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); echo $i; sleep 0.02; done"


class Machine(Container):
    """A machine with jobd installed and a user called alice."""

    def show(self, name: str, unit: str = "jobd.service") -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).stdout.strip()

    def jobctl(self, *words: str, user: str = "alice", check: bool = True) -> str:
        """What jobctl says about the system's jobs."""
        return self.run("jobctl", "--system", *words, user=user, check=check).stdout.strip()

    def pids(self) -> tuple[int, int]:
        """Those of the keeper and of its daemon."""
        status = json.loads(self.jobctl("daemon-status", "-o", "json", user="root"))
        return status["keeper_pid"], status["pid"]

    def kill(self, *pids: int, sig: str = "KILL") -> None:
        """Signal processes by their numbers inside."""
        self.run("kill", f"-{sig}", *map(str, pids))

    def gone(self, pid: int | str) -> bool:
        """Whether a process has ended, reaped or not."""
        state = self.run("ps", "-o", "stat=", "-p", str(pid), check=False).stdout.strip()
        return state == "" or state.startswith("Z")

    def start_job(self, name: str, script: str) -> str:
        """A job of alice; its process."""
        self.jobctl("run", "-u", name, "--shell", script)
        return self.property(name, "MainPID")

    def property(self, name: str, key: str, check: bool = True) -> str:
        return self.jobctl("show", "--value", "-p", key, name, check=check)

    def lines(self, name: str) -> int:
        """How many lines of COUNT there are; one that is missing or doubled fails."""
        lines = self.jobctl("logs", "-o", "cat", name).split()
        assert lines == [str(i + 1) for i in range(len(lines))]
        return len(lines)

    def goes_on(self, name: str) -> None:
        """COUNT writes on, and nothing is lost."""
        before = self.lines(name)
        until(lambda: self.lines(name) > before, f"{name} writes on")

    def drop_in(self, text: str) -> AbstractContextManager[None]:
        """Change jobd.service for a while; it is stopped then."""
        return _DropIn(self, text)


class _DropIn:
    def __init__(self, machine: Machine, text: str) -> None:
        self._machine, self._text = machine, text
        self._path = machine.path("/run/systemd/system/jobd.service.d/test.conf")

    def __enter__(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(f"[Service]\n{self._text}\n")
        self._machine.run("systemctl", "daemon-reload")

    def __exit__(self, *_: object) -> None:
        self._machine.run("systemctl", "stop", "jobd.socket", "jobd.service", check=False)
        self._path.unlink()
        self._machine.run("systemctl", "daemon-reload")
        self._machine.run("systemctl", "reset-failed", "jobd.service", "jobd.socket", check=False)


def fits(python: str) -> bool:
    """Whether jobd can be installed with this interpreter, and be run by everybody."""
    check = [python, "-c", "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))"]
    if not os.path.exists(python) or subprocess.run(check, capture_output=True, check=False).returncode:
        return False
    path = Path(os.path.realpath(python))
    return all(each.stat().st_mode & 0o001 for each in (path, *path.parents))


def install(stage: Path) -> None:
    """Put what `make install-system` makes below a directory. Raises Unable."""
    python = next(filter(fits, PYTHONS), None)
    if python is None:
        raise Unable(f"none of {', '.join(PYTHONS)} has venv, is 3.11 or newer, and can be run by all users")
    words = ["make", "-s", "-C", str(ROOT), "install-system", f"DESTDIR={stage}", f"PYTHON={python}"]
    env = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "PREFIX")}
    done = subprocess.run(words, capture_output=True, text=True, timeout=INSTALL_SEC, env=env, check=False)
    assert done.returncode == 0, done.stderr
