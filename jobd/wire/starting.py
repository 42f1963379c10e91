"""Starting the user's own daemon, for a client that needs one.

It outlives the client and serves every later one, so it gets nothing of this client's but what says whose it is and
where its files are: see `environment` here, and jobd.keeper.detach for what it puts off by itself. Where a user manager
answers it gets a scope of its own, in which jobs can have cgroups of theirs; otherwise, or if that one does not answer
in time, a session of its own. Imported only when there is no daemon: that time is paid once a quarter of an hour.
"""

from __future__ import annotations

import os
import sys
from errno import ENOSPC
from fcntl import LOCK_EX, flock
from select import POLLIN, poll

from jobd.core import mounts, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

START_ERROR_BYTES = 4096  # how much of a failed start's stderr is looked at for its last line
SCOPE = (
    "systemd-run", "--user", "--scope", "--quiet", "--collect", "--description=jobd", "--property=Delegate=yes", "--",
)  # fmt: skip
MANAGER_SEC = 5.0  # for systemd-run to have its scope: it needs 10 ms, and would wait 25 s for a manager that hangs
READY_SEC = 60.0  # for jobd to be ready: recovering a large state on a busy disk takes seconds
TRIES = 3  # of finding it up right after it was started

KEPT = (
    "HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH",
    "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "DBUS_SESSION_BUS_ADDRESS",
)  # fmt: skip
KEPT_PREFIXES = ("LC_", "JOBD_")
# Of the job in which this client runs, or of this client alone.
NOT_KEPT = ("JOBD_JOB", "JOBD_RUN", "JOBD_QUEUE", "JOBD_SOCKET")


class StartError(Exception):
    """It cannot be started; the text says why."""


def start(socket: str, state_dir: str, is_up: Callable[[], bool]) -> None:
    """Start the daemon unless it is up. One starter at a time: the others wait for its lock, and find it up.

    Args:
        socket, state_dir: the daemon's.
        is_up: whether it can be connected to. Raises what is to end the attempt.

    Raises:
        StartError: it did not come up.
    """
    lock = _lock(state_dir)
    try:
        why = ""
        for _ in range(TRIES):
            if is_up():
                return
            if why:
                break
            why = _run(state_dir)
        if not is_up():
            raise StartError(why or f"cannot use your daemon: nobody listens on {socket}")
    finally:
        os.close(lock)


def environment(environ: Mapping[str, str], uid: int) -> dict[str, str]:
    """What of a client's environment the daemon gets."""
    kept = {
        name: value
        for name, value in environ.items()
        if (name in KEPT or name.startswith(KEPT_PREFIXES)) and name not in NOT_KEPT
    }
    kept.pop("XDG_RUNTIME_DIR", None)
    runtime = paths.runtime_dir(environ, uid)
    if runtime:  # for systemd-run as well: cron and ssh do not say where it is, and sudo -E names another user's
        kept["XDG_RUNTIME_DIR"] = runtime
    return kept


def _lock(state_dir: str) -> int:
    try:
        os.makedirs(state_dir, 0o700, exist_ok=True)
        if why := mounts.refusal(state_dir):
            raise StartError(f"cannot start your daemon: {why}")
        lock = os.open(state_dir + "/start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            flock(lock, LOCK_EX)
        except BaseException:
            os.close(lock)
            raise
    except OSError as e:
        hint = "" if e.errno == ENOSPC else "; XDG_STATE_HOME can name a directory that you may write to"
        raise StartError(f"cannot start your daemon: {_words(e, state_dir)}{hint}") from e
    return lock


def _run(state_dir: str) -> str:
    """Run jobd in one way or the other; "" or why it could not be started."""
    if not sys.executable:
        return "cannot start your daemon: this Python does not know its own path"
    env = environment(os.environ, os.geteuid())
    if os.path.exists(f"{env.get('XDG_RUNTIME_DIR', '')}/systemd/private"):
        why, ran = _run_daemon(SCOPE, state_dir, env)
        if ran:
            return why
    return _run_daemon((), state_dir, env)[0]


def _run_daemon(prefix: tuple[str, ...], state_dir: str, env: dict[str, str]) -> tuple[str, bool]:
    """Run `jobd --user --daemonize` until it says by its exit that the daemon is up.

    Returns:
        "" or why it is not; and whether it was jobd itself that said so, and not the prefix.
    """
    output = os.memfd_create("jobd-start")
    try:
        argv = [*prefix, sys.executable, "-I", "-m", "jobd", "--user", "--daemonize"]
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, output, 2),
        ]
        try:
            # In a session of its own: a Ctrl-C for the client is not meant for the daemon.
            pid = os.posix_spawnp(argv[0], argv, env, file_actions=actions, setsid=True, setsigmask=())
            status = _wait(pid, prefix[0] if prefix else "")
        except OSError as e:
            return f"cannot start your daemon: {_words(e)}", not prefix
        if status is None:
            return f"cannot start your daemon: not ready after {READY_SEC:g} s; see {state_dir}/jobd.log", True
        if not status:
            return "", True
        size = os.fstat(output).st_size
        said = os.pread(output, START_ERROR_BYTES, max(0, size - START_ERROR_BYTES)).decode("utf-8", "replace").strip()
        last = said.splitlines()[-1] if said else "it said nothing"
        if last.startswith("jobd: "):
            return f"cannot start your daemon: {last[6:].removeprefix('cannot start: ')}", True
        ended = f"exit status {status}" if status > 0 else f"signal {-status}"
        return f"cannot start your daemon: {last} ({ended})", False
    finally:
        os.close(output)


def _wait(pid: int, wrapper: str) -> int | None:
    """Wait for its end, and less long while it is still `wrapper`.

    Returns:
        The exit code, negative for a signal; None if it goes on.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:  # it has ended and our SIGCHLD is ignored, or the kernel has none
        return _reap(pid)
    try:
        ends = poll()
        ends.register(pidfd, POLLIN)
        if wrapper and not ends.poll(MANAGER_SEC * 1000) and _name(pid) == wrapper:
            os.kill(pid, 9)  # not reaped yet, so it is ours
        elif not ends.poll(READY_SEC * 1000):
            return None
        return _reap(pid)
    finally:
        os.close(pidfd)


def _reap(pid: int) -> int:
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:  # our SIGCHLD is ignored, so that the kernel kept no status: the socket will tell
        return 0


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().rstrip("\n")
    except OSError:
        return ""


def _words(error: OSError, path: str = "") -> str:
    name = os.fsdecode(error.filename) if error.filename else path
    return f"{name}: {error.strerror}" if name else f"{error.strerror}"
