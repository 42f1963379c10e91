"""A user's own daemon, as jobctl starts it: a home, a runtime directory, and nobody who has started anything."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from jobd.core import paths
from tests.system.program import Program, is_alive, until

if TYPE_CHECKING:
    from collections.abc import Mapping

STRANGER = 61001  # a uid that no account has


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
        for path in places.values():
            path.mkdir(mode=0o700)
        self.state_dir = self.home / ".local/state/jobd" / paths.machine_id()
        self.socket = self.runtime / "jobd/jobd.sock"
        self.log = self.state_dir / "jobd.log"
        if uid is not None:
            for path in (root, *places.values()):
                os.chown(path, uid, uid)

    def jobctl_command(self, *args: str | bytes) -> list[str | bytes]:
        become = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups"] if self.uid else []
        command = super().jobctl_command(*args)
        return [*become, command[0], "--user", *command[1:]]

    def starts(self) -> int:
        """How many daemons (keepers, with theirs) were started so far."""
        return self.log_text().count(": listening on ")

    def ended(self) -> bool:
        """Whether nobody holds the state: the next jobctl starts jobd anew."""
        pid = int((self.state_dir / "lock").read_text() or 0)
        return not self.socket.exists() and not is_alive(pid)

    def _stop_politely(self) -> None:
        if self.socket.exists():
            with contextlib.suppress(OSError):  # it has left this moment
                pid = self.keeper_pid
                os.kill(pid, signal.SIGTERM)
                until(lambda: not is_alive(pid), "the keeper ends")


@contextlib.contextmanager
def another_users(env: Mapping[str, str] | None = None):  # type: ignore[no-untyped-def]  # noqa: ANN201
    """As Own, of a user without account, in a directory that he can reach."""
    root = Path(tempfile.mkdtemp(prefix="jobd-own-"))
    program = Own(root, uid=STRANGER, env=env)
    try:
        yield program
    finally:
        program.close()
        shutil.rmtree(root)
