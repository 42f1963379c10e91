"""Starting the user's own daemon when somebody needs it and it is not there."""

from __future__ import annotations

import os
import sys
import time

from jobctl.exits import NoDaemonError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable

    from jobd.core.paths import Paths

DEADLINE_SEC = 20.0  # to answer; it takes 0.3 s, and twenty clients may start at once on a slow machine
RETRY_SEC = 0.02
MAX_ERROR_BYTES = 4096
# A cgroup of its own below the user manager, where jobs can have theirs; with linger it outlives the session.
SCOPE = ("systemd-run", "--user", "--scope", "--quiet", "--collect", "--property=Delegate=yes", "--")


def start_and_connect(place: Paths, connect: Callable[[], socket]) -> socket:
    """Start `jobd --user`, and connect to it. Several clients may do so at once: one daemon gets the state's lock.

    Raises:
        NoDaemonError: it did not come up; says why if it did.
    """
    command = (sys.executable, "-I", "-m", "jobd", "--user", "--daemonize")
    said = b""
    for attempt in ((*SCOPE, *command), command) if _has_user_manager() else (command,):
        status, said = _spawn(attempt)
        found = _try_until(connect, DEADLINE_SEC if status == 0 else RETRY_SEC)
        if found is not None:
            return found
    # Another client's daemon may be on its way up: ours has then refused because the state is locked.
    found = _try_until(connect, DEADLINE_SEC)
    if found is not None:
        return found
    why = said.decode("utf-8", "replace").strip() or f"it does not answer at {place.socket}"
    raise NoDaemonError(f"cannot start jobd: {why}")


def _has_user_manager() -> bool:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return bool(runtime) and os.path.exists(f"{runtime}/systemd/private")


def _spawn(command: tuple[str, ...]) -> tuple[int, bytes]:
    """Run a command that puts itself into the background; its status, and what it said on stderr."""
    # Not a pipe: a daemon that kept it open would never let us see its end.
    errors_fd = os.memfd_create("jobctl-start")
    try:
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDWR, 0),
            (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_RDWR, 0),
            (os.POSIX_SPAWN_DUP2, errors_fd, 2),
        ]
        try:
            pid = os.posix_spawnp(command[0], command, os.environ, file_actions=actions, setsid=True)
        except OSError as e:
            return 1, f"{command[0]}: {e.strerror}".encode()
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return status, os.pread(errors_fd, MAX_ERROR_BYTES, 0)
    finally:
        os.close(errors_fd)


def _try_until(connect: Callable[[], socket], seconds: float) -> socket | None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return connect()
        except NoDaemonError:
            if time.monotonic() > deadline:
                return None
            time.sleep(RETRY_SEC)
