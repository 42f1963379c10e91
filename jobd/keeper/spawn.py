"""Making the process of a run: pipes, fork, everything up to execve, and the go byte.

The child does all it can while the daemon commits, then waits for a byte on a socket whose other end only the keeper
holds. End of file there, also by the keeper's death, means that it never runs. Each failing step comes back over the
same socket as `step:errno`; it is CLOEXEC, so end of file after go means that the program runs. The child never
returns into the keeper's loop: every way out of it is execve or _exit.
"""

from __future__ import annotations

import errno
import os
import resource
import termios
from _socket import AF_UNIX, SOCK_SEQPACKET, socketpair
from contextlib import suppress
from fcntl import F_SETPIPE_SZ, fcntl, ioctl
from struct import pack

from jobd.keeper import become, kernel, limits
from jobd.keeper.child import child
from jobd.keeper.environment import Environment, candidates, words
from jobd.keeper.table import Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobd.keeper.cgroup import Cgroups
    from jobd.keeper.link import Fds, Message
    from jobd.keeper.notifysockets import NotifySockets

PIPE_BYTES = 256 * 1024  # so that a restart of the daemon (130 ms) does not stall a job that writes 1.9 MB/s
DEFAULT_WINDOW = (24, 80)  # of a terminal that nobody has attached to: the VT100's, which all programs can live with

_RLIMITS = limits.RLIMITS


class SpawnFailed(Exception):  # noqa: N818
    """A step on the way to the program failed."""

    def __init__(self, step: str, number: int) -> None:
        super().__init__(f"{step}: {os.strerror(number)}")
        self.step = step
        self.errno = number


class Base:
    """What the keeper was given at its start and hands on to jobs unless they ask otherwise."""

    def __init__(self) -> None:
        self.limits = {which: resource.getrlimit(which) for which in _RLIMITS.values()}
        self.nice = os.getpriority(os.PRIO_PROCESS, 0)
        self.umask = os.umask(0o077)
        os.umask(self.umask)
        self.oom_score = b""  # set when the keeper has lowered its own
        self.null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self.guarded = False  # the daemon is not root, and may not start what is
        self.overflow_uid = become.overflow_uid()
        self.tty = become.tty_group()
        if os.geteuid() == 0:
            become.load_name_service()

    def rlimits(self) -> dict[str, list[int]]:
        """The limits by their names; -1 is infinity."""
        return {name: [_signed(limit) for limit in self.limits[which]] for name, which in _RLIMITS.items()}


def _signed(limit: int) -> int:
    return -1 if limit == resource.RLIM_INFINITY else limit


def plan_of(message: Message, base: Base, granted: bool, sockets: NotifySockets) -> Plan:
    """What the child of a run will do. Raises SpawnFailed.

    Args:
        message: the request.
        base: what the keeper was given.
        granted: root has allowed this command to run as uid 0.
        sockets: where its notify socket will be made.
    """
    fixed = []
    if message.get("notify"):
        run = message["run"]
        fixed.append(b"NOTIFY_SOCKET=" + os.fsencode(sockets.path_of(run)))  # type: ignore[arg-type]  # checked before
    return Plan(message, base, granted, fixed)


def spawn(
    message: Message,
    fds: Fds,
    plan: Plan,
    base: Base,
    cgroups: Cgroups | None,
    sockets: NotifySockets | None = None,
) -> Entry:
    """Fork the child of a run, and let it come up to `go`. Raises SpawnFailed; then nothing is left behind.

    Args:
        message: the request.
        fds: what came with it; what is taken is removed.
        plan: what the child does.
        base: what the keeper was given.
        cgroups: where to make a cgroup for it.
        sockets: where to make its notify socket.
    """
    entry = Entry(message["run"])  # type: ignore[arg-type]  # checked by the caller
    entry.merge = bool(message.get("merge"))
    entry.input = fds.pop("input", None)
    theirs: list[int] = []  # the child's ends
    directory = None
    step = "notify"
    try:
        if sockets is not None and message.get("notify"):
            entry.notify, place = sockets.make(entry.run)
            theirs.append(place)
            plan.notify = place, entry.run
        step = "pipe"
        entry.looks_up = plan.wish is not None and not plan.wish.sure_root
        entry.ctl, child_ctl = socketpair(AF_UNIX, SOCK_SEQPACKET)
        entry.ctl.setblocking(False)  # now: once there is a child nothing here may fail
        child_fd = child_ctl.detach()
        theirs.append(child_fd)
        plan.stdio = _stdio(entry, message, base, theirs)
        plan.own = [fd for fd in plan.stdio if fd != base.null]
        if cgroups is not None:
            step = "cgroup"
            entry.tracking = "cgroup"
            entry.cgroup, directory = cgroups.make(entry.run)
            together = [limits.OOM_GROUP] if "memory" in cgroups.known else []
            cgroups.limit(entry.cgroup, [*plan.files, *together])
        step = "fork"
        entry.pid, entry.pidfd, placed = kernel.clone(directory)
        if entry.pid == 0:
            if not placed:
                plan.enter(entry.cgroup)
            child(plan, child_fd)
    except Exception as e:
        _leave(entry, cgroups, sockets)
        if isinstance(e, OSError):
            raise SpawnFailed(step, e.errno or errno.EIO) from e
        raise  # a message that is not as agreed ends the link
    finally:
        for fd in theirs if directory is None else (*theirs, directory):
            os.close(fd)
    return entry


def _leave(entry: Entry, cgroups: Cgroups | None, sockets: NotifySockets | None) -> None:
    """Nothing comes of a run that was begun."""
    if sockets is not None and entry.notify is not None:
        sockets.remove(entry.run)
    entry.close()
    if cgroups is not None:
        cgroups.leave(entry.cgroup)


def _pipe(theirs: list[int]) -> int:
    """Make a pipe for output: returns the end to read from, adds the other one to `theirs`."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    theirs.append(writer)
    with suppress(OSError):  # over the user's quota of pipe memory: 64 KiB will do
        fcntl(reader, F_SETPIPE_SZ, PIPE_BYTES)
    return reader


def _stdio(entry: Entry, message: Message, base: Base, theirs: list[int]) -> list[int]:
    """Make what the child has as stdin, stdout and stderr, in this order; what is its own is in `theirs` as well."""
    stdin = message.get("stdin")
    if stdin == "pty":
        slave = _terminal(entry, message.get("window"), theirs)
        return [slave, slave, slave]
    entry.out = _pipe(theirs)
    out = err = theirs[-1]
    if not entry.merge:
        entry.err = _pipe(theirs)
        err = theirs[-1]
    if message.get("keep_output"):
        entry.err_in = os.dup(err)  # not inherited
    return [_feeding_pipe(entry, theirs) if stdin == "pipe" else base.null, out, err]


def _feeding_pipe(entry: Entry, theirs: list[int]) -> int:
    """Make the pipe of a stdin: returns the job's end, which is in `theirs` as well."""
    reader, entry.stdin = os.pipe2(os.O_CLOEXEC)
    theirs.append(reader)
    os.set_blocking(entry.stdin, False)
    with suppress(OSError):
        fcntl(reader, F_SETPIPE_SZ, PIPE_BYTES)
    return reader


def _terminal(entry: Entry, window: object, theirs: list[int]) -> int:
    """Make a terminal, and the pipe through which its output goes to the log: returns the slave, which is the job's."""
    entry.merge = True
    try:
        entry.pty, slave = os.openpty()  # neither is inherited
    except OSError as e:
        raise SpawnFailed("pty", e.errno or errno.EIO) from e
    theirs.append(slave)
    os.set_blocking(entry.pty, False)
    rows, columns = window if isinstance(window, list) else DEFAULT_WINDOW
    ioctl(entry.pty, termios.TIOCSWINSZ, pack("4H", rows, columns, 0, 0))  # struct winsize
    entry.out, entry.pty_out = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    with suppress(OSError):
        fcntl(entry.out, F_SETPIPE_SZ, PIPE_BYTES)
    return slave


class Plan:
    """All that the child needs, worked out before the fork: each page that it writes to has to be copied for it."""

    def __init__(self, message: Message, base: Base, granted: bool = False, fixed: Sequence[bytes] = ()) -> None:
        """Raises SpawnFailed for a request that no process could carry out. `fixed`: the keeper's words of its env."""
        self.wish = become.wish(message, base.guarded, granted)
        self.no_new_privileges = bool(message.get("no_new_privileges"))
        self.overflow_uid, self.tty = base.overflow_uid, base.tty
        self.environment = Environment(message, fixed, self.wish is not None)
        argv, env = words(message["argv"]), self.environment.early()
        name = words([message.get("executable") or argv[0]])[0] if argv else b""
        if not argv or b"\0" in b"".join((name, *argv, *env)):
            raise SpawnFailed("argv", errno.EINVAL)
        self.argv, self.env = kernel.strings(argv), kernel.strings(env)
        self.name, self.candidates = name, candidates(name, env)
        self.cwd = words([message["cwd"]])[0]
        if b"\0" in self.cwd:
            raise SpawnFailed("chdir", errno.EINVAL)
        self.nice = _different(message.get("nice"), base.nice)
        self.least_nice = base.nice
        self.step = b"session"  # what the child is at
        self.ctl = -1  # its control socket
        self.umask = _different(message.get("umask"), base.umask)
        self.limits = _limits(message.get("rlimits") or {}, base)
        # Whether what only root may give is given to others: he has granted the command, or owns the job. Without a
        # user to become the kernel decides.
        self.trusted = granted or self.wish is None or (not base.guarded and message.get("privileged") is True)
        try:
            self.files = limits.files(message)
            score = limits.oom_score(message.get("oom_score_adjust"), base.oom_score, self.trusted)
        except OSError as e:
            raise SpawnFailed("limits", e.errno or errno.EINVAL) from e
        self.writes = [(b"oom", limits.OOM_SCORE, score)] if score else []
        self.terminal = message.get("stdin") == "pty"
        self.stdio = [-1, -1, -1]  # set when they are made
        self.own: list[int] = []  # those that are this job's alone
        self.notify: tuple[int, bytes] | None = None  # the directory of its notify socket, and its run

    def enter(self, cgroup: str) -> None:
        """Have the child enter its cgroup by itself."""
        self.writes.insert(0, (b"cgroup", cgroup + "/cgroup.procs", b"0"))


def _different(value: object, present: int) -> int | None:
    """The value, None if it is the present one or not asked for."""
    return value if isinstance(value, int) and value != present else None


def _limits(asked: object, base: Base) -> list[tuple[int, tuple[int, int]]]:
    """Limits that the child has to set: those that are not what the keeper was given.

    The number of descriptors is always one, since the keeper has raised its own.
    """
    found = {}
    try:
        for name, (soft, hard) in asked.items():  # type: ignore[attr-defined]  # checked by what is caught
            limit = int(soft), int(hard)
            if limit != base.limits[_RLIMITS[name]]:
                found[_RLIMITS[name]] = limit
    except (AttributeError, KeyError, TypeError, ValueError) as e:
        raise SpawnFailed("limits", errno.EINVAL) from e
    return [*{resource.RLIMIT_NOFILE: base.limits[resource.RLIMIT_NOFILE], **found}.items()]
