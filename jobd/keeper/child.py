"""The child of a run, or of a helper: everything between the fork and execve.

It never returns into the keeper's loop: every way out of it is execve or _exit. Each failing step comes back over its
control socket as `step:errno`. First comes what needs privilege, and the user's own files only when it has become him.

Each page that it writes to is copied first, 2 µs, and that is most of what it costs. So functions are imported by name
in what it executes: to look one up in a module writes to a table of the interpreter's.
"""

from __future__ import annotations

import errno
import os
import resource
import termios
from contextlib import suppress
from fcntl import ioctl
from os import _exit, chdir, dup2, read, setsid, umask, write
from resource import setrlimit
from signal import SIG_SETMASK, pthread_sigmask

from jobd.keeper import kernel, notifysockets
from jobd.keeper.become import Refused, become, look_up, own_streams
from jobd.keeper.environment import candidates
from jobd.keeper.kernel import close_from, execve, leave_session_keyring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from jobd.keeper.become import Account, Wish
    from jobd.keeper.spawn import Plan

CTL_FD = 3  # of the child; 0, 1 and 2 are always taken in the keeper, so nothing that is needed is ever below
GO = b"G"
NEVER_RAN = 222  # exit status of a child whose keeper went away before go; nobody is left to read it
_NOT_HERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE, errno.ENAMETOOLONG)  # the next directory of PATH


def child(plan: Plan, ctl: int) -> NoReturn:
    """In the child: everything up to execve. `ctl` is its control socket."""
    plan.ctl = ctl
    try:
        account = _as_root(plan)
        _as_user(plan, account)
        if read(plan.ctl, 1) != GO:
            _exit(NEVER_RAN)
        plan.step = b"exec"
        number = _execute(plan)
    except Refused as e:
        plan.step, number = e.step, e.errno
    except OSError as e:
        number = e.errno or errno.EIO
    except MemoryError:
        number = errno.ENOMEM
    except BaseException:
        number = errno.EINVAL  # nothing of ours may go on in this process
    try:
        write(plan.ctl, b"%s:%d" % (plan.step, number))
    finally:
        _exit(NEVER_RAN)


def _as_root(plan: Plan) -> Account | None:
    """What needs privilege, where there is any: the user's own files are not touched before he is there."""
    setsid()
    for what, path, data in plan.writes:
        plan.step = what
        try:
            _write(path, data)
        except PermissionError:
            if what != b"oom":  # that may fail, as with systemd
                raise
    plan.step = b"user"
    account = None if plan.wish is None else _prepare(plan, plan.wish)
    if plan.nice is not None:
        plan.step = b"nice"
        _be_nice(plan, plan.nice, account)
    plan.step = b"stdio"
    _take_stdio(plan)
    if plan.ctl != CTL_FD:
        dup2(plan.ctl, CTL_FD, False)
        plan.ctl = CTL_FD
    close_from(CTL_FD + 1)
    plan.step = b"limits"
    for which, limit in plan.limits:  # raising one needs root; after the look-up, which needs descriptors and memory
        _limit(which, *limit)
    return account


def _as_user(plan: Plan, account: Account | None) -> None:
    """Become the user, for good, and do what depends on who he is."""
    plan.step = b"user"
    if account is not None:
        become(account)
    if plan.no_new_privileges:
        kernel.no_new_privileges()
    if plan.umask is not None:
        umask(plan.umask)
    if plan.environment.late:
        plan.step = b"environment"
        env = plan.environment.complete(account)
        plan.env, plan.candidates = kernel.strings(env), candidates(plan.name, env)
    plan.step = b"chdir"
    chdir(plan.cwd)
    plan.step = b"signals"
    pthread_sigmask(SIG_SETMASK, ())


def _prepare(plan: Plan, wish: Wish) -> Account:
    """While still root: find the user, give him what is made for this job, and complete the environment."""
    account = look_up(wish, plan.overflow_uid)
    leave_session_keyring()
    own_streams(account, plan.own, plan.terminal, plan.tty)
    if plan.notify is not None:
        plan.step = b"notify"
        notifysockets.give(*plan.notify, account.uid, account.gid)
    return account


def _be_nice(plan: Plan, value: int, account: Account | None) -> None:
    """Only root's jobs may be less nice than the keeper; who submits from a shell that is gets the keeper's."""
    if account is not None and account.uid != 0 and not plan.trusted and value < plan.least_nice:
        return
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, value)


def _take_stdio(plan: Plan) -> None:
    for number, fd in enumerate(plan.stdio):
        dup2(fd, number)
    if plan.terminal:
        ioctl(0, termios.TIOCSCTTY, 0)


def _limit(which: int, soft: int, hard: int) -> None:
    """Set a limit, or as much of it as there is for us: the submitter's own, which come along, may be higher."""
    try:
        setrlimit(which, (soft, hard))
    except ValueError:  # EPERM; RLIM_INFINITY is -1 here
        most = resource.getrlimit(which)[1]
        setrlimit(which, (min(soft, most, key=_unsigned), min(hard, most, key=_unsigned)))


def _unsigned(limit: int) -> int:
    return limit & 0xFFFF_FFFF_FFFF_FFFF


def _execute(plan: Plan) -> int:
    """Execute as execvpe does. Returns an errno; "not allowed" wins over "not there"."""
    result = errno.ENOENT
    for path in plan.candidates:
        number = execve(path, plan.argv, plan.env)
        if number == errno.EACCES or len(plan.candidates) == 1:
            result = number
        elif number not in _NOT_HERE:
            return number
    return result


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        write(fd, data)
    finally:
        os.close(fd)
