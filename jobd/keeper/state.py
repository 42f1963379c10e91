"""Re-executing the keeper in place: same pid, children and descriptors, the code now on disk.

All that the keeper knows goes into a memfd as plainpack, with descriptors as numbers. First a child runs the new code
on a copy and says that it can read it; otherwise nothing happens. The blob has a version, and newer code reads all
older ones: fields are only added, and what is missing keeps its default.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from _socket import AF_UNIX, SOCK_SEQPACKET, SOCK_STREAM, socket
from resource import RLIMIT_NOFILE

from jobd.keeper import kernel
from jobd.keeper.link import MAX_REQUEST, MAX_UNSENT, Link
from jobd.keeper.loop import Keeper
from jobd.keeper.notify import Notifier
from jobd.keeper.preparing import take_signals
from jobd.keeper.spawn import Base
from jobd.keeper.table import HELD, Entry, Helper
from jobd.wire.plainpack import packb, unpackb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jobd.config import Config

VERSION = 1
REHEARSAL_SEC = 10.0  # an interpreter starts in 50 ms; ten seconds pass on a machine in deep trouble only
BLOB_BYTES = 256 << 20  # 1,000 running jobs take half a MiB
_DAEMON = ("pid", "pidfd", "incarnation", "ready", "failures", "next_at", "kill_at", "born", "replacing")
_HELPER = ("pidfd", "ctl", "until")
_ENTRY = ("child", "watched", "killing", "doubted", "reopened")


def dump(keeper: Keeper) -> bytes:
    """The keeper as a blob."""
    daemon = keeper.daemon
    entries = []
    for entry in keeper.table.values():
        fields = entry.plain() | {name: getattr(entry, name) for name in (*HELD, *_ENTRY)}
        fields["helpers"] = [_helper(one) for one in entry.helpers.values()]
        fields["ctl"] = None if entry.ctl is None else entry.ctl.fileno()
        entries.append(fields)
    assert keeper.handover is not None
    blob = {
        "version": VERSION,
        "config": keeper.config.plain(),
        "id": keeper.id,
        "started_at": keeper.started_at,
        "heir": keeper.heir,
        "listener": keeper.listener.fileno(),
        "activated": keeper.activated,
        "notify": keeper.notifier.plain(),
        "listener_identity": list(keeper.listener_identity or ()),
        "lock": keeper.lock,
        "relay": list(keeper.relay),
        "handover": keeper.handover.fileno(),
        "root_socket": None if keeper.root_socket is None else keeper.root_socket.fileno(),
        "granted": b"" if keeper.grants is None else b"".join(keeper.grants.of_files),
        "nofile": list(keeper.base.limits[RLIMIT_NOFILE]),
        "oom_score": keeper.base.oom_score,
        "daemon": {name: getattr(daemon, name) for name in _DAEMON},
        "link": None if daemon.link is None else daemon.link.fileno(),
        "dying": keeper.ends.dying,
        "checks": keeper.unix_checks.plain(),
        "entries": entries,
    }
    return packb(blob)


def _helper(helper: Helper) -> dict[str, object]:
    return helper.plain() | {name: getattr(helper, name) for name in _HELPER}


def load(data: bytes) -> dict[str, Any]:
    """Read a blob of this or any older version. Raises ValueError."""
    blob = unpackb(data)
    if not isinstance(blob, dict) or not isinstance(blob.get("version"), int) or blob["version"] > VERSION:
        raise ValueError("cannot read the keeper's state: it was written by a newer jobd")
    for fields in blob["entries"]:
        Entry.load(fields, {})
    return blob


def restore(blob: dict[str, Any], config: Config) -> Keeper:
    """The keeper that the blob describes, in the process that wrote it (or was it, before execve)."""
    take_signals()
    numbers = _numbers(blob)
    for fd in numbers:
        os.set_inheritable(fd, False)
    relay = tuple(blob["relay"]) if "relay" in blob else None
    keeper = Keeper(config, socket(AF_UNIX, SOCK_STREAM, 0, blob["listener"]), blob["lock"], Base(), relay)
    keeper.id, keeper.started_at = blob["id"], blob["started_at"]
    keeper.heir = blob.get("heir", False)
    keeper.activated = blob.get("activated", False)
    keeper.notifier = Notifier.load(blob.get("notify"))
    keeper.listener_identity = tuple(blob["listener_identity"]) or None
    keeper.handover = socket(AF_UNIX, SOCK_SEQPACKET, 0, blob["handover"])
    keeper.handover.setblocking(False)
    if keeper.root_socket is not None and blob.get("root_socket") is not None:
        keeper.root_socket.take(socket(AF_UNIX, SOCK_SEQPACKET, 0, blob["root_socket"]))
    if keeper.grants is not None:
        keeper.grants.set_of_files(blob.get("granted", b""))
    keeper.listener.setblocking(False)
    keeper.base.guarded = config.daemon_uid != 0
    keeper.base.limits[RLIMIT_NOFILE], keeper.base.oom_score = tuple(blob["nofile"]), blob["oom_score"]
    for name, value in blob["daemon"].items():
        setattr(keeper.daemon, name, value)
    if blob["link"] is not None:
        link = socket(AF_UNIX, SOCK_SEQPACKET, 0, blob["link"])
        keeper.daemon.link = Link(link, MAX_REQUEST, MAX_UNSENT)
    keeper.ends.dying.update(blob["dying"])
    keeper.unix_checks.load(blob.get("checks", []))
    for fields in blob["entries"]:
        keeper.ends.adopt(_entry(fields))
    return keeper


def _entry(fields: dict[str, Any]) -> Entry:
    entry = Entry.load(fields, {name: fields[name] for name in HELD if name in fields})
    for name in _ENTRY:
        if name in fields:
            setattr(entry, name, fields[name])
    for one in fields.get("helpers", ()):
        for name in _HELPER:
            setattr(entry.helpers[one["o"]], name, one.get(name))
    if fields.get("ctl") is not None:
        entry.ctl = socket(AF_UNIX, SOCK_SEQPACKET, 0, fields["ctl"])
        entry.ctl.setblocking(False)
    return entry


def _numbers(blob: dict[str, Any]) -> list[int]:
    """All descriptors that a blob names."""
    found = [blob["listener"], blob["lock"], blob["handover"], blob["link"], blob["config"].get("ready_fd")]
    found += [blob["daemon"]["pidfd"], *blob.get("relay", ()), blob.get("root_socket")]
    found += [check[-1] for check in blob.get("checks", ())]
    for fields in blob["entries"]:
        found += [fields.get(name) for name in (*HELD, "ctl")]
        found += [one.get(name) for one in fields.get("helpers", ()) for name in ("pidfd", "ctl")]
    return [fd for fd in found if fd is not None and fd >= 0]


def _memfd(data: bytes) -> int:
    fd = os.memfd_create("jobd-state", 0)  # inherited
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def read(fd: int) -> bytes:
    """The blob behind a descriptor, which is closed."""
    with open(fd, "rb") as file:
        return file.read(BLOB_BYTES)


def _argv(option: str, fd: int) -> list[str]:
    return [sys.executable, "-I", "-m", "jobd", option, str(fd)]


# --- in the old code ----------------------------------------------------------------------------------------------
def begin(keeper: Keeper) -> None:
    """Rehearse with a copy of the state; when that went well, execute the new code as soon as nothing is half done."""
    if keeper.ends.helper is not None or keeper.reexec is not None or keeper.shutdown.begun:
        return refuse(keeper, "it is shutting down, or another re-exec is under way")
    try:
        fd = _memfd(dump(keeper))
        pid, pidfd, _ = kernel.clone(None)
        if pid == 0:
            _rehearse(fd)
        os.close(fd)
    except OSError as e:
        return refuse(keeper, str(e))
    deadline = time.monotonic() + REHEARSAL_SEC

    def ended(status: int) -> None:
        os.close(pidfd)
        keeper.ends.helper_until = None
        if status == 0:
            keeper.reexec = lambda: execute(keeper)
        else:
            refuse(keeper, f"the code on disk cannot take over the state (wait status {status})")

    keeper.ends.helper = (pid, ended)
    keeper.ends.helper_until = (deadline, pidfd)
    return None


def refuse(keeper: Keeper, why: str) -> None:
    """The re-exec does not happen; everything goes on."""
    keeper.log(f"cannot re-execute: {why}", "error")
    keeper.send({"op": "reexec-refused", "why": why})


def _rehearse(fd: int) -> None:
    """In the child: run the new code on the copy. Never returns."""
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.dup2(fd, 3)
        os.set_inheritable(3, True)
        kernel.close_from(4)
        os.execv(sys.executable, _argv("--rehearse", 3))
    finally:
        os._exit(127)


def execute(keeper: Keeper) -> None:
    """Become the new code. Returns only if that failed."""
    keeper.reexec = None
    if keeper.shutdown.begun:
        return refuse(keeper, "it is shutting down")
    blob = dump(keeper)
    numbers = _numbers(load(blob))
    for fd in numbers:
        os.set_inheritable(fd, True)
    state = -1
    try:
        state = _memfd(blob)
        os.execv(sys.executable, _argv("--resume", state))
    except OSError as e:
        for fd in numbers:
            os.set_inheritable(fd, False)
        if state >= 0:
            os.close(state)
        refuse(keeper, str(e))
    return None
