"""What the daemon asks for: one handler per op, in one table.

Every request may come twice, as a daemon that was killed has a successor that does not know how far the first came:
each is answered from the entry when its work has been done before.
"""

from __future__ import annotations

import errno
import os
import signal

from jobd.host import pidfd, procs
from jobd.keeper import sockets, tree
from jobd.keeper.child import GO
from jobd.keeper.configdirs import ConfigDirs
from jobd.keeper.freezer import STOPS
from jobd.keeper.limits import Changes
from jobd.keeper.link import SHORTAGES, LinkError, chunks
from jobd.keeper.membership import Membership
from jobd.keeper.spawns import Spawns, spare_fds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobd.keeper.link import Fds, Message
    from jobd.keeper.loop import Keeper
    from jobd.keeper.table import Entry

ERRNO_DIGITS = 5  # more than a number of an error has; after a handover, who says it may be anybody
SHORT_TRIES = 3  # to hear a child's last words when the kernel is short of memory
MAX_CODE = 255  # the largest exit status
MAX_PIDS = 64  # of a question: 50 µs each
# What is kept of a daemon's own words: characters of an operation and of why it could not start; and how many
# operations of a run are remembered, of which a stop has three.
MAX_OPERATION, MAX_WHY, MAX_OPERATIONS = 256, 1000, 10_000
# What `close` closes, by what it is to the run.
_CLOSES = {"stdin": ("stdin", "input"), "stdout": ("out",), "pty": ("pty_out",), "output": ("err_in",)}


class Requests:
    """The handlers; they use the keeper's table and its Ends."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._table = keeper.table
        self._configdirs = ConfigDirs(keeper)
        self._limits = Changes(keeper)
        self.spawns = Spawns(keeper, self.on_ctl)
        self._handlers: dict[str, Callable[[Message, Fds], None]] = {
            "list": self._list, "ready": self._ready, "pong": self._pong, "go": self._go,
            "spawn": lambda message, fds: self.spawns.spawn([(message, fds)]),
            "signal": self._signal, "kill-tree": self._kill_tree, "watch": self._watch, "tree": self._tree,
            "close": self._close, "ack": self._ack, "freeze": self._freeze, "shutdown-begun": self._shutdown_begun,
            "bye": self._bye, "log-level": self._log_level,
            "ask-shutdown": self._ask_shutdown, "ask-reexec": self._ask_reexec,
            "run-of": self._run_of, "open": self._configdirs.open, "list-dir": self._configdirs.list,
            "set-limits": self._limits.apply, "grant-files": self._grant_files,
            "rebind": self._rebind, "backlog": self._backlog,
            "start-failed": self._start_failed,
        } | keeper.helpers.handlers | keeper.unix_checks.handlers  # fmt: skip
        self._handlers |= keeper.mains.handlers | keeper.strays.handlers

    def handle_all(self, batch: Sequence[tuple[Message, Fds]]) -> None:
        """Do what the messages of a batch ask, with as many spawns as go at once. Raises LinkError as `handle` does.

        A `go` between spawns waits for them: it costs more to tell the daemon of each run ahead of the next.
        """
        spawns: list[tuple[Message, Fds]] = []
        goes: list[tuple[Message, Fds]] = []
        for message, fds in batch:
            op = message["op"]
            if op == "spawn":
                spawns.append((message, fds))
            elif op == "go" and spawns:
                goes.append((message, fds))
            else:
                self._start(spawns, goes)
                spawns, goes = [], []
                self.handle(message, fds)
        self._start(spawns, goes)

    def _start(self, spawns: Sequence[tuple[Message, Fds]], goes: Sequence[tuple[Message, Fds]]) -> None:
        if spawns:
            self._checked("spawn", lambda: self.spawns.spawn(spawns), [fds for _, fds in spawns])
        for message, fds in goes:
            self.handle(message, fds)

    def handle(self, message: Message, fds: Fds) -> None:
        """Do what a message asks. Raises LinkError for one that is not as agreed."""
        op = str(message["op"])
        self._checked(op, lambda: self._handlers[op](message, fds), [fds])

    def _checked(self, op: str, act: Callable[[], None], passed: Sequence[Fds]) -> None:
        try:
            act()
        except OSError as e:
            raise LinkError(f"cannot do {op!r}: {e}") from e
        except Exception as e:  # a daemon that was taken over may say anything, and must not end the keeper
            raise LinkError(f"{op!r}: {type(e).__name__}: {e}") from e
        finally:
            for fds in passed:
                for fd in fds.values():
                    os.close(fd)
                fds.clear()

    # --- the daemon itself ------------------------------------------------------------------------------------------
    def _list(self, _: Message, __: Fds) -> None:
        self._keeper.ends.recheck()
        parts = chunks(list(self._table.values()), lambda entry: len(entry.fds()), spare_fds()[1] * 3 // 4) or [[]]
        for part in parts:
            last = part is parts[-1]
            message: Message = {"op": "entries", "entries": [entry.plain() for entry in part], "last": last}
            self._keeper.send(message, [fd for entry in part for fd in entry.fds()])
            if self._keeper.daemon.link is not None:
                self._keeper.daemon.link.flush()  # which closes what was duplicated: there may be no room for all

    def _ready(self, _: Message, __: Fds) -> None:
        self._keeper.daemon_ready()

    def _start_failed(self, message: Message, _: Fds) -> None:
        daemon = self._keeper.daemon
        daemon.why, daemon.final = str(message["why"])[:MAX_WHY], message.get("final") is True

    def _pong(self, _: Message, __: Fds) -> None:
        self._keeper.daemon.answered()

    def _shutdown_begun(self, _: Message, __: Fds) -> None:
        self._keeper.shutdown.answered()

    def _bye(self, message: Message, _: Fds) -> None:
        code = message.get("code", 0)
        self._keeper.shutdown.bye(code if isinstance(code, int) else 0)

    def _log_level(self, message: Message, _: Fds) -> None:
        self._keeper.log.set_level(str(message["level"]))

    def _ask_shutdown(self, message: Message, _: Fds) -> None:
        code = message.get("code", 0)
        assert type(code) is int
        assert 0 <= code <= MAX_CODE
        self._keeper.shutdown.begin(f"asked, with exit status {code}" if code else "asked", code)

    def _ask_reexec(self, message: Message, _: Fds) -> None:
        if message.get("keeper"):
            from jobd.keeper import state  # it imports this module; loaded at the start by the entry point

            state.begin(self._keeper)
        else:
            self._keeper.replace_daemon()

    def _grant_files(self, message: Message, fds: Fds) -> None:
        self._keeper.file_grants.ask(message, fds)

    def _rebind(self, _: Message, __: Fds) -> None:
        self._keeper.renew_listener()

    def _backlog(self, message: Message, _: Fds) -> None:
        """Make the queue of clients as long as the daemon wants it; who connects sees that root listens."""
        length = message["length"]
        assert isinstance(length, int)
        self._keeper.listener.listen(max(1, min(length, sockets.BACKLOG)))

    # --- starting ---------------------------------------------------------------------------------------------------
    def on_ctl(self, entry: Entry) -> None:
        """The child says what failed, or (end of file) executes the program, or is dead."""
        tries = SHORT_TRIES
        while entry.ctl is not None and tries:
            try:
                data = entry.ctl.recv(128)
            except BlockingIOError:
                return
            except ConnectionResetError:
                continue  # it left without reading its `go`; the kernel says so once, and before what it had to say
            except OSError as e:
                if e.errno in SHORTAGES:  # what it had to say lies there still
                    tries -= 1
                    continue
                data = b""
            if data:
                self._step_failed(entry, data)
            else:
                self.drop_ctl(entry)
                if entry.went:
                    entry.execd = True
                    self._keeper.send({"op": "execd", "run": entry.run})

    def drop_ctl(self, entry: Entry) -> None:
        """Close the control socket."""
        if entry.ctl is not None:
            self._keeper.unwatch(entry.ctl.fileno())
            entry.close_ctl()

    def _step_failed(self, entry: Entry, data: bytes) -> None:
        step, _, number = data.decode("ascii", "replace").partition(":")
        self.drop_ctl(entry)
        self.fail(entry, step, int(number) if number.isdecimal() and len(number) < ERRNO_DIGITS else errno.EIO)

    def fail(self, entry: Entry, step: str, number: int) -> None:
        """The program is not executed: a step before it failed. The entry stays until its ack."""
        entry.step, entry.errno = step, number
        self._keeper.send({"op": "exec-failed", "run": entry.run, "step": step, "errno": number})

    def _go(self, message: Message, _: Fds) -> None:
        run = message["run"]
        entry = self._table.get(run)  # type: ignore[call-overload]  # a key of another type is not found
        failure: Message = {"op": "exec-failed", "run": run, "step": "spawn", "errno": errno.ESRCH}
        if entry is None:
            self._keeper.send(failure)
        elif entry.step:
            self._keeper.send({**failure, "step": entry.step, "errno": entry.errno})
        elif entry.execd:
            self._keeper.send({"op": "execd", "run": run})
        elif not entry.went and entry.ctl is not None:
            if not self._keeper.told():
                # The daemon must have this run's descriptors before it can run, or our death would leave it in doubt.
                self._go_later(run)
                return
            entry.went = True  # before the byte: a keeper that dies between the two has not lied
            try:
                entry.ctl.send(GO)
            except OSError as e:
                entry.went = False
                if e.errno in SHORTAGES:
                    self._go_later(run)
                elif entry.pidfd is not None:  # it is dead, or as good as dead; its end is told at the reap
                    pidfd.send_signal(entry.pidfd, signal.SIGKILL)

    def _go_later(self, run: object) -> None:
        late: Message = {"op": "go", "run": run}
        if late not in self._keeper.late:
            self._keeper.late.append(late)

    # --- signals and trees ------------------------------------------------------------------------------------------
    def _signal(self, message: Message, _: Fds) -> None:
        run, op, sig = message["run"], str(message["o"]), message["sig"]
        assert isinstance(sig, int)
        entry = self._table.get(run)  # type: ignore[call-overload]
        repeated = entry is not None and _is_done(entry, op)
        count = 0
        if entry is not None and not repeated:
            stops = op.startswith(STOPS)
            count = self._send(entry, sig, str(message["whom"]), stops)
            if not count and message["whom"] == "all":  # a look that failed finds nobody, and we have the pidfd
                count = self._send(entry, sig, "main", stops)
                if stops and count:
                    self._keeper.reaching.main_told(entry)
            entry.done(op)  # only now: after an error the next daemon asks again, and nobody has got it
            if stops:
                self._keeper.freezer.thaw(entry)
            elif sig == signal.SIGCONT:
                self._keeper.freezer.continued(entry)
        self._keeper.send({"op": "signaled", "run": run, "o": op, "repeated": repeated, "count": count})

    def _send(self, entry: Entry, sig: int, whom: str, wake: bool) -> int:
        """Send a signal to the tree, to its helpers ("control") or to the main process. Returns how many got it.

        With `wake` those that are stopped go on after it, to see it: what systemd.kill(5) does, too.
        """
        if whom == "control":
            return self._keeper.helpers.signal(entry, sig)
        if whom == "all":
            if entry.empty:
                return 0  # the number of its group may be somebody else's by now
            if wake:
                return self._keeper.reaching.send(entry, sig)
            return tree.send_all(entry, sig, self._keeper.ends.strangers(entry))
        if entry.ended or entry.pidfd is None:
            return 0
        try:
            count = int(pidfd.send_signal(entry.pidfd, sig))
            main = procs.process(entry.pid)
            if wake and main is not None and main.state == tree.STOPPED:
                pidfd.send_signal(entry.pidfd, signal.SIGCONT)
        except PermissionError:  # a setuid program
            self._keeper.log(f"not allowed to signal process {entry.pid}", "warning")
            return 0
        return count

    def _freeze(self, message: Message, _: Fds) -> None:
        entry = self._table.get(message["run"])  # type: ignore[call-overload]
        if message["frozen"]:
            self._keeper.freezer.freeze(entry, _tag(message))
            return
        if entry is not None:
            self._keeper.freezer.thaw(entry)
        self._keeper.send({"op": "freeze", "tag": _tag(message), "why": ""})

    def _kill_tree(self, message: Message, _: Fds) -> None:
        entry = self._table.get(message["run"])  # type: ignore[call-overload]
        if entry is not None:
            _is_done(entry, str(message["o"]))
            self._keeper.ends.kill(entry)
            entry.done(str(message["o"]))
            self._keeper.freezer.thaw(entry)

    def _watch(self, message: Message, _: Fds) -> None:
        entry = self._table.get(message["run"])  # type: ignore[call-overload]
        if entry is None:
            self._keeper.send({"op": "empty", "run": message["run"]})
        else:
            self._keeper.ends.watch(entry)

    def _tree(self, message: Message, _: Fds) -> None:
        entry = self._table.get(message["run"])  # type: ignore[call-overload]
        processes: list[list[object]] = []
        holders: list[list[object]] = []
        if entry is not None:
            if not entry.empty:
                processes = tree.describe(tree.members(entry, self._keeper.ends.strangers(entry)))
            if message.get("holders"):
                holders = tree.holders(entry)
        answer = {"run": message["run"], "tag": _tag(message), "processes": processes, "holders": holders}
        self._keeper.send({"op": "tree", **answer})

    def _run_of(self, message: Message, _: Fds) -> None:
        """To which run each process belongs."""
        pids = message["pids"]
        assert isinstance(pids, list)
        assert len(pids) <= MAX_PIDS
        membership = Membership(self._table)
        found = [membership.find(int(pid)) for pid in pids]
        runs = [None if entry is None else entry.run for entry in found]
        self._keeper.send({"op": "run-of", "tag": _tag(message), "runs": runs})

    def _close(self, message: Message, _: Fds) -> None:
        """The daemon has closed its own: now nobody has it, and the run's end of the pipe sees that."""
        entry = self._table.get(message["run"])  # type: ignore[call-overload]
        if entry is not None:
            for name in _CLOSES[str(message["what"])]:
                entry.close_one(name)

    def _ack(self, message: Message, _: Fds) -> None:
        entry = self._table.get(message["run"])  # type: ignore[call-overload]
        if entry is None:
            return
        if not entry.ended and entry.went:
            self._keeper.log(f"the daemon acknowledged run {entry.run.hex()}, which has not ended", "error")
        elif not entry.ended:
            self._keeper.ends.discard(entry)
        else:
            self._keeper.ends.forget(entry)


def _tag(message: Message) -> int:
    """The daemon's name for a question, which the answer carries."""
    tag = message["tag"]
    assert isinstance(tag, int)
    return tag


def _is_done(entry: Entry, op: str) -> bool:
    """Whether an operation was done before. Raises AssertionError for one that cannot be noted."""
    assert len(op) <= MAX_OPERATION
    assert len(entry.ops) < MAX_OPERATIONS
    return op in entry.ops or op in entry.once
