"""One entry per run: all that the keeper knows of it, and its form in the messages `entries` and the state blob."""

from __future__ import annotations

import os

from jobd.core.ids import ONCE_OPERATION, ONCE_REMEMBERED, USER_OPERATION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

    from jobd.keeper.link import Message

PLAIN = (
    "run", "pid", "start", "went", "execd", "step", "errno", "exit", "empty", "tracking", "cgroup", "merge", "ops",
    "label", "frozen", "once", "usage",
)  # fmt: skip
# The descriptors of a run: its process; the ends from which its output is read; what its stdin is fed through, and the
# file that feeds it, whose position says how far that has come; of a terminal the master, and the pipe into `out`;
# the socket on which it says how it does; and an end to write to its stderr, which has no end before that is closed.
HELPER = ("o", "pid", "start", "done", "status", "step", "errno", "timed_out")
HELD = ("pidfd", "out", "err", "stdin", "input", "pty", "pty_out", "notify", "err_in")


class Helper:
    """A command besides the main process of a run: what stops or reloads it, or a check of it."""

    __slots__ = (*HELPER, "ctl", "lag_until", "lookup_until", "pidfd", "until")

    def __init__(self, opid: str) -> None:
        self.o = opid
        self.pid = 0
        self.start = 0  # as the main process's
        self.done = False
        self.status = -1  # the wait status; -1 for one that nobody could read, or that did not come to its program
        self.step = ""  # what failed instead of the program's start, with errno
        self.errno = 0
        self.timed_out = False
        self.until: float | None = None  # by the monotonic clock: when it is killed
        self.pidfd: int | None = None
        self.ctl: int | None = None  # the keeper's end of its control socket; None: it is no child of ours
        self.lookup_until = 0.0  # when its child has to have found its user; 0.0 is never
        self.lag_until = 0.0  # of another's child that has ended: how long its status is asked for

    def plain(self) -> Message:
        """As a part of an ENTRY."""
        return {name: getattr(self, name) for name in HELPER}

    @classmethod
    def load(cls, fields: Message) -> Helper:
        """As another process described it."""
        helper = cls(str(fields["o"]))
        for name in cls.__slots__:
            if name in fields:
                setattr(helper, name, fields[name])
        return helper

    def close(self) -> None:
        """Close what is held for it."""
        for fd in (self.pidfd, self.ctl):
            if fd is not None:
                os.close(fd)
        self.pidfd = self.ctl = None


class Entry:
    """A run from its spawn to its ack."""

    __slots__ = (*PLAIN, *HELD, "child", "ctl", "doubted", "helpers", "killing", "looks_up", "reopened", "watched")

    def __init__(self, run: bytes) -> None:
        self.run = run
        self.pid = 0
        self.start = 0  # clock ticks after boot, field 22 of /proc/PID/stat: with the boot id it makes the pid unique
        self.went = False  # noted before the go byte is written; "never ran" is read from this alone
        self.execd = False
        self.step = ""  # what failed instead of the program's start, with errno
        self.errno = 0
        self.exit: dict[str, object] | None = None
        self.empty = False  # no process of the tree is left
        self.tracking = "process"
        self.cgroup = ""
        self.merge = False
        self.ops: list[str] = []  # operations done, which are never repeated
        self.once: list[str] = []  # the last of those operations that have a client's own name, nor are these
        self.usage: dict[str, int] | None = None  # what it has used: of its cgroup, when its main process had ended
        self.frozen = False  # all of the tree is held where it is
        self.label: object = None  # the daemon's own words about the run
        self.pidfd: int | None = None
        self.out: int | None = None
        self.err: int | None = None
        self.stdin: int | None = None
        self.input: int | None = None
        self.pty: int | None = None
        self.pty_out: int | None = None
        self.notify: int | None = None
        self.err_in: int | None = None
        self.ctl: socket | None = None  # until the program runs
        self.child = True  # ours to reap; False after a handover
        self.looks_up = False  # its child has to find its user first
        self.doubted = False  # its number is only what a daemon that is not root says
        self.reopened = False  # its tree was empty, and helpers have come into it: what they use is not the run's
        self.watched = False  # the daemon wants to hear when the tree is empty
        self.helpers: dict[str, Helper] = {}  # by operation: those that live, and the last that have ended
        self.killing = 0  # rounds of SIGKILL so far, while they go on

    def done(self, op: str) -> bool:
        """Note that an operation is done. Returns whether it was before."""
        if op in self.ops or op in self.once:
            return True
        if op.startswith(ONCE_OPERATION):
            self.once = [*self.once, op][-ONCE_REMEMBERED:]
        elif not op.startswith(USER_OPERATION):
            self.ops.append(op)
        return False

    def plain(self) -> Message:
        """The ENTRY of the protocol."""
        fields: Message = {name: getattr(self, name) for name in PLAIN}
        fields["helpers"] = [helper.plain() for helper in self.helpers.values()]
        fields["fds"] = self.held()
        return fields

    def held(self) -> list[str]:
        """What there is of descriptors."""
        return [name for name in HELD if getattr(self, name) is not None]

    def fds(self) -> list[int]:
        """The descriptors that `held` names."""
        return [fd for name in HELD if (fd := getattr(self, name)) is not None]

    @classmethod
    def load(cls, fields: Message, fds: dict[str, int]) -> Entry:
        """An entry as another process described it; what it does not name keeps its default."""
        entry = cls(fields["run"])  # type: ignore[arg-type]
        for name in PLAIN:
            if name in fields:
                setattr(entry, name, fields[name])
        for name in HELD:
            setattr(entry, name, fds.get(name))
        helpers = fields.get("helpers")
        loaded = [Helper.load(one) for one in helpers] if isinstance(helpers, list) else []
        entry.helpers = {helper.o: helper for helper in loaded}
        return entry

    @property
    def helped(self) -> bool:
        """Whether a helper lives."""
        return any(not helper.done for helper in self.helpers.values())

    @property
    def restored(self) -> bool:
        """Whether all that is left of the run is what an earlier keeper wrote down."""
        return not self.child and self.pidfd is None

    @property
    def ended(self) -> bool:
        """Whether the main process is gone."""
        return self.exit is not None or self.step != ""

    def close(self) -> None:
        """Close all that is held for the run."""
        for fd in self.fds():
            os.close(fd)
        for name in HELD:
            setattr(self, name, None)
        for helper in self.helpers.values():
            helper.close()
        self.close_ctl()

    def close_one(self, name: str) -> None:
        """Close one descriptor, if it is held."""
        fd = getattr(self, name)
        if fd is not None:
            setattr(self, name, None)
            os.close(fd)

    def close_ctl(self) -> None:
        """Close the control socket: a child that has not gone never will."""
        if self.ctl is not None:
            self.ctl.close()
            self.ctl = None
