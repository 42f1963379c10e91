"""What the daemon wants to have started, all of a batch together.

A fork shares every page of the keeper's with the child, and whoever writes to one next has to copy it: 2 µs each, and
half of what a run cost the keeper (measured). So it thinks of all runs first, then it forks, one child right after the
other, and looks after them when all are there.
"""

from __future__ import annotations

import errno
import os
import resource

from jobd.host import procs
from jobd.keeper.spawn import SpawnFailed, plan_of, spawn
from jobd.wire.plainpack import packb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobd.keeper.link import Fds, Message
    from jobd.keeper.loop import Keeper
    from jobd.keeper.spawn import Plan
    from jobd.keeper.table import Entry

# Kept free of runs: without room to pass descriptors on, no next daemon could take the runs up. Of few, a quarter.
SPARE_FDS = 320  # a message takes 250
RUN_BYTES = 16  # of a run id, which names a directory
MAX_LABEL = 1024  # bytes that are kept of the daemon's own words about a run


class Spawns:
    """The handler of `spawn`; it uses the keeper's table."""

    def __init__(self, keeper: Keeper, on_ctl: Callable[[Entry], None]) -> None:
        self._keeper = keeper
        self._table = keeper.table
        self._on_ctl = on_ctl

    def spawn(self, asked: Sequence[tuple[Message, Fds]]) -> None:
        """Start the children of all these runs, and tell the daemon of each, also of those that are there already.

        Raises what comes of a message that is not as agreed; a child of the others waits for its `go` in vain.
        """
        plans = [self._plan(message) for message, _ in asked]
        forked: list[Entry] = []
        known: list[Entry] = []
        for (message, fds), plan in zip(asked, plans, strict=True):
            there = self._table.get(message["run"])  # type: ignore[call-overload]  # checked by _plan
            if there is not None:
                known.append(there)
            elif plan is not None and (entry := self._fork(message, fds, plan)) is not None:
                forked.append(entry)
        for entry in forked:
            try:
                self._look_after(entry)
            except OSError as e:
                self._give_up(entry, e)
                continue
            self._tell(entry)
        for entry in known:
            if entry.run in self._table:  # one that is in the batch twice may have been given up
                self._tell(entry)

    def _plan(self, message: Message) -> Plan | None:
        """What the child will do; None: it is there already, or is not to be, and the daemon is told why."""
        keeper, run = self._keeper, message["run"]
        assert isinstance(run, bytes)
        assert len(run) == RUN_BYTES
        if run in self._table:
            return None
        # As deep as it stands in a list of all: that has to go out, too.
        assert len(packb([[[[message.get("label")]]]])) <= MAX_LABEL
        granted = keeper.grants is not None and keeper.grants.has(message)
        try:
            return plan_of(message, keeper.base, granted, keeper.notify_sockets)
        except SpawnFailed as e:
            self._fail(run, e)
            return None

    def _fork(self, message: Message, fds: Fds, plan: Plan) -> Entry | None:
        keeper = self._keeper
        cgroups = keeper.cgroups if keeper.cgroups.usable else None
        try:
            entry = spawn(message, fds, plan, keeper.base, cgroups, keeper.notify_sockets)
        except SpawnFailed as e:
            self._fail(message["run"], e)
            return None
        entry.label = message.get("label")
        self._table[entry.run] = entry
        keeper.ends.own[entry.pid] = entry
        return entry

    def _fail(self, run: object, why: SpawnFailed) -> None:
        self._keeper.send({"op": "spawn-failed", "run": run, "step": why.step, "errno": why.errno})

    def _look_after(self, entry: Entry) -> None:
        """Hear of what becomes of a child, and know it again. Raises OSError."""
        limit, spare = spare_fds()
        if max(entry.fds()) >= limit - spare:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        assert entry.ctl is not None
        self._keeper.watch(entry.ctl.fileno(), lambda: self._on_ctl(entry))
        if entry.looks_up:
            self._keeper.lookups.add(entry)
        # Ours and not reaped, so it is this one, and is there: what is not to be read now is asked for again.
        process = procs.process(entry.pid) or procs.process(entry.pid)
        entry.start = process.start if process else 0

    def _give_up(self, entry: Entry, why: OSError) -> None:
        """Nobody could look after a run that was not let go."""
        self._keeper.ends.discard(entry)
        self._fail(entry.run, SpawnFailed("descriptors", why.errno or errno.EIO))

    def _tell(self, entry: Entry) -> None:
        names, fds = entry.held(), entry.fds()
        if entry.ctl is not None and not entry.went:
            # For a daemon that survives us over `go`: through it the child can be let go, and says whether it ran.
            names.append("ctl")
            fds.append(entry.ctl.fileno())
        message = {
            "op": "spawned", "run": entry.run, "pid": entry.pid, "start": entry.start, "tracking": entry.tracking,
            "cgroup": entry.cgroup, "fds": names,
        }  # fmt: skip
        try:
            self._keeper.send(message, fds)
        except OSError as e:  # out of descriptors
            if entry.went:
                raise
            self._give_up(entry, e)


def spare_fds() -> tuple[int, int]:
    """How many descriptors there may be, and how many of them are kept free."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limit, max(4, min(SPARE_FDS, limit // 4))
