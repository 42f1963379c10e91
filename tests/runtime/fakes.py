"""Doubles for what a run's walk touches: a keeper that does what a test says, a pump, and a store in memory.

The clock tests use these alone: no thread and no real process, so that trio's clock may jump.
"""

from __future__ import annotations

import errno
import os
import signal
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import trio

from jobd.core import spec as specs
from jobd.core.records import QUEUE_REMOVED, JobRow, QueueRow, Replay, RunRow
from jobd.core.spec import JobSpec
from jobd.runtime.job import Caller
from jobd.runtime.journal import Commit
from jobd.runtime.keeperlink import Tree, Welcome, close_all
from jobd.runtime.pump import Notice
from jobd.runtime.registry import Registry
from jobd.runtime.submission import NO_TERMS
from jobd.runtime.wake import Changed
from jobd.store.db import StoreFull
from tests.runtime.fake_store import FakeStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from jobd.core.records import Event
    from jobd.runtime.job import Job
    from jobd.runtime.run import Run
    from jobd.store.db import Removal

ROOT = Caller(0, 0, 1)
WELCOME = Welcome("keeper-1", 10, "0.1.0", "boot-1", 1, "socket", "/s", "/state", "/config", "process", 0)

HELPER: dict[str, object] = {
    "pid": 88, "start": 1, "done": False, "status": 0, "step": "", "errno": 0, "timed_out": False,
}  # fmt: skip


class FakeKeeper:
    """Notes what it is asked. `script` maps an op to what it answers at once: (op, fields) pairs."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, object]]] = []
        self.times: list[float] = []
        self.alive = True
        self.shared = False
        self.serves = True
        self.welcome: Welcome = WELCOME
        self.script: dict[str, list[tuple[str, dict[str, object]]]] = {
            "spawn": [("spawned", {"pid": 77, "start": 1, "tracking": "process", "cgroup": ""})],
            "go": [("execd", {})],
            "helper": [("helper-started", HELPER), ("helper-done", {**HELPER, "done": True})],
        }
        self.runs: dict[bytes, Run] = {}
        self.holders: list[tuple[int, bytes]] = []
        self.fds: dict[str, int] = {}  # that come with the next `spawned`
        self.members: dict[int, bytes] = {}  # processes and their runs
        self.sockets: dict[bytes, int] = {}  # paths, and what connecting there gives
        self.freeze_says: str | None = ""
        self.unchanged: dict[str, int] = {}
        self.strays: dict[bytes, int] = {}  # lost runs, and how many SIGTERMs end what they have left
        self.entries: list[tuple[dict[str, object], dict[str, int]]] = []
        self.listed = trio.Event()
        self.listed.set()
        self._asked = Changed()

    def send(self, op: str, _fds: dict[str, int] | None = None, /, **fields: object) -> None:
        if not self.alive:
            return
        self.sent.append((op, fields))
        self.times.append(trio.current_time())
        self._asked.set()
        for answer, more in self.script.get(op, ()):
            run = fields["run"]
            assert isinstance(run, bytes)
            self.say(run, answer, **({"o": fields["o"], **more} if "o" in fields else more))

    def say(self, run: bytes, op: str, **fields: object) -> None:
        """Tell the run something, as the keeper would."""
        if run in self.runs:
            fds = {"out": os.open(os.devnull, os.O_RDONLY)} if op == "spawned" else {}
            if op == "spawned":
                fds |= self.fds
                self.fds = {}
            elif op == "main":
                fds["pidfd"] = os.open(os.devnull, os.O_RDONLY)
            self.runs[run].on_keeper(op, {"run": run, **fields}, fds)

    def exited(self, run: bytes, status: int, empty: bool = True) -> None:
        self.say(run, "exited", status=status, rusage=[1, 2, 3], at=5, mono=5, empty=empty)

    async def tree(self, _run: bytes, holders: bool = False) -> Tree:
        await trio.lowlevel.checkpoint()
        return Tree([], self.holders if holders else [])

    async def grant_files(self, every: bool) -> None:
        self.sent.append(("grant-files", {"every": every}))
        await trio.lowlevel.checkpoint()

    async def end_stray(self, run: bytes, sig: int) -> bool:
        self.sent.append(("end-stray", {"run": run, "signal": sig}))
        await trio.lowlevel.checkpoint()
        left = self.strays.get(run, 0)
        if sig and left:
            self.strays[run] = max(0, left - (1 if sig == signal.SIGTERM else left))
        return left > 0

    async def set_limits(self, run: bytes, limits: dict[str, object]) -> dict[str, int]:
        """Answers `unchanged`."""
        self.send("set-limits", run=run, **limits)
        await trio.lowlevel.checkpoint()
        return self.unchanged

    async def runs_of(self, pids: list[int]) -> list[bytes | None]:
        self.sent.append(("run-of", {"pids": pids}))
        await trio.lowlevel.checkpoint()
        return [self.members.get(pid) for pid in pids]

    async def set_main(self, run: bytes, pid: int) -> int:
        """As the keeper: only a process of the run's may be its main one."""
        self.sent.append(("set-main", {"run": run, "pid": pid}))
        await trio.lowlevel.checkpoint()
        if self.members.get(pid) != run:
            return errno.EPERM
        self.say(run, "main", pid=pid, start=2, errno=0)
        return 0

    async def check_unix(self, path: bytes, _user: object) -> int:
        await trio.lowlevel.checkpoint()
        return self.sockets.get(path, errno.ENOENT)

    async def freeze(self, run: bytes, frozen: bool) -> str | None:
        """Answers `freeze_says` and, unless that is a reason why not, tells the run."""
        self.sent.append(("freeze", {"run": run, "frozen": frozen}))
        await trio.lowlevel.checkpoint()
        if self.freeze_says == "":
            self.say(run, "frozen", frozen=frozen)
        return self.freeze_says

    async def flushed(self) -> None:
        await trio.lowlevel.checkpoint()

    async def until(self, op: str, within: float) -> None:
        """Return when `op` (as `ops` writes it) was asked for; fail if that takes more than `within` seconds."""
        with trio.fail_after(within):
            while op not in self.ops():
                await self._asked.wait()

    def ops(self, *names: str) -> list[str]:
        """The ops asked for, with the operation id or the signal where there is one."""
        return [f"{op} {fields['o']}" if "o" in fields else op for op, fields in self.sent if not names or op in names]


class FakePump:
    """Pipes that end when a test says so."""

    def __init__(self) -> None:
        self.closed: list[bytes] = []
        self.notices: list[Notice] = []
        self.registry: Registry | None = None

    def add(self, _run: bytes, _directory: Path, out: int, err: int | None, **_: object) -> None:
        os.close(out)
        if err is not None:
            os.close(err)

    def end(self, run: bytes, out_bytes: int = 0, err_bytes: int = 0) -> None:
        """Both streams are at their end."""
        self.notices.append(Notice(run, "eof", out_bytes, err_bytes, ""))
        assert self.registry is not None
        self.registry.streams.on_notices()

    def watch(self, _run: bytes) -> None:
        """Somebody reads."""

    def unwatch(self, _run: bytes) -> None:
        """He does no more."""

    def close(self, run: bytes) -> None:
        self.closed.append(run)
        self.end(run)

    def take(self) -> list[Notice]:
        taken, self.notices = self.notices, []
        return taken


class FakeFeeder:
    """Files and terminals that are not there."""

    def __init__(self) -> None:
        self.dropped: list[bytes] = []

    async def create(self, _directory: str) -> int:
        return os.open(os.devnull, os.O_RDWR)

    def add(self, _run: bytes, _directory: str, held: dict[str, int]) -> None:
        close_all(held)

    def drop(self, run: bytes, _directory: str) -> None:
        self.dropped.append(run)


class Snapshot(NamedTuple):
    """Rows as they are at one moment."""

    runs: dict[bytes, RunRow]
    jobs: dict[tuple[int, str], JobRow]


class FakeJournal:
    """Commits at once, or when `hold` is let go."""

    def __init__(self, store: FakeStore) -> None:
        self.store = store
        self.changed = Changed()
        self.held: list[Commit] | None = None
        self.follow: Callable[[Job, str], None] = lambda _job, _old: None
        self._bundle: Commit | None = None
        self._handed = 0  # the number of the last event
        self.takes_more = True
        self._kept: list[Snapshot] | None = None

    def snapshots(self) -> list[Snapshot]:
        """What is in the store after each transaction from now on: whatever a daemon may leave that is killed."""
        self._kept = []
        return self._kept

    @contextmanager
    def together(self) -> Iterator[Commit]:
        """One Commit for all that is recorded within."""
        if self._bundle is not None:
            yield self._bundle
            return
        bundle = self._bundle = Commit()
        try:
            yield bundle
        finally:
            self._bundle = None
            self._settle(bundle)

    def _hand_in(self, event: Event) -> None:
        assert event.seq > self._handed, f"{event.kind} comes behind its number: who follows events would miss it"
        self._handed = event.seq

    def _settle(self, commit: Commit) -> None:
        if commit is not self._bundle and self._kept is not None:
            self._kept.append(Snapshot(dict(self.store.runs), dict(self.store.jobs)))
        if commit.done or commit is self._bundle:
            return
        if self.held is None:
            commit.settle(None)
        else:
            self.held.append(commit)

    def record(
        self,
        event: Event,
        run: RunRow | None,
        job: JobRow | None,
        blobs: tuple[tuple[bytes, bytes], ...] = (),
        may_fail: bool = False,
        removes: Removal | None = None,
        if_there: bool = False,
    ) -> Commit:
        assert self._bundle is None or removes is None, "cannot be part of another change"
        self._hand_in(event)
        commit = self._bundle or Commit()
        if if_there and (event.owner, event.job) not in self.store.jobs:
            self._settle(commit)
            return commit
        if self.store.full and may_fail:
            commit.settle(StoreFull("no room"))
            return commit
        self.store.events.append(event)
        if run is not None:
            self.store.runs[run.run] = run
        if job is not None:
            self.store.jobs[job.owner, job.job] = job
        if removes is not None:
            del self.store.jobs[event.owner, event.job]
            if removes.purge_upto is not None:
                self.store.purging[event.owner, event.job] = removes.purge_upto
        self.store.blobs.update(blobs)
        self._settle(commit)
        return commit

    def record_queue(self, event: Event, row: QueueRow) -> Commit:
        self._hand_in(event)
        commit = self._bundle or Commit()
        if self.store.full:
            commit.settle(StoreFull("no room"))
            return commit
        self.store.events.append(event)
        key = row.owner, row.name
        self.store.set_queues[key] = row
        if event.kind == QUEUE_REMOVED:
            del self.store.set_queues[key]
        self._settle(commit)
        return commit

    async def flush(self) -> None:
        await trio.lowlevel.checkpoint()
        for commit in self.held or ():
            await commit.wait()


class Bed:
    """A registry on fakes, and what a test does to it."""

    def __init__(self, store: FakeStore | None = None) -> None:
        self.store = store or FakeStore()  # of a daemon before this one
        self.journal = FakeJournal(self.store)
        self.keeper = FakeKeeper()
        self.pump = FakePump()
        self.registry = Registry(Path("/nonexistent"), self.journal, self.pump, FakeFeeder(), self.keeper)  # type: ignore[arg-type]  # doubles
        self.pump.registry = self.registry
        self.keeper.runs = self.registry.runs
        self._ids = 0

    def submit(self, **fields: object) -> Run:
        """Submit a job with these fields of its definition; `terms` are of its row."""
        terms = fields.pop("terms", NO_TERMS)
        assert isinstance(terms, dict)
        self._ids += 1
        spec = JobSpec(argv=(b"true",), cwd=b"/", **fields)  # type: ignore[arg-type]  # a test's own words
        run_id = self._ids.to_bytes(16, "big")
        return self.registry.submit(0, f"job-{self._ids}", run_id, spec, specs.encode_env([b"A=1"]), ROOT, terms)

    def replayed(self) -> Replay:
        """Rows made from the events alone."""
        replay = Replay()
        for event in self.store.events:
            replay.feed(event)
        return replay

    def row(self, run: Run) -> RunRow:
        return self.store.runs[run.id]


@asynccontextmanager
async def serving(bed: Bed) -> AsyncIterator[Bed]:
    """The bed with its nursery of runs open."""
    async with trio.open_nursery() as nursery:
        await nursery.start(bed.registry.serve)
        yield bed
        nursery.cancel_scope.cancel()
