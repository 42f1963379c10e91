"""The daemon's end of the link to its keeper: sends what the runs ask for, and gives each run what concerns it.

Messages of one turn of the loop leave in one datagram. When the link breaks the keeper is dead: `alive` becomes false,
every live run is told, and nothing is sent any more; the daemon goes on capturing until a new keeper takes over.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Protocol

import trio
from msgspec import Struct

from jobd.core.enforce import Machine
from jobd.keeper.link import Link, LinkClosed
from jobd.runtime.wake import Changed, Wake

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Fields = dict[str, object]
SERVICES = 2  # jobd.keeper.welcome.LINK_VERSION: from here on a keeper knows helpers, notify sockets and checks
MAX_PIDS = 64  # jobd.keeper.requests.MAX_PIDS: of one question
QUIET_SEC = 0.001  # after so long without a message one leaves at once; in a burst they leave together
CROWDED_SEC = 0.05  # until the next attempt when the kernel is short of memory or descriptors (as in the keeper)
HOLDERS_TIMEOUT_SEC = 5.0  # a scan of /proc for holders takes milliseconds; more means that the keeper is in trouble
_ANSWERS = ("run-of", "opened", "listed", "limits-set", "files-granted", "checked", "stray")  # to a question with a tag

# What only a keeper that serves is asked: an older one would take it for a lie, and kill the daemon.
_NEWER = ("list-dir", "set-limits", "grant-files", "check-unix", "set-main", "helper", "helper-kill", "end-stray")


class Welcome(Struct, frozen=True):
    """Who the keeper is (its first message)."""

    keeper: str
    keeper_pid: int
    keeper_version: str
    boot_id: str
    incarnation: int
    mode: str
    socket: str
    state_dir: str
    config_dir: str
    tracking: str
    started_at: int
    version: int = 1  # of the link: what it can be asked for
    idle_exit_sec: float = 0.0  # what follows an older keeper does not say
    activated: bool = False  # the listening socket is a service manager's, who starts us again for a client
    supervised: bool = False  # a service manager starts the next keeper
    rss: int = 0  # bytes of memory it had when it said so
    shared: bool | None = None  # all users are served, each with jobs of his own
    daemon_uid: int | None = None  # whose process the daemon is
    heir: bool = False  # it has taken over from a keeper that died
    rlimits: dict[str, list[int]] = {}  # the keeper's own, which a job has that says nothing; -1 is infinity
    controllers: list[str] = []  # that the control group of a run has

    @property
    def machine(self) -> Machine:
        """What its runs can be limited with."""
        groups = self.tracking == "cgroup"
        return Machine(groups=groups, controllers=frozenset(self.controllers), root=bool(self.shared))


class Tree(Struct, frozen=True):
    """The processes of a run, and who holds its output open."""

    processes: list[tuple[int, int, bytes]]  # pid, parent, command line
    holders: list[tuple[int, bytes]]


class Listing(Struct, frozen=True):
    """A directory of the configuration: whose it is, and the names in it, each with whether it is a directory."""

    uid: int
    gid: int
    mode: int
    entries: list[tuple[str, bool]]


class Sink(Protocol):
    """A run, as far as the link knows it: takes the keeper's messages about it."""

    def on_keeper(self, op: str, message: Fields, fds: dict[str, int]) -> None:
        """Note what the keeper says of this run; owns the descriptors."""


class KeeperLink:
    """One keeper. `run` is its task; `sinks` are the live runs by id, owned by the registry."""

    def __init__(self, link: Link, sinks: Callable[[bytes], Sink | None]) -> None:
        self._link = link
        self._sinks = sinks
        self._flush = Wake()
        self._flushed = Changed()
        self._queued = False
        self._sent_at = 0.0
        self._trees: dict[int, tuple[trio.Event, list[Tree]]] = {}
        self._freezes: dict[int, tuple[trio.Event, list[str]]] = {}
        self._asked: dict[int, tuple[trio.Event, list[tuple[Fields, dict[str, int]]]]] = {}
        self._next_tag = 0
        self.alive = True
        self.welcome: Welcome | None = None
        self.entries: list[tuple[Fields, dict[str, int]]] = []
        self.listed = trio.Event()
        self.on_lost: Callable[[], None] = lambda: None
        self.on_other: Callable[[str, Fields, dict[str, int]], None] = lambda _op, _message, _fds: None

    @property
    def shared(self) -> bool:
        """Whether all users are served, each with jobs of his own."""
        return self.welcome is not None and bool(self.welcome.shared)

    @property
    def serves(self) -> bool:
        """Whether the keeper knows what services need; one of before that is replaced by `daemon-reexec --keeper`."""
        return self.welcome is not None and self.welcome.version >= SERVICES

    # --- sending --------------------------------------------------------------------------------------------------
    def send(self, op: str, fds: Mapping[str, int] | None = None, /, **fields: object) -> None:
        """Send a message, in a burst with all others of this turn of the loop. Dropped when the keeper is dead.

        Args:
            fds: descriptors that go along, by their names; they stay the caller's.
        """
        if not self.alive or (op in _NEWER and not self.serves):
            return
        if fds:
            fields["fds"] = list(fds)
        self._link.send({"op": op, **fields}, list(fds.values()) if fds else ())
        if self._queued:
            return
        now = trio.current_time()
        if now - self._sent_at > QUIET_SEC and self._link.flush():
            self._sent_at = now
            return
        self._queued = True
        self._flush.set()

    async def _flusher(self) -> None:
        while True:
            await self._flush.wait()
            self._queued = False
            while not self._link.flush():
                if self._link.crowded:
                    await trio.sleep(CROWDED_SEC)
                else:
                    await trio.lowlevel.wait_writable(self._link.sock)
            self._sent_at = trio.current_time()
            self._flushed.set()

    async def flushed(self) -> None:
        """Return when all that was sent so far is with the keeper, or the keeper is dead."""
        while self.alive and (self._queued or self._link.unsent):
            await self._flushed.wait()

    # --- receiving ------------------------------------------------------------------------------------------------
    async def run(self) -> None:
        """Serve the link until the keeper dies. Cancelling leaves it as it is."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._flusher)
            try:
                while True:
                    await trio.lowlevel.wait_readable(self._link.sock)
                    for message, fds in self._link.receive():
                        self._dispatch(message, fds)
            except (LinkClosed, ConnectionError):
                self.alive = False
                for event, _ in (*self._trees.values(), *self._freezes.values(), *self._asked.values()):
                    event.set()
                self.on_lost()
                nursery.cancel_scope.cancel()

    def _dispatch(self, message: Fields, fds: dict[str, int]) -> None:
        op = message["op"]
        assert isinstance(op, str)
        if op == "ping":
            self.send("pong")
        elif op == "tree":
            self._on_tree(message)
        elif op == "freeze":
            self._on_freeze(message)
        elif op in _ANSWERS:
            self._on_answer(message, fds)
        elif op == "entries":
            self._on_entries(message, fds)
        elif op == "welcome":
            known = {name: message[name] for name in Welcome.__struct_fields__ if name in message}
            self.welcome = Welcome(**known)  # type: ignore[arg-type]  # our own keeper
            self.on_other(op, message, fds)
        elif isinstance(run := message.get("run"), bytes):
            sink = self._sinks(run)
            if op == "main":
                self._on_answer(message, {})  # the descriptor is the run's
            if sink is not None:
                sink.on_keeper(op, message, fds)
            else:
                close_all(fds)
        else:
            self.on_other(op, message, fds)

    def _on_entries(self, message: Fields, fds: dict[str, int]) -> None:
        entries = message["entries"]
        assert isinstance(entries, list)
        for i, entry in enumerate(entries):
            self.entries.append((entry, {name: fds[f"{i}.{name}"] for name in entry["fds"]}))
        if message["last"]:
            self.listed.set()

    # --- questions ------------------------------------------------------------------------------------------------
    async def _ask(self, op: str, **fields: object) -> tuple[Fields, dict[str, int]] | None:
        """The answer to a question; None when the keeper is dead, too old for it, or does not answer in time."""
        if not self.alive or (op in _NEWER and not self.serves):
            return None
        self._next_tag += 1
        tag = self._next_tag
        event, answer = self._asked.setdefault(tag, (trio.Event(), []))
        self.send(op, tag=tag, **fields)
        try:
            with trio.move_on_after(HOLDERS_TIMEOUT_SEC):
                await event.wait()
        except trio.Cancelled:
            for _, fds in answer:
                close_all(fds)
            raise
        finally:
            del self._asked[tag]
        return answer[0] if answer else None

    def _on_answer(self, message: Fields, fds: dict[str, int]) -> None:
        waiting = self._asked.get(message["tag"])  # type: ignore[call-overload]  # our own tag, an int
        if waiting is None:
            close_all(fds)
            return
        waiting[1].append((message, fds))
        waiting[0].set()

    async def runs_of(self, pids: Sequence[int]) -> list[bytes | None]:
        """The run that each process belongs to; nobody can tell without a keeper."""
        found: list[bytes | None] = []
        for at in range(0, len(pids), MAX_PIDS):
            part = list(pids[at : at + MAX_PIDS])
            answer = await self._ask("run-of", pids=part)
            runs = [None] * len(part) if answer is None else answer[0]["runs"]
            assert isinstance(runs, list)
            found += runs
        return found

    async def set_limits(self, run: bytes, limits: Mapping[str, object]) -> dict[str, int]:
        """Have limits of a run that is there changed.

        Args:
            limits: as in `spawn`; None takes one away.

        Returns:
            Those that could not be changed, with the errno.
        """
        if not limits:
            return {}
        answer = await self._ask("set-limits", run=run, **limits)
        if answer is None:
            return dict.fromkeys(limits, errno.ECONNRESET)
        failed = answer[0]["failed"]
        assert isinstance(failed, dict)
        return failed

    async def grant_files(self, every: bool) -> None:
        """Have the keeper read what root's job files allow; to be waited for before they are started from.

        With `every`, what they allowed before does not hold any more: all that is in force was read again. Where the
        daemon is root nothing has to be allowed. Without an answer what was allowed holds.
        """
        if self.welcome is not None and self.welcome.shared and self.welcome.daemon_uid:
            await self._ask("grant-files", all=every)

    async def open_config(self, path: str, root: int = 0) -> int:
        """A descriptor of a regular file below the configuration directory; the caller's to close.

        Args:
            path: of the file in it.
            root: below which, of `paths.job_roots`.

        Raises:
            OSError: it cannot be opened; ECONNRESET: there is no keeper to do it.
        """
        _, fds = _checked(await self._ask("open", path=path, root=root), path)
        return fds["file"]

    async def list_config(self, path: str, root: int = 0) -> Listing:
        """What is in a directory there. Args and Raises as `open_config`."""
        entries: list[tuple[str, bool]] = []
        while True:
            after = entries[-1][0] if entries else ""
            message, _ = _checked(await self._ask("list-dir", path=path, root=root, after=after), path)
            found = message["names"]
            assert isinstance(found, list)
            entries += [(str(name), bool(is_dir)) for name, is_dir in found]
            if not message["more"]:
                whose = (message["uid"], message["gid"], message["mode"])
                return Listing(*whose, entries)  # type: ignore[arg-type]  # our own keeper's

    async def set_main(self, run: bytes, pid: int) -> int:
        """Have the end of this process be the run's. Returns an errno; the run itself hears of it as well."""
        answer = await self._ask("set-main", run=run, pid=pid)
        return errno.ECONNRESET if answer is None else _number(answer[0]["errno"])

    async def end_stray(self, run: bytes, sig: int) -> bool:
        """Send a signal, or with 0 none, to what a dead keeper's run has left. Whether there was something."""
        answer = await self._ask("end-stray", run=run, signal=sig)
        return answer is not None and bool(answer[0]["left"])

    async def check_unix(self, path: bytes, user: Mapping[str, object]) -> int:
        """Whether somebody listens on a Unix socket, as the user of a job sees it. Returns an errno.

        Args:
            path: absolute.
            user: of `spawning.identity`.
        """
        answer = await self._ask("check-unix", path=path, **user)
        return errno.ECONNRESET if answer is None else _number(answer[0]["errno"])

    def ask_shutdown(self, code: int = 0) -> None:
        """Have everything end, in order; `code` is jobd's exit status then."""
        self.send("ask-shutdown", code=code)

    # --- trees ----------------------------------------------------------------------------------------------------
    async def tree(self, run: bytes, holders: bool = False) -> Tree:
        """The processes of a run's tree now; empty when the keeper is dead or does not answer in time."""
        if not self.alive:
            return Tree([], [])
        self._next_tag += 1
        tag = self._next_tag
        event, answer = self._trees.setdefault(tag, (trio.Event(), []))
        self.send("tree", run=run, tag=tag, holders=holders)
        try:
            with trio.move_on_after(HOLDERS_TIMEOUT_SEC):
                await event.wait()
        finally:
            del self._trees[tag]
        return answer[0] if answer else Tree([], [])

    def _on_tree(self, message: Fields) -> None:
        waiting = self._trees.get(message["tag"])  # type: ignore[call-overload]  # our own tag, an int
        if waiting is None:
            return
        processes = message["processes"]
        holders = message["holders"]
        assert isinstance(processes, list)
        assert isinstance(holders, list)
        waiting[1].append(Tree([(p[0], p[1], p[2]) for p in processes], [(h[0], h[1]) for h in holders]))
        waiting[0].set()

    # --- freezing -------------------------------------------------------------------------------------------------
    async def freeze(self, run: bytes, frozen: bool) -> str | None:
        """Have all of a run's tree held, or let it go on. The run itself hears of every change by `frozen`.

        Returns:
            Why it could not be done, "" when it is; None when the keeper is dead or dies over it.

        Cancelling stops the waiting only.
        """
        if not self.alive:
            return None
        self._next_tag += 1
        tag = self._next_tag
        event, answer = self._freezes.setdefault(tag, (trio.Event(), []))
        self.send("freeze", run=run, tag=tag, frozen=frozen)
        try:
            await event.wait()
        finally:
            del self._freezes[tag]
        return answer[0] if answer else None

    def _on_freeze(self, message: Fields) -> None:
        waiting = self._freezes.get(message["tag"])  # type: ignore[call-overload]  # our own tag, an int
        if waiting is not None:
            waiting[1].append(str(message["why"]))
            waiting[0].set()


def _checked(answer: tuple[Fields, dict[str, int]] | None, path: str) -> tuple[Fields, dict[str, int]]:
    """The answer, unless it says that it could not be done, or nobody has answered. Raises OSError."""
    number = errno.ECONNRESET if answer is None else answer[0]["errno"]
    if number or answer is None:
        assert isinstance(number, int)
        raise OSError(number, os.strerror(number), path)
    return answer


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value


def close_all(fds: dict[str, int]) -> None:
    """Close descriptors that nobody wants."""
    for fd in fds.values():
        os.close(fd)
