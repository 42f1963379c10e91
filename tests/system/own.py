"""A user's own daemon, as jobctl starts it: a home, a runtime directory, and nobody who has started anything."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from jobd.core import paths
from tests.system.program import Program, is_alive, marked_processes, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

STRANGER = 61001  # a uid that no account has
CHECKOUT = Path(__file__).resolve().parents[2]


class Own(Program):
    """The user's own daemon and jobctl. Nothing runs until jobctl is called.

    As root it may be another user's: with `uid`, everything is started as that one.
    """

    def __init__(self, root: Path, *, uid: int | None = None, env: Mapping[str, str] | None = None) -> None:
        self.home, self.runtime = root / "home", root / "runtime"
        places = {"HOME": self.home, "XDG_RUNTIME_DIR": self.runtime}
        super().__init__(root, env={**{name: str(path) for name, path in places.items()}, **(env or {})})
        for name in ("JOBD_SOCKET", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            self.env.pop(name, None)
        self.uid = uid
        self.command_line = [str(word) for word in super().jobctl_command()]
        for path in places.values():
            path.mkdir(mode=0o700)
        self.state_dir = self.home / ".local/state/jobd" / paths.machine_id()
        self.socket = self.runtime / "jobd/jobd.sock"
        self.log = self.state_dir / "jobd.log"
        if uid is not None:
            python = public_python(root)
            assert python is not None
            self.command_line = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", python, "-I", "-m"]
            self.command_line.append("jobctl")
            for path in (root, *places.values()):
                os.chown(path, uid, uid)

    def jobctl_command(self, *args: str | bytes) -> list[str | bytes]:
        return [*self.command_line, "--user", *args]

    def starts(self) -> int:
        """How many daemons (keepers, with theirs) were started so far."""
        return self.log_text().count(": listening on ")

    def ended(self) -> bool:
        """Whether nobody holds the state: the next jobctl starts jobd anew."""
        pid = self.keeper_of_the_lock()
        return not self.socket.exists() and not is_alive(pid)

    def keeper_of_the_lock(self) -> int:
        """The keeper's pid, with or without a socket to ask for it; 0 if there is none."""
        lock = self.state_dir / "lock"
        return int(lock.read_text() or 0) if lock.exists() else 0

    def _stop_politely(self) -> None:
        pid = self.keeper_of_the_lock()
        if pid in marked_processes(self.mark):
            os.kill(pid, signal.SIGTERM)
            until(lambda: not is_alive(pid), "the keeper ends")


def public_python(root: Path) -> str | None:
    """A Python below `root` that any user may run, with jobd and what it needs; None if there is none to make it of.

    Ours may be in root's home.
    """
    for base in (Path(sys.executable).resolve(), Path(f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}")):
        if not base.exists() or not all(os.stat(path).st_mode & 1 for path in (base, *base.parents)):
            continue
        venv = root / "python"
        packages = venv / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
        packages.mkdir(parents=True)
        (venv / "bin").mkdir()
        (venv / "bin/python").symlink_to(base)
        (venv / "pyvenv.cfg").write_text(f"home = {base.parent}\n")
        ours = [str(CHECKOUT), *(path for path in sys.path if path.endswith("site-packages"))]
        (packages / "ours.pth").write_text("".join(f"{path}\n" for path in ours))
        return str(venv / "bin/python")
    return None


@functools.cache
def can_be_another_user() -> bool:
    """Whether we may become one, and he can run Python with jobd."""
    if os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory(prefix="jobd-own-") as root:
        os.chmod(root, 0o755)
        python = public_python(Path(root))
        if python is None:
            return False
        # Executed twice: the first time it is root's privilege that finds the file.
        command = [
            "setpriv",
            f"--reuid={STRANGER}",
            "--clear-groups",
            "sh",
            "-c",
            'exec "$0" -I -c "import jobd.daemon"',
        ]
        return not subprocess.run([*command, python], cwd="/", capture_output=True, check=False).returncode


@contextlib.contextmanager
def another_users(env: Mapping[str, str] | None = None) -> Iterator[Own]:
    """As Own, of a user without account, in a directory that he can reach."""
    root = Path(tempfile.mkdtemp(prefix="jobd-own-"))
    program = Own(root, uid=STRANGER, env=env)
    try:
        yield program
    finally:
        program.close()
        shutil.rmtree(root)
