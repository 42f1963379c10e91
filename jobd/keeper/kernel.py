"""System calls that Python 3.11 does not offer, through ctypes; nothing here decides anything.

`clone` is fork, pidfd and cgroup in one call: the child is born in its cgroup, which costs nothing, while moving it
there later waits for an RCU grace period (60 µs to 20 ms measured). Where it is refused (a container's seccomp
profile) it falls back to fork. Only for a process with one thread: the child would wait for ever for another one to
take the interpreter lock, if that had asked for it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from array import array
from contextlib import suppress
from stat import S_ISLNK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TypeAlias

    Strings: TypeAlias = tuple[array[int], array[int]]

_CLONE3, _CLOSE_RANGE, _OPENAT2 = 435, 436, 437  # the same numbers on all architectures since Linux 5.3 and 5.9
_CLONE_PIDFD, _CLONE_INTO_CGROUP = 0x1000, 0x2_0000_0000  # linux/sched.h
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282}
_IOPRIO_WHO_PROCESS = 1  # linux/ioprio.h
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP = 36, 38, 24  # linux/prctl.h
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 0x02, 0x04, 0x08  # linux/openat2.h
_CAPABILITY_VERSION_3 = 0x2008_0522  # linux/capability.h
_LAST_CAPABILITY = 63  # that the two words of a set have room for
_KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219, "ppc64le": 271, "s390x": 280}
_KEYCTL_JOIN_SESSION_KEYRING = 1  # linux/keyctl.h
_SFD_FLAGS = os.O_CLOEXEC | os.O_NONBLOCK  # SFD_CLOEXEC | SFD_NONBLOCK have their values
SIGINFO_SIZE = 128  # struct signalfd_siginfo, which begins with the number of the signal

# PyDLL keeps the interpreter lock: the child of clone3 must be able to go on.
_libc = ctypes.PyDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_execve = _libc.execve  # looked up here, since a child would have to do it anew
_execve.argtypes = (ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p)
_loaded: list[ctypes.CDLL] = []
_MACHINE = os.uname().machine
# Of ourselves; made here, since making a type takes longer than the call.
_capability_header, _capability_sets = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
# struct clone_args of linux/sched.h: flags, where the pidfd goes, …, the signal at the end, …, the cgroup.
_clone_pidfd = ctypes.c_int(-1)
_clone_args = (ctypes.c_uint64 * 11)(0, ctypes.addressof(_clone_pidfd), 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, 0)
_clone_args_at, _clone_args_size = ctypes.byref(_clone_args), ctypes.sizeof(_clone_args)
_refused = False  # whether clone3 is not to be had here; found out once


def clone(cgroup: int | None) -> tuple[int, int, bool]:
    """Fork into the cgroup whose directory is open as `cgroup`.

    Returns:
        (pid, pidfd, placed): pid 0 in the child; placed is False when the child has to enter the cgroup by itself.
    """
    global _refused
    if not _refused:
        _clone_args[0] = _CLONE_PIDFD | (0 if cgroup is None else _CLONE_INTO_CGROUP)
        _clone_args[10] = cgroup or 0
        pid = _syscall(_CLONE3, _clone_args_at, _clone_args_size)
        if pid >= 0:
            return pid, _clone_pidfd.value, True
        _refused = ctypes.get_errno() in (errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.E2BIG, errno.EOPNOTSUPP)
        if not _refused:
            raise _error("clone3")
    pid = os.fork()
    if pid == 0:
        return 0, -1, cgroup is None
    try:
        return pid, os.pidfd_open(pid), True
    except OSError:
        os.kill(pid, signal.SIGKILL)  # not reaped yet, so it is ours
        os.waitpid(pid, 0)
        raise


def close_from(first: int) -> None:
    """Close all descriptors from `first` on."""
    if _syscall(_CLOSE_RANGE, ctypes.c_uint(first), ctypes.c_uint(0xFFFFFFFF), 0) != 0:
        for name in os.listdir("/proc/self/fd"):
            if int(name) >= first:
                try:
                    os.close(int(name))
                except OSError:
                    continue  # the descriptor of the listing itself


def strings(values: Sequence[bytes]) -> Strings:
    """A NULL-terminated array of pointers for execve, with what they point to.

    Not of c_char_p, which remembers each string by a name that it makes: in a child that is 60 pages to be copied.
    """
    text = array("B", b"\0".join(values) + b"\0")
    at = text.buffer_info()[0]
    pointers = array("L")  # as wide as a pointer on all that Linux runs on
    for value in values:
        pointers.append(at)
        at += len(value) + 1
    pointers.append(0)
    return text, pointers


def execve(path: bytes, argv: Strings, env: Strings) -> int:
    """Execute; returns only on failure, with the errno. Takes any environment, which os.execve would rearrange."""
    _execve(path, argv[1].buffer_info()[0], env[1].buffer_info()[0])
    return ctypes.get_errno()


def open_beneath(directory: int, path: str, flags: int) -> int:
    """Open a path below an open directory, without following any symbolic link. Raises OSError."""
    how = (ctypes.c_uint64 * 3)(flags, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_SYMLINKS)
    fd: int = _syscall(_OPENAT2, directory, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
    if fd >= 0:
        return fd
    if ctypes.get_errno() not in (errno.ENOSYS, errno.EPERM):
        raise _error(path)
    return _walk(directory, path, flags)  # an older kernel, or a container that does not know the call


def _walk(directory: int, path: str, flags: int) -> int:
    *parents, name = path.split("/")
    at = os.dup(directory)
    try:
        for parent in parents:
            at, last = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at), at
            os.close(last)
        fd = os.open(name, flags | os.O_NOFOLLOW, dir_fd=at)
    finally:
        os.close(at)
    if S_ISLNK(os.fstat(fd).st_mode):  # O_PATH opens the link itself
        os.close(fd)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    return fd


def reset_io_priority() -> None:
    """Be of the usual class and priority for disks again. A refusal changes nothing."""
    number = _IOPRIO_SET.get(_MACHINE)
    if number is not None:
        _syscall(number, ctypes.c_int(_IOPRIO_WHO_PROCESS), ctypes.c_int(0), ctypes.c_int(0))


def become_subreaper() -> None:
    """Make orphans among our descendants our children. Raises OSError."""
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, *map(ctypes.c_ulong, (1, 0, 0, 0))) != 0:
        raise _error("prctl")


def no_new_privileges() -> None:
    """From here on no program gains anything by being setuid. Raises OSError."""
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0))) != 0:
        raise _error("prctl")


def capabilities() -> bool:
    """Whether this process has any: effective, permitted or inheritable. Raises OSError."""
    if _libc.capget(_capability_header, _capability_sets) != 0:
        raise _error("capget")
    return any(_capability_sets)


def bound_capabilities() -> None:
    """Have no program that is executed from here on gain any capability: for root, before it changes its uid."""
    for number in range(_LAST_CAPABILITY + 1):
        if _libc.prctl(_PR_CAPBSET_DROP, *map(ctypes.c_ulong, (number, 0, 0, 0))) != 0:
            break  # there are no more, or it is not root in full


def clear_capabilities() -> None:
    """Put off all that are left, and with the inheritable ones the ambient ones. Raises OSError."""
    if _libc.capset(_capability_header, (ctypes.c_uint32 * 6)()) != 0:
        raise _error("capset")


def leave_session_keyring() -> None:
    """Have a new and empty session keyring, as a login gives one. Refused in most containers, where there are none."""
    number = _KEYCTL.get(_MACHINE)
    if number is not None:
        _syscall(number, ctypes.c_int(_KEYCTL_JOIN_SESSION_KEYRING), None, None, None, None)


def load_library(name: str) -> None:
    """Have a shared library in memory, if there is one of this name."""
    with suppress(OSError):
        _loaded.append(ctypes.CDLL(name))


def signal_fd(signals: Iterable[int]) -> int:
    """A signalfd for signals that are blocked."""
    mask = (ctypes.c_char * 128)()  # sigset_t of glibc and musl
    _libc.sigemptyset(mask)
    for sig in signals:
        _libc.sigaddset(mask, int(sig))
    fd: int = _libc.signalfd(-1, mask, _SFD_FLAGS)
    if fd < 0:
        raise _error("signalfd")
    return fd


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
