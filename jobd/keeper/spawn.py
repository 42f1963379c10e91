"""Making the process of a run: pipes, fork, everything up to execve, and the go byte.

The child does all it can before it says that it is ready, then waits on a socket whose other end only the keeper
holds. End of file there, also by the keeper's death, means that it never runs. Each failing step comes back over the
same socket as `step:errno`; it is CLOEXEC, so end of file after go means that the program runs. The child never
returns into the keeper's loop: every way out of it is execve or _exit.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
from _socket import AF_UNIX, SOCK_SEQPACKET, socketpair
from contextlib import suppress
from fcntl import F_SETPIPE_SZ, fcntl

from jobd.keeper import kernel
from jobd.keeper.table import Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jobd.keeper.cgroup import Cgroups
    from jobd.keeper.link import Fds, Message

PIPE_BYTES = 256 * 1024  # so that a restart of the daemon (130 ms) does not stall a job that writes 1.9 MB/s
CTL_FD = 3  # of the child; 0, 1 and 2 are always taken in the keeper, so nothing that is needed is ever below
READY, GO = b"R", b"G"
NEVER_RAN = 222  # exit status of a child whose keeper went away before go; nobody is left to read it
_PATH = b"/usr/local/bin:/usr/bin:/bin"  # where to look when the job has no PATH, as in confstr(_CS_PATH) and dash
_NOT_HERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE, errno.ENAMETOOLONG)  # the next directory of PATH


class SpawnFailed(Exception):  # noqa: N818
    """A step on the way to the program failed."""

    def __init__(self, step: str, number: int) -> None:
        super().__init__(f"{step}: {os.strerror(number)}")
        self.step = step
        self.errno = number


class Base:
    """What the keeper was given at its start and hands on to jobs unless they ask otherwise."""

    def __init__(self) -> None:
        self.nofile = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.oom_score = b""  # set when the keeper has lowered its own
        self.null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)


def spawn(message: Message, fds: Fds, base: Base, cgroups: Cgroups | None) -> Entry:
    """Fork the child of a run. Raises SpawnFailed; then nothing is left behind.

    Returns:
        The entry, with the keeper's end of its control socket; the child is not ready yet.
    """
    entry = Entry(message["run"])  # type: ignore[arg-type]  # checked by the caller
    entry.merge = bool(message.get("merge"))
    theirs: list[int] = []  # the child's ends
    directory = None
    step = "pipe"
    try:
        entry.ctl, child_ctl = socketpair(AF_UNIX, SOCK_SEQPACKET)
        theirs.append(child_ctl.detach())
        entry.out = _pipe(theirs)
        entry.err = None if entry.merge else _pipe(theirs)
        if cgroups is not None:
            step = "cgroup"
            entry.tracking = "cgroup"
            entry.cgroup, directory = cgroups.make(entry.run)
        step = "fork"
        entry.pid, entry.pidfd, placed = kernel.clone(directory)
        if entry.pid == 0:
            child = Child(message, base, fds.get("stdin", base.null), theirs)
            child.run(None if placed else entry.cgroup)
    except OSError as e:
        entry.close()
        if cgroups is not None:
            cgroups.leave(entry.cgroup)
        raise SpawnFailed(step, e.errno or errno.EIO) from e
    finally:
        for fd in theirs if directory is None else (*theirs, directory):
            os.close(fd)
    entry.ctl.setblocking(False)
    return entry


def _pipe(theirs: list[int]) -> int:
    """Make a pipe for output: returns the end to read from, adds the other one to `theirs`."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    theirs.append(writer)
    with suppress(OSError):  # over the user's quota of pipe memory: 64 KiB will do
        fcntl(reader, F_SETPIPE_SZ, PIPE_BYTES)
    return reader


class Child:
    """The forked child, from the first instruction to execve."""

    def __init__(self, message: Message, base: Base, stdin: int, ends: Sequence[int]) -> None:
        self.message: Mapping[str, object] = message
        self.base = base
        self.ctl = ends[0]
        self.stdio = (stdin, ends[1], ends[-1])
        self.step = "child"

    def run(self, cgroup: str | None) -> None:
        """Never returns."""
        try:
            number = self._run(cgroup)
        except OSError as e:
            number = e.errno or errno.EIO
        except MemoryError:
            number = errno.ENOMEM
        except BaseException:
            number = errno.EINVAL  # a request that is not as agreed; nothing of ours may run in this process
        try:
            os.write(self.ctl, b"%s:%d" % (self.step.encode(), number))
        finally:
            os._exit(NEVER_RAN)

    def _run(self, cgroup: str | None) -> int:
        message = self.message
        self.step = "argv"
        argv: list[bytes] = message["argv"]  # type: ignore[assignment]
        env: list[bytes] = message["env"]  # type: ignore[assignment]
        if not argv or b"\0" in b"".join(argv) or b"\0" in b"".join(env):
            return errno.EINVAL
        vectors = kernel.strings(argv), kernel.strings(env)
        self._prepare(cgroup)
        os.write(self.ctl, READY)
        if os.read(self.ctl, 1) != GO:
            os._exit(NEVER_RAN)
        self.step = "exec"
        return _execute(message.get("executable") or argv[0], env, *vectors)  # type: ignore[arg-type]

    def _prepare(self, cgroup: str | None) -> None:
        message = self.message
        self.step = "session"
        os.setsid()
        if cgroup is not None:
            self.step = "cgroup"
            _write(cgroup + "/cgroup.procs", b"0")
        if self.base.oom_score:
            self.step = "oom"
            _write("/proc/self/oom_score_adj", self.base.oom_score)
        self.step = "nice"
        nice = message.get("nice")
        if isinstance(nice, int) and nice != os.getpriority(os.PRIO_PROCESS, 0):
            os.setpriority(os.PRIO_PROCESS, 0, nice)
        self.step = "umask"
        if isinstance(umask := message.get("umask"), int):
            os.umask(umask)
        self.step = "chdir"
        os.chdir(message["cwd"])  # type: ignore[arg-type]
        self.step = "stdio"
        for number, fd in enumerate(self.stdio):
            os.dup2(fd, number)
        if self.ctl != CTL_FD:
            os.dup2(self.ctl, CTL_FD, inheritable=False)
            self.ctl = CTL_FD
        kernel.close_from(CTL_FD + 1)
        self.step = "limits"
        limits: dict[str, Sequence[int]] = {"nofile": self.base.nofile, **(message.get("rlimits") or {})}  # type: ignore[dict-item]
        for name, (soft, hard) in limits.items():
            resource.setrlimit(getattr(resource, "RLIMIT_" + name.upper()), (soft, hard))
        self.step = "signals"
        signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _execute(name: bytes, env: list[bytes], argv: object, envp: object) -> int:
    """Execute as execvpe does, with the job's own PATH. Returns an errno; "not allowed" wins over "not there"."""
    if b"/" in name:
        return kernel.execve(name, argv, envp)  # type: ignore[arg-type]
    path = next((item[5:] for item in env if item.startswith(b"PATH=")), _PATH)
    result = errno.ENOENT
    for directory in path.split(b":") if name else ():
        number = kernel.execve(directory + b"/" + name if directory else name, argv, envp)  # type: ignore[arg-type]
        if number == errno.EACCES:
            result = number
        elif number not in _NOT_HERE:
            return number
    return result


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)
