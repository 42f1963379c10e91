"""Helpers of runs: the commands that stop or reload a service, and those that look how it does.

A helper is a child of the keeper in the run's control group and tree, as the run's user, so that a run is over only
when its helpers are; but its end is not the run's. The daemon names each by an operation that comes from committed
state: asked again, a helper that lives is named again and one that has ended is told again, and neither is executed
twice. Only the answers of checks are thrown away once they are told.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from _socket import AF_UNIX, MSG_DONTWAIT, MSG_PEEK, SOCK_SEQPACKET, socket, socketpair
from contextlib import suppress
from fcntl import F_SETFL, fcntl

from jobd.host import pidfd, procs
from jobd.keeper import kernel
from jobd.keeper.become import LOOKUP_SEC
from jobd.keeper.child import GO, child
from jobd.keeper.environment import words
from jobd.keeper.membership import Membership
from jobd.keeper.spawn import Plan, SpawnFailed
from jobd.keeper.spawns import spare_fds
from jobd.keeper.table import Helper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jobd.keeper.link import Fds, Message
    from jobd.keeper.loop import Keeper
    from jobd.keeper.notifysockets import NotifySockets
    from jobd.keeper.table import Entry

# Of a run, and of all runs: a service has one command at a time that reloads or stops it, and one or two that look.
MAX_LIVE, MAX_ALL = 8, 1024
MAX_OWNER = 256  # of the runs of one who is not root: all others' services would seem ill if one could have them all
KEPT = 16  # of a run, those that have ended: the daemon asks again for its last one
MAX_OPID = 256
ERRNO_DIGITS = 5  # more than a number of an error has
CHECK = "check-"  # begins the operations that are nobody's business once they have ended
STOP = "stop-"  # and those that are to end the run, which must not be held for that
LAG_SEC, LOOK_SEC = 30.0, 0.05  # for the status of what is not our child: how long, and how often it is asked for


class Helpers:
    """The helpers that live. Those that have ended are in the entries of their runs."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._live: dict[int, tuple[Entry, Helper]] = {}  # our children, by pid; of forgotten runs, too, until reaped
        self._foreign: list[tuple[Entry, Helper]] = []  # other processes that another keeper has made
        self.handlers: dict[str, Callable[[Message, Fds], None]] = {"helper": self._helper, "helper-kill": self._kill}

    # --- starting ---------------------------------------------------------------------------------------------------
    def _helper(self, message: Message, _: Fds) -> None:
        run, opid = message["run"], _opid(message)
        assert isinstance(run, bytes)
        entry = self._keeper.table.get(run)
        helper = entry.helpers.get(opid) if entry is not None else None
        if entry is not None and helper is not None:
            self._tell(entry, helper)
            return
        try:
            self._tell(*self._start(entry, message, opid))
        except SpawnFailed as e:
            failed = Helper(opid)
            failed.done, failed.step, failed.errno = True, e.step, e.errno
            self._keeper.send({"op": "helper-done", "run": run, **failed.plain()})

    def _tell(self, entry: Entry, helper: Helper) -> None:
        op = "helper-done" if helper.done else "helper-started"
        self._keeper.send({"op": op, "run": entry.run, **helper.plain()})

    def _start(self, entry: Entry | None, message: Message, opid: str) -> tuple[Entry, Helper]:
        """Fork a helper. Raises SpawnFailed."""
        keeper = self._keeper
        if entry is None or not entry.went or entry.step or entry.restored:
            raise SpawnFailed("spawn", errno.ESRCH)
        live = sum(not helper.done for helper in entry.helpers.values())
        if live >= MAX_LIVE or len(self._live) >= MAX_ALL or (not opid.startswith(STOP) and self._has_many(entry)):
            raise SpawnFailed("spawn", errno.EAGAIN)
        timeout = message.get("timeout_ms")
        assert timeout is None or (type(timeout) is int and timeout >= 0)
        asked = {**message, "stdin": "null"}
        granted = keeper.grants is not None and keeper.grants.has(asked)
        env = [word for word in words(message["env"]) if not word.startswith(procs.ENVIRON)]
        plan = Plan({**asked, "env": env}, keeper.base, granted, _words(entry, keeper.notify_sockets))
        if plan.wish is not None:
            plan.wish.running = True
        if opid.startswith(STOP):
            keeper.freezer.thaw(entry)
        helper = Helper(opid)
        try:
            if entry.empty:
                self._reopen(entry, plan)
            self._fork(entry, helper, plan, -1 if opid.startswith(CHECK) else _output(entry))
            process = procs.process(helper.pid)  # ours and not reaped, so it is this one
            helper.start = process.start if process else 0
            helper.until = None if timeout is None else time.monotonic() + timeout / 1000
            if plan.wish is not None and not plan.wish.sure_root:
                helper.lookup_until = time.monotonic() + LOOKUP_SEC
            entry.helpers[opid] = helper
            self._live[helper.pid] = entry, helper
        except OSError as e:
            raise SpawnFailed("fork", e.errno or errno.EIO) from e
        finally:
            keeper.ends.reopened(entry)
        return entry, helper

    def _has_many(self, entry: Entry) -> bool:
        """Whether the owner of a run has as many as one may have."""
        owner = _owner(entry)
        return bool(owner) and sum(_owner(other) == owner for other, _ in self._live.values()) >= MAX_OWNER

    def _reopen(self, entry: Entry, plan: Plan) -> None:
        """A tree that was empty has a process again: of a job that counts as running when its process has ended."""
        if entry.cgroup:
            try:
                entry.cgroup, directory = self._keeper.cgroups.make(entry.run)
                os.close(directory)
                self._keeper.cgroups.limit(entry.cgroup, plan.files)
            except OSError as e:
                raise SpawnFailed("cgroup", e.errno or errno.EIO) from e
        entry.doubted = True  # the number of its main process may be another's by now
        entry.empty, entry.reopened = False, True

    def _fork(self, entry: Entry, helper: Helper, plan: Plan, output: int) -> None:
        """Make the child, which executes at once. `output` is closed. Raises OSError."""
        null = self._keeper.base.null
        plan.stdio = [null, *((null, null) if output < 0 else (output, output))]
        opened = [output] if output >= 0 else []
        try:
            ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
            opened += [ours.detach(), theirs.detach()]
            ctl, its_ctl = opened[-2:]
            limit, spare = spare_fds()
            if max(ctl, its_ctl) >= limit - spare:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            os.set_blocking(ctl, False)
            os.write(ctl, GO)
            directory = None
            if entry.cgroup:
                directory = os.open(entry.cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                opened.append(directory)
            helper.pid, helper.pidfd, placed = kernel.clone(directory)
            if helper.pid == 0:
                if not placed:
                    plan.enter(entry.cgroup)
                child(plan, its_ctl)
            helper.ctl = ctl
            opened.remove(ctl)
        finally:
            for fd in opened:
                os.close(fd)

    # --- ending -----------------------------------------------------------------------------------------------------
    def reaped(self, pid: int, status: int) -> bool:
        """A child has ended. Returns whether it was a helper."""
        found = self._live.pop(pid, None)
        if found is None:
            return False
        entry, helper = found
        if helper.ctl is not None:
            step, number = _last_word(helper.ctl)
            if step:
                helper.step, helper.errno = step, number
            if helper.step:
                status = -1
        self._ended(entry, helper, status)
        return True

    def _ended(self, entry: Entry, helper: Helper, status: int) -> None:
        helper.done, helper.status, helper.until = True, status, None
        helper.close()
        if self._keeper.table.get(entry.run) is not entry:
            return
        self._tell(entry, helper)
        if helper.o.startswith(CHECK):
            del entry.helpers[helper.o]
        for opid in [opid for opid, other in entry.helpers.items() if other.done][:-KEPT]:
            del entry.helpers[opid]

    def _kill(self, message: Message, _: Fds) -> None:
        entry = self._keeper.table.get(message["run"])  # type: ignore[call-overload]
        helper = entry.helpers.get(_opid(message)) if entry is not None else None
        if entry is not None and helper is not None and not helper.done:
            self._end(helper)

    def _end(self, helper: Helper) -> None:
        """SIGKILL to it and to its group, which has its number for as long as it is not reaped."""
        helper.until = None
        self._signal(helper, signal.SIGKILL)
        if helper.ctl is not None:
            with suppress(OSError):  # it has not come so far as to make one
                os.killpg(helper.pid, signal.SIGKILL)

    def _signal(self, helper: Helper, sig: int) -> bool:
        if helper.done or helper.pidfd is None:
            return False
        try:
            return pidfd.send_signal(helper.pidfd, sig)
        except PermissionError:  # a setuid program
            self._keeper.log(f"not allowed to signal process {helper.pid}", "warning")
            return False

    def signal(self, entry: Entry, sig: int) -> int:
        """Send a signal to the helpers of a run. Returns how many got it."""
        return sum(self._signal(helper, sig) for helper in list(entry.helpers.values()))

    def pids(self) -> set[int]:
        """Our children that are helpers."""
        return set(self._live)

    def forget(self, entry: Entry) -> None:
        """The run leaves the table: what still helps it is ended, and reaped when it is dead."""
        for helper in entry.helpers.values():
            if not helper.done:
                if helper.ctl is None and helper.pidfd is not None:
                    self._keeper.unwatch(helper.pidfd)
                self._end(helper)
        if self._foreign:
            self._foreign = [other for other in self._foreign if other[0] is not entry]

    def tick(self, now: float) -> float | None:
        """Do what is due. Returns when to look again."""
        if not (self._live or self._foreign):
            return None
        due = []
        for entry, helper in (*self._live.values(), *self._foreign):
            if helper.until is not None and now >= helper.until:
                helper.timed_out = True
                self._end(helper)
            if helper.lookup_until and now >= helper.lookup_until:
                self._end_lookup(helper)
            if helper.lag_until and self._ask_status(entry, helper):
                continue
            if helper.lag_until:
                due.append(now + LOOK_SEC)
            due += [at for at in (helper.until, helper.lookup_until) if at]
        return min(due, default=None)

    def _end_lookup(self, helper: Helper) -> None:
        """End a child that looks its user up and has no answer in time: while its uid is 0 it has not become him."""
        helper.lookup_until = 0.0
        if helper.ctl is not None and not _is_executed(helper.ctl) and procs.uids(helper.pid)[0] == 0:
            helper.step, helper.errno = "user", errno.ETIMEDOUT
            self._end(helper)

    # --- from another keeper, or from our older code ----------------------------------------------------------------
    def adopt(self, entry: Entry) -> None:
        """Look after the helpers of a run that came by a re-exec (our own children) or by a handover."""
        for helper in list(entry.helpers.values()):
            if helper.done:
                continue
            if helper.ctl is not None:
                self._live[helper.pid] = entry, helper
            elif helper.pidfd is not None or self._find(entry, helper):
                self._foreign.append((entry, helper))
                self._watch(entry, helper)
            else:
                helper.done = True

    def _find(self, entry: Entry, helper: Helper) -> bool:
        """Have the process that another keeper has made for this run; False: it has ended, and nobody knows how."""
        try:
            helper.pidfd = os.pidfd_open(helper.pid)
        except (OSError, ValueError, OverflowError):
            return False
        process = procs.process(helper.pid)
        if process is not None and process.start == helper.start:
            if Membership(self._keeper.table).find(helper.pid) is entry:
                return True
            self._keeper.log(f"process {helper.pid} is no helper of run {entry.run.hex()}", "error")
        os.close(helper.pidfd)
        helper.pidfd = None
        return False

    def _watch(self, entry: Entry, helper: Helper) -> None:
        assert helper.pidfd is not None
        fd = helper.pidfd

        def ended() -> None:
            helper.lag_until = time.monotonic() + (LAG_SEC if pidfd.keeps_exit_status() else 0.0)
            self._keeper.unwatch(fd)  # only now: after an error in the above this comes again
            self._ask_status(entry, helper)

        self._keeper.watch(fd, ended)

    def _ask_status(self, entry: Entry, helper: Helper) -> bool:
        """Its parent has to reap it before the kernel tells the status. Returns whether nothing more is to be hoped."""
        assert helper.pidfd is not None
        status = pidfd.exit_status(helper.pidfd)
        if status is None and time.monotonic() < helper.lag_until:
            return False
        helper.lag_until = 0.0
        self._foreign.remove((entry, helper))
        self._ended(entry, helper, -1 if status is None else status)
        self._keeper.ends.recheck()
        return True


def _owner(entry: Entry) -> object:
    return entry.label.get("owner") if isinstance(entry.label, dict) else None


def _opid(message: Message) -> str:
    opid = message["o"]
    assert isinstance(opid, str)
    assert 0 < len(opid) <= MAX_OPID
    return opid


def _words(entry: Entry, sockets: NotifySockets) -> list[bytes]:
    """What the keeper knows best, for the environment."""
    known = [b"JOBD_RUN=" + entry.run.hex().encode()]
    if entry.notify is not None:
        known.append(b"NOTIFY_SOCKET=" + os.fsencode(sockets.path_of(entry.run)))
    if not entry.ended:
        known.append(b"MAINPID=%d" % entry.pid)
    return known


def _output(entry: Entry) -> int:
    """An end to write to the run's stderr; -1 when nobody reads that any more.

    Root comes in anywhere: of what a daemon has handed over as the end to read from, only a pipe without a name is
    opened anew, or a daemon that was taken over could have any file that it may read written to.
    """
    reader = entry.err if entry.err is not None else entry.out
    if reader is None or not os.readlink(f"/proc/self/fd/{reader}").startswith("pipe:["):
        return -1
    poll = select.poll()
    poll.register(reader, 0)
    if poll.poll(0):  # POLLHUP: whoever reads it has met the end, and looks no more
        return -1
    try:
        fd = os.open(f"/proc/self/fd/{reader}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return -1
    fcntl(fd, F_SETFL, 0)
    return fd


def _is_executed(ctl: int) -> bool:
    """Whether the child behind a control socket has come to its program, or ended."""
    sock = socket(AF_UNIX, SOCK_SEQPACKET, 0, os.dup(ctl))
    try:
        return sock.recv(1, MSG_PEEK | MSG_DONTWAIT) == b""
    except OSError as e:
        return e.errno != errno.EAGAIN
    finally:
        sock.close()


def _last_word(ctl: int) -> tuple[str, int]:
    """The step that failed in a child that has ended, and its errno; "" for none."""
    data = b""
    for _ in range(2):
        try:
            data = os.read(ctl, 128)
            break
        except ConnectionResetError:
            continue  # it left without reading its `go`; the kernel says so once, and before what it had to say
        except OSError:
            break
    step, _, number = data.decode("ascii", "replace").partition(":")
    return step, int(number) if number.isdecimal() and len(number) < ERRNO_DIGITS else errno.EIO
