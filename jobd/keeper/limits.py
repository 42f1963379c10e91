"""What a run may use, and how ready the kernel is to kill it: from the daemon's message to what is written.

A daemon that is not root is not believed: numbers have bounds, and no process of others gets what only root may give
(a lower niceness, an `oom_score_adj` below the keeper's own), unless root has granted the command or the job is his.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from errno import EINVAL, ENOENT, EPERM, ESRCH

from jobd.host import procs
from jobd.keeper import cgroup, tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobd.keeper.link import Fds, Message
    from jobd.keeper.loop import Keeper
    from jobd.keeper.table import Entry

PERIOD_USEC = 100_000  # of cpu.max: the kernel's default, and systemd's
MOST_BYTES = 1 << 62  # more than any machine has, and what the kernel takes
MOST_PERCENT = 100 * 8192  # the most processors that Linux can be built for
MOST_TASKS = 1 << 22  # PID_MAX_LIMIT
LEAST_OOM, MOST_OOM = -1000, 1000  # proc(5)
OOM_SCORE = "/proc/self/oom_score_adj"
# All of a run is killed when one of it is, as systemd stops a service then: what would be left is half a program.
OOM_GROUP = ("memory.oom.group", "1")

RLIMITS = {name[7:].lower(): getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}
CHANGED = ("memory_max", "cpu_percent", "tasks_max", "rlimits", "oom_score_adjust")  # of a run that is there
# Of a message → file of the control group, the most that is taken.
_BOUNDS = {
    "memory_max": ("memory.max", MOST_BYTES),
    "cpu_percent": ("cpu.max", MOST_PERCENT),
    "tasks_max": ("pids.max", MOST_TASKS),
}


def files(message: Mapping[str, object], *, changed: bool = False) -> list[tuple[str, str]]:
    """What is to be written to which files of a run's control group.

    Args:
        message: the request.
        changed: the group is in use, and None takes a limit away; else it is nothing to write.

    Raises:
        OSError: EINVAL, for a number that makes no sense.
    """
    found = []
    for name, (file, most) in _BOUNDS.items():
        value = message.get(name)
        if value is None:
            if changed and name in message:
                found.append((file, "max"))
            continue
        if type(value) is not int or not 1 <= value <= most:
            raise OSError(EINVAL, os.strerror(EINVAL))
        found.append((file, f"{value * PERIOD_USEC // 100} {PERIOD_USEC}" if file == "cpu.max" else str(value)))
    return found


def oom_score(asked: object, present: bytes, trusted: bool) -> bytes:
    """What a run's `oom_score_adj` is to be; b"" leaves it at what the keeper has.

    Args:
        asked: the request's.
        present: what the keeper had before it lowered its own, b"" if it did not.
        trusted: who asks may go below that.

    Raises:
        OSError: EINVAL, for a number that makes no sense.
    """
    if asked is None:
        return present
    if type(asked) is not int or not LEAST_OOM <= asked <= MOST_OOM:
        raise OSError(EINVAL, os.strerror(EINVAL))
    if not trusted:
        with open(OOM_SCORE, "rb", buffering=0) as file:
            asked = max(asked, int(present or file.read(16)))
    return b"%d" % asked


class Changes:
    """The handler of what the daemon wants to have changed of a run that is there."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def apply(self, message: Message, _: Fds) -> None:
        """Change limits of a run; what could not be changed is answered with its errno."""
        tag, run = message["tag"], message["run"]
        assert isinstance(tag, int)
        entry = self._keeper.table.get(run)  # type: ignore[call-overload]  # a key of another type is not found
        failed: dict[str, int] = {}
        for name in CHANGED:
            if name not in message:
                continue
            try:
                if entry is None or entry.ended:
                    raise ProcessLookupError(ESRCH, os.strerror(ESRCH))
                self._change(entry, name, message)
            except OSError as e:
                failed[name] = e.errno or EINVAL
        self._keeper.send({"op": "limits-set", "tag": tag, "failed": failed})

    def _change(self, entry: Entry, name: str, message: Message) -> None:
        if name == "rlimits":
            self._set_rlimits(entry, message[name])
        elif name == "oom_score_adjust":
            self._set_oom_score(entry, message[name])
        elif not entry.cgroup:
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT))
        else:
            for file, text in files({name: message[name]}, changed=True):
                cgroup.write(f"{entry.cgroup}/{file}", text)

    def _set_rlimits(self, entry: Entry, asked: object) -> None:
        """Of the main process; those that it has started keep theirs."""
        if entry.doubted or entry.pidfd is None or not isinstance(asked, dict):
            raise PermissionError(EPERM, os.strerror(EPERM))
        wanted = [(RLIMITS[str(name)], (int(soft), int(hard))) for name, (soft, hard) in asked.items()]
        for which, limit in wanted:
            self._check_alive(entry)
            try:
                resource.prlimit(entry.pid, which, limit)
            except ValueError as e:  # above what we may give, or the soft one above the hard one
                raise PermissionError(EPERM, os.strerror(EPERM)) from e

    def _check_alive(self, entry: Entry) -> None:
        """A child of ours keeps its number until it is reaped; another's may be somebody else's by now."""
        found = None if entry.child else procs.process(entry.pid)
        if not entry.child and (found is None or found.start != entry.start):
            raise ProcessLookupError(ESRCH, os.strerror(ESRCH))

    def _set_oom_score(self, entry: Entry, asked: object) -> None:
        """Of all processes of the tree; what they start has it as well."""
        base = self._keeper.base
        if asked is None and not base.oom_score:
            raise PermissionError(EPERM, os.strerror(EPERM))  # what it had before is not known
        score = oom_score(asked, base.oom_score, not base.guarded)
        if asked is not None and int(score) != asked:
            raise PermissionError(EPERM, os.strerror(EPERM))
        for pid in tree.members(entry, self._keeper.ends.strangers(entry)):
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                fd = os.open(f"/proc/{pid}/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
                try:
                    os.write(fd, score)
                finally:
                    os.close(fd)
