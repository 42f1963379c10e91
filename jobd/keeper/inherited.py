"""What a dead keeper's daemon hands over, looked at before it is believed.

A daemon that is not root may have been taken over, and what it names as a run's would be signalled, frozen and killed
by root. So a process of root's must carry the run's id in its environment, or be in the control group that a keeper
made for the run. With other users' processes it could do as it likes anyway, by a job of theirs: those are believed,
since a job may have cleared its environment.
"""

from __future__ import annotations

import os
from _socket import AF_UNIX, SO_DOMAIN, SO_TYPE, SOCK_SEQPACKET, SOL_SOCKET, socket

from jobd.host import procs, usage
from jobd.keeper import cgroup
from jobd.keeper.table import Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobd.keeper.cgroup import Cgroups
    from jobd.keeper.link import Fds, Message

RUN_BYTES = 16
_TYPES: dict[str, tuple[type, ...]] = {
    "run": (bytes,), "pid": (int,), "start": (int,), "went": (bool,), "execd": (bool,), "step": (str,), "errno": (int,),
    "exit": (dict, type(None)), "empty": (bool,), "tracking": (str,), "cgroup": (str,), "merge": (bool,),
    "frozen": (bool,), "ops": (list,), "once": (list,), "usage": (dict, type(None)), "helpers": (list,),
}  # fmt: skip
_HELPER_TYPES = {
    "o": str, "pid": int, "start": int, "done": bool, "status": int, "step": str, "errno": int, "timed_out": bool,
}  # fmt: skip
MAX_HELPERS = 64  # of a run: twice what a keeper remembers, and more
MAX_WORD = 256  # characters of an operation or a step


class NotBelieved(Exception):  # noqa: N818
    """An entry that does not describe a run of ours; the text says why."""


def entry_of(fields: Message, fds: Fds, cgroups: Cgroups, guarded: bool) -> Entry:
    """The entry that a daemon handed over. Raises NotBelieved.

    Args:
        fields: the entry as the daemon says it.
        fds: its descriptors.
        cgroups: ours.
        guarded: the daemon is not root, and nothing is believed without a look.
    """
    _check_types(fields)
    if "ctl" in fds and not _is_control_socket(fds["ctl"]):
        raise NotBelieved("a run without its control socket")
    entry = Entry.load(fields, fds)
    entry.child = False
    if not guarded:
        return entry
    name = f"run {entry.run.hex()}"
    if entry.cgroup and not cgroups.is_of(entry.cgroup, entry.run):
        raise NotBelieved(f"{name}: {entry.cgroup} is not its control group")
    if entry.pidfd is not None:
        pid = _pid_of(entry.pidfd)
        if pid not in (-1, entry.pid):
            raise NotBelieved(f"{name}: it comes with a process that is not {entry.pid}")
        if pid > 0 and not _belongs(entry):
            raise NotBelieved(f"{name}: process {pid} is not of this run")
    entry.doubted = entry.pidfd is None or pid < 0 or _is_roots_zombie(pid)
    return entry


def _is_roots_zombie(pid: int) -> bool:
    """Whether it has ended, and was root's: its environment is gone, but others may be of its group and session."""
    process = procs.process(pid)
    return (process is None or process.zombie) and 0 in procs.uids(pid)


def _check_types(fields: Message) -> None:
    run = fields.get("run")
    if not isinstance(run, bytes) or len(run) != RUN_BYTES:
        raise NotBelieved("something without a run id")
    for name, types in _TYPES.items():
        if name in fields and type(fields[name]) not in types:
            raise NotBelieved(f"run {run.hex()}: its {name} makes no sense")
    exit_ = fields.get("exit")
    if isinstance(exit_, dict) and not {"status", "rusage", "at", "mono"}.issuperset(exit_):
        raise NotBelieved(f"run {run.hex()}: its exit makes no sense")
    used = fields.get("usage")
    if isinstance(used, dict) and not usage.is_sound(used):
        raise NotBelieved(f"run {run.hex()}: its usage makes no sense")
    helpers = fields.get("helpers", [])
    if not isinstance(helpers, list) or len(helpers) > MAX_HELPERS or not all(map(_is_helper, helpers)):
        raise NotBelieved(f"run {run.hex()}: its helpers make no sense")
    if not isinstance(fields.get("pid"), int) or fields["pid"] <= 1:  # type: ignore[operator]  # an int, just checked
        raise NotBelieved(f"run {run.hex()}: it has no process")


def _is_helper(fields: object) -> bool:
    if not isinstance(fields, dict) or {name: type(value) for name, value in fields.items()} != _HELPER_TYPES:
        return False
    return all(len(fields[name]) <= MAX_WORD for name in ("o", "step"))


def _is_control_socket(fd: int) -> bool:
    """Whether it is of the kind that keeper.spawn makes; what else there is may not even be watched."""
    try:
        sock = socket(AF_UNIX, SOCK_SEQPACKET, 0, os.dup(fd))
        try:
            return [sock.getsockopt(SOL_SOCKET, option) for option in (SO_DOMAIN, SO_TYPE)] == [AF_UNIX, SOCK_SEQPACKET]
        finally:
            sock.close()
    except OSError:
        return False


def _pid_of(pidfd: int) -> int:
    """The process behind a pidfd, -1 when it is gone. Raises NotBelieved: it is none."""
    for line in procs.read(os.getpid(), f"fdinfo/{pidfd}", 4096).splitlines():
        if line.startswith(b"Pid:"):
            return int(line[4:])
    raise NotBelieved("something that is not a process")


def _belongs(entry: Entry) -> bool:
    """Whether the main process may be of the run. One that has ended harms nobody."""
    process = procs.process(entry.pid)
    if process is None or process.zombie:
        return True
    if process.start != entry.start:
        return False
    if entry.cgroup:
        return entry.pid in set(cgroup.processes(entry.cgroup))
    return procs.run_of(entry.pid) == entry.run or 0 not in procs.uids(entry.pid)
