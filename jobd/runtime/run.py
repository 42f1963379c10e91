"""One live run: what is known of it, and the messages that say so.

The run's task (`lifecycle.live`) walks it from acceptance to its recorded end; everybody else only notes facts here
and wakes it. Descriptors: `pidfd`, and until the pump takes them `out` and `err`, belong to the run.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Final

from jobd.core import exits, records, restarts, states
from jobd.core.ids import ONCE_OPERATION, ONCE_REMEMBERED, USER_OPERATION
from jobd.core.queue import BEGUN
from jobd.core.spec import NULL
from jobd.host import usage
from jobd.runtime.feeder import Feed
from jobd.runtime.helpers import Helpers
from jobd.runtime.keeperlink import Fields, close_all
from jobd.runtime.wake import Changed, Wake

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobd.core.queue import Ticket
    from jobd.core.records import RunRow
    from jobd.core.spec import JobSpec
    from jobd.runtime.job import Caller, Job
    from jobd.runtime.journal import Commit
    from jobd.runtime.service import Service


class Ending:
    """How the main process ended, as the keeper (or, without one, the kernel) told."""

    __slots__ = ("at", "maxrss_kib", "status", "stime_usec", "utime_usec")

    def __init__(self, status: int, rusage: list[int] | None, at: int) -> None:
        self.status = status
        self.at = at
        self.utime_usec: int | None = None
        self.stime_usec: int | None = None
        self.maxrss_kib: int | None = None
        if rusage is not None:
            self.utime_usec, self.stime_usec, self.maxrss_kib = rusage


_NOTHING: Final[dict[str, int]] = {}  # one for all that have nothing: it is replaced, never changed


class Run:
    """One execution of a job."""

    __slots__ = (
        "accepted", "cgroup", "changed", "ctl", "empty", "ending", "entered_mono", "env", "eof", "err", "err_bytes",
        "err_in", "execd", "failure", "feed", "following", "frozen", "gone", "held", "helpers", "job", "keeper_lost",
        "launched", "log_error", "notify", "on_end", "once", "operations", "out", "out_bytes", "output_changed", "pid",
        "pid_start", "pidfd", "ready", "reload_asked", "reload_trouble", "reloading", "row", "service", "signaled",
        "spec", "ticket", "tracking", "up", "up_mono", "usage", "wake", "went", "window",
    )  # fmt: skip

    def __init__(self, job: Job, row: RunRow, spec: JobSpec, env: bytes | None) -> None:
        self.job = job
        self.row = row
        self.spec = spec
        self.reload_asked = False  # somebody did, and its task is to see to it
        self.reloading = False  # it has announced a reload, and is to say when it is ready again
        self.reload_trouble = ""  # what went wrong with the last reload, in words
        self.env = env  # the encoded environment, kept until it is spawned; None: read it from the store
        self.wake = Wake()
        self.changed = Changed()  # for watchers: launched, ended
        self.output_changed = Changed()
        self.accepted: Commit | None = None
        self.ticket: Ticket | None = None  # its part in the lines; of `jobd.runtime.slots`
        self.launched = False  # exec has succeeded or failed, durably noted or on its way
        self.ready = False  # it has been found to be ready, which its task is to note
        self.up = False  # it is ready, or a oneshot has ended well: who waits for its start may be told
        self.gone = False  # its end is durable: who waits may be told
        self.on_end: list[Callable[[Run], None]] | None = None
        self.following: tuple[Caller | None, str] | None = None  # who has asked for the run that follows, and why
        # facts from the keeper
        self.pid: int | None = None
        self.pid_start: int | None = None
        self.pidfd: int | None = None
        self.out: int | None = None
        self.err: int | None = None
        self.held: dict[str, int] = {}  # of its stdin and its terminal, until the feeder takes them
        self.notify: int | None = None  # the socket on which it says how it does
        self.err_in: int | None = None  # an end to write to its stderr: what stops it may have something to say
        self.ctl: int | None = None  # the keeper's end of the child's control socket, until the program runs
        self.tracking = ""
        self.cgroup = ""
        self.went = False
        self.execd = False
        self.failure: tuple[str, int] | None = None  # (step, errno)
        self.frozen = False  # all of its tree is held
        self.ending: Ending | None = None
        self.empty = False
        self.usage = _NOTHING  # of its control group, when its main process or all of it had ended
        self.operations: tuple[str, ...] = ()  # what the keeper said it has done: never to be done twice
        self.once: tuple[str, ...] = ()  # of those with a client's own name, the last few
        self.helpers = Helpers()
        self.signaled = 0  # answers to user signals so far
        self.keeper_lost = False
        self.service: Service | None = None  # what is known of it besides its process, where its job asks for that
        # what it is fed
        self.feed = None if spec.stdin == NULL else Feed()
        self.window: tuple[int, int] | None = None  # rows and columns of its terminal when it starts
        # facts from the pump
        self.eof = False
        self.out_bytes = 0
        self.err_bytes = 0
        self.log_error = ""
        self.entered_mono: float | None = None  # when it came into its state, if that was under this daemon
        self.up_mono: float | None = None  # when its program was executed, and then when it was ready; likewise

    @property
    def id(self) -> bytes:
        """The run id."""
        return self.row.run

    @property
    def slot(self) -> bool:
        """Whether it has all that it has to pass, and may begin or has begun."""
        return self.ticket is not None and self.ticket.state == BEGUN

    @property
    def trouble(self) -> str:
        """Why its output or its input does not go on; "" when they do."""
        return self.log_error or ("" if self.feed is None else self.feed.blocked)

    async def durable(self) -> None:
        """Return when the run is accepted for good. Raises NotDurable: there was no room for it."""
        if self.accepted is not None:
            await self.accepted.wait()

    # --- the keeper's messages ------------------------------------------------------------------------------------
    def on_keeper(self, op: str, message: Fields, fds: dict[str, int]) -> None:
        """Note a fact and wake the run's task."""
        match op:
            case "spawned":
                self.take_process(message, fds)
            case "spawn-failed" | "exec-failed":
                # The first one tells what happened; a `go` that comes after it is answered once more.
                self.failure = self.failure or (str(message["step"]), _int(message["errno"]))
            case "execd":
                self.execd = True
            case "exited":
                self._note_exit(message)
            case "empty":
                self.note_usage(message.get("usage"))
                self.empty = True
            case "helper-started" | "helper-done":
                self.helpers.note(message)
                self.empty = self.empty and op != "helper-started"
            case "main":
                self._take_main(message, fds)
            case "frozen":
                self.frozen = bool(message["frozen"])
            case "signaled":
                self.signaled += 1
                self.note_operation(str(message["o"]))
                self.changed.set()
            case _:
                close_all(fds)
                raise AssertionError(f"the keeper said {op!r} of a run")
        self._tell()

    def _tell(self) -> None:
        """Wake its task, and those beside it."""
        self.wake.set()
        if self.service is not None:
            self.service.changed.set()

    def _note_exit(self, message: Fields) -> None:
        rusage = message["rusage"]
        assert rusage is None or isinstance(rusage, list)
        ending = Ending(_int(message["status"]), rusage, _int(message["at"]))
        self.note_usage(message.get("usage"))
        self.empty = self.empty or bool(message["empty"])
        if self.service is None or not self.service.holds(ending):
            self.ending = ending

    def note_usage(self, found: object) -> None:
        """What it has used so far; an older keeper says nothing of it."""
        if isinstance(found, dict):
            self.usage = found

    def note_operation(self, opid: str) -> None:
        """The keeper has done it: the next one is to know."""
        if opid.startswith(ONCE_OPERATION) and opid not in self.once:
            self.once = (*self.once, opid)[-ONCE_REMEMBERED:]
        elif not opid.startswith((ONCE_OPERATION, USER_OPERATION)) and opid not in self.operations:
            self.operations = (*self.operations, opid)

    def take_process(self, message: Fields, fds: dict[str, int]) -> None:
        """Note the process and own its descriptors; a second telling (after a re-exec) is dropped."""
        if self.pid is not None:
            close_all(fds)
            return
        self.pid = _int(message["pid"])
        self.pid_start = _int(message["start"])
        self.tracking = str(message["tracking"])
        self.cgroup = str(message["cgroup"])
        self.pidfd, self.out, self.err = fds.get("pidfd"), fds.get("out"), fds.get("err")
        self.ctl, self.notify, self.err_in = fds.get("ctl"), fds.get("notify"), fds.get("err_in")
        self.held = {name: fd for name, fd in fds.items() if name in _FED}

    def _take_main(self, message: Fields, fds: dict[str, int]) -> None:
        """Another process is the main one from here on; its predecessor's end was not the run's."""
        if message["errno"]:
            return
        if self.pidfd is not None:
            os.close(self.pidfd)
        self.pid, self.pid_start, self.pidfd = _int(message["pid"]), _int(message["start"]), fds["pidfd"]
        self.ending = None
        if self.service is not None:
            self.service.drop_end()

    # --- what others ask ------------------------------------------------------------------------------------------
    def ask_stop(
        self,
        by: Caller | None,
        result: str = restarts.STOPPED,
        *,
        hang: bool = False,
        in_turn: bool = False,
        again: str = "",
        reason: str = "",
    ) -> Commit | None:
        """Commit the wish that this run stop, and wake its task to see to it. Asking again changes nothing.

        Args:
            by: who asks, if somebody does.
            result: that it is to have; restarts.STOPPED if it is somebody's wish.
            hang: it has not shown that it lives: its signal is the watchdog's.
            in_turn: only the wish is noted: its task stops it when `ordering` lets it.
            again: `restarts.RESTART` or REST: what follows its end, whatever its policy.
            reason: why, in words.

        Returns:
            The commit of the wish; None if the run is at rest or has been asked before.
        """
        if self.job.run is not self or self.job.row.sub in states.NO_RUN:
            return None
        fields: dict[str, str | int] = {"again": again} if again else {}
        if reason:
            fields["reason"] = reason
        if by is not None:
            fields["stop_uid"] = by.uid
        if self.row.stop_asked:
            if result != restarts.STOPPED or self.row.stop_asked == restarts.STOPPED or self.row.again == restarts.REST:
                return None
            # It is being stopped by a limit, after which it might start again: somebody does not want that.
            asked = {} if by is None else {"stop_uid": by.uid}
            return self.job.note(self, "stop-requested", by, None, again=restarts.REST, **asked)
        fields["stop_asked"] = result
        if in_turn:
            commit = self.job.note(self, "stop-requested", by, None, **fields)
        else:
            commit = self.job.fire(states.HANG if hang else self.stop_event, "stop-requested", by, **fields)
        self.wake.set()
        return commit

    def follow_with(self, next_run: bytes | None, by: Caller | None, cause: str) -> Commit:
        """Note which run is to begin when this one has ended; None: none is any more."""
        kind = "start-requested" if next_run is not None else "stop-requested"
        self.following = by, cause
        return self.job.note(self, kind, by, None, next_run=next_run, **{records.CAUSE: cause})

    @property
    def stop_event(self) -> str:
        """By which event it is stopped: a stop command is for what has been up."""
        up = self.job.row.sub in (states.RUNNING, states.EXITED, states.RELOAD)
        return states.HALT if self.spec.stop_command and up else states.STOP

    def usage_now(self) -> dict[str, int]:
        """What all of it has used and has just now, as far as its control group tells."""
        return usage.of_live_group(self.cgroup) if self.cgroup and not self.empty else self.usage

    def lose_keeper(self) -> None:
        """The keeper died: what it had not told us it never will."""
        self.keeper_lost = True
        if not self.wake.parked:  # one that waits has nothing to do about it
            self.wake.set()
        self.changed.set()

    def settle_end(self) -> None:
        """Tell all who wait for the end; it is durable now."""
        self.gone = True
        self.launched = self.up = True
        self.changed.set()
        self.output_changed.set()
        if self.feed is not None:
            self.feed.changed.set()
        callbacks, self.on_end = self.on_end, None
        for callback in callbacks or ():
            callback(self)

    def close_fds(self) -> None:
        """Close what the run still owns."""
        for fd in (self.pidfd, self.out, self.err, self.notify, self.err_in):
            if fd is not None:
                os.close(fd)
        self.pidfd = self.out = self.err = self.notify = self.err_in = None
        close_all(self.held)
        self.held = {}
        self.close_ctl()

    def close_ctl(self) -> None:
        """Close the control socket. A child that waits there for `go` ends, if the keeper is dead too."""
        if self.ctl is not None:
            os.close(self.ctl)
            self.ctl = None

    # --- its end, as fields of its row ----------------------------------------------------------------------------
    def exit_fields(self, rss_floor_bytes: int) -> dict[str, str | int | bytes | bool | None]:
        """The exit of the main process as fields of RunRow.

        Args:
            rss_floor_bytes: the keeper's own size. A process inherits it as its high-water mark at fork, so a peak
                at or below it says nothing.
        """
        assert self.ending is not None
        ending, end = self.ending, exits.Exit(self.ending.status)
        return {
            "exit_code": end.code,
            "signal": end.signal,
            "core": end.core,
            "exited_at": ending.at,
            **self.usage_fields(rss_floor_bytes),
        }

    def usage_fields(self, rss_floor_bytes: int) -> dict[str, str | int | bytes | bool | None]:
        """What it has used, as fields of RunRow: of all of it where a control group tells, else of the main process.

        Args:
            rss_floor_bytes: as of `exit_fields`.
        """
        assert self.ending is not None
        ending, used = self.ending, self.usage
        rss = None if ending.maxrss_kib is None else ending.maxrss_kib * 1024
        return {
            "cpu_user_usec": used.get(usage.CPU_USER, ending.utime_usec),
            "cpu_system_usec": used.get(usage.CPU_SYSTEM, ending.stime_usec),
            "max_rss_bytes": used.get(usage.MEMORY_PEAK, rss if rss is not None and rss > rss_floor_bytes else None),
            "io_read_bytes": used.get(usage.IO_READ),
            "io_write_bytes": used.get(usage.IO_WRITE),
            "tasks_peak": used.get(usage.TASKS_PEAK),
        }

    def own_result(self) -> str:
        """Result of an end that nobody asked for in so many words.

        Who closes the reading end of a pipeline has asked for the SIGPIPE that ends what writes into it. When the
        kernel had no memory left for a process of it, that is the result however the main process took it, as it is
        with systemd's OOMPolicy=stop.
        """
        assert self.ending is not None
        if self.usage.get(usage.OOM_KILLS):
            return "oom-kill"
        end, spec = exits.Exit(self.ending.status), self.spec
        if end.signal == signal.SIGPIPE and BREAK_PIPE in self.operations:
            return restarts.STOPPED
        # What somebody runs once has failed if it was killed; a service is told to leave by a signal.
        clean = frozenset() if self.job.row.transient else restarts.clean_signals(spec)
        return exits.result_of(end, frozenset(spec.success_codes), clean.union(spec.success_signals))


BREAK_PIPE = "pipe-1"  # the operation: SIGPIPE to a run whose stdout nobody reads any more
_FED = ("stdin", "input", "pty", "pty_out")  # of jobd.keeper.table.HELD


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value
