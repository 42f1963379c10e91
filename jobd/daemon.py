"""The daemon: puts the parts together, nests their lives, and orders the leaving.

    store ⊃ link to the keeper ⊃ jobs (a task each) ⊃ connections ⊃ accept

Shutdown leaves these blocks from the inside out. The daemon may be killed between any two instructions; leaving in
order only saves the next one some work. Started by the keeper: `python -I -m jobd.daemon LINK_FD`.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from jobd.config import LOG_LEVEL
from jobd.core import records
from jobd.core.paths import USER
from jobd.host import secrecy
from jobd.keeper.link import Link
from jobd.rpc import privileges
from jobd.rpc.access import Access
from jobd.rpc.server import Server
from jobd.rpc.world import World
from jobd.runtime import daemonlog, logout
from jobd.runtime.boot import Boot, is_kept_alive
from jobd.runtime.configuration import Configuration
from jobd.runtime.definitions import Definitions
from jobd.runtime.feeder import Feeder
from jobd.runtime.homes import Homes
from jobd.runtime.idle import FIRST_CLIENT_SEC, IdleExit
from jobd.runtime.jobfiles import JobFiles
from jobd.runtime.journal import Journal
from jobd.runtime.keeperlink import Fields, KeeperLink, Welcome, close_all
from jobd.runtime.lastgood import LastGood
from jobd.runtime.linkcodec import FastCodec
from jobd.runtime.orphaned import Orphanage, Parts
from jobd.runtime.pump import Pump
from jobd.runtime.pump_relay import Relay
from jobd.runtime.recovery import recover
from jobd.runtime.registry import Registry
from jobd.runtime.upkeep import Upkeep
from jobd.runtime.waking import wake
from jobd.store.batch import StoreError, StoreTooNew
from jobd.store.db import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobd.core.policy import Policy
    from jobd.runtime.run import Run

log = logging.getLogger("jobd")
# A collection of the youngest objects every 50,000 allocations: runs are freed by reference counts, and the default of
# 700 spends 4 % of a busy daemon looking through them.
GC_THRESHOLD: Final = (50_000, 20, 100)
# A busy loop lets the store's writer and the pump have the interpreter after this long; Python's 5 ms made a commit of
# eight changes take 17.6 ms instead of 5.0 (measured).
SWITCH_SEC: Final = 0.001


class Daemon:
    """One incarnation."""

    def __init__(self, link_fd: int) -> None:
        self.link = Link(socket.socket(fileno=link_fd), codec=FastCodec)
        self.keeper = KeeperLink(self.link, self._sink)
        self.keeper.on_other = self._on_keeper
        self.keeper.on_lost = self._on_lost
        self.registry: Registry | None = None
        self.server: Server | None = None
        self.listener: socket.socket | None = None
        self.lock_fd: int | None = None
        self.relay_fds: tuple[int, int] | None = None
        self.handover_fd = -1
        self._welcomed = trio.Event()
        self._leave = trio.Event()  # something ends this incarnation
        self._given = trio.Event()  # a new keeper has all of it
        self._stop_runs = False  # … and the runs with it
        self._lost = trio.Event()
        self.failed = False  # it could not serve

    # --- the keeper's messages ------------------------------------------------------------------------------------
    def _sink(self, run_id: bytes) -> Run | None:
        return None if self.registry is None else self.registry.runs.get(run_id)

    def _on_keeper(self, op: str, _: Fields, fds: dict[str, int]) -> None:
        match op:
            case "welcome" if self.listener is None:
                self.listener = socket.socket(fileno=fds["listener"])
                self.lock_fd = fds["lock"]
                self.relay_fds = fds["relay_read"], fds["relay_write"]
                self.handover_fd = fds.get("handover", -1)
                self._welcomed.set()
            case "listener":
                self.listener = socket.socket(fileno=fds["listener"])
                if self.server is not None:
                    self.server.replace_listener(self.listener)
            case "shutdown":
                self._stop_runs = True
                self._leave.set()
            case "reexec-refused":
                log.error("the keeper refused to re-execute itself: %s", _.get("why"))
            case _:
                close_all(fds)  # a second welcome, after a re-exec of the keeper: we have all of it

    def _essential_ended(self, job: str, status: int) -> None:
        """An essential job is at rest: jobd ends, with its status."""
        log.warning("%s, which is essential, has ended: leaving with status %d", job, status)
        self.keeper.ask_shutdown(status)

    def _on_lost(self) -> None:
        self._lost.set()
        if self.registry is not None:
            log.warning("the keeper has died; capturing goes on")
            self.registry.lose_keeper()

    # --- the nesting ----------------------------------------------------------------------------------------------
    async def run(self) -> None:
        """Serve until told to leave."""
        async with trio.open_nursery() as link_nursery:
            link_nursery.start_soon(self._signals)
            link_nursery.start_soon(self.keeper.run)
            await self._welcomed.wait()
            welcome = self.keeper.welcome
            assert welcome is not None
            if welcome.shared and welcome.daemon_uid:
                secrecy.hide()
            try:
                store = Store.open(Path(welcome.state_dir))
            except StoreError as error:
                await self._give_up(str(error), final=isinstance(error, StoreTooNew))
            else:
                store.on_locked = self._leave_locked
                journal = Journal(store)
                journal.start()
                try:
                    await self._with_store(journal, Path(welcome.state_dir))
                finally:
                    store.close()
            link_nursery.cancel_scope.cancel()

    def _leave_locked(self) -> None:
        """In the store's thread: nothing is written any more until this process ends, and what waits for that, too.

        As killed: the next daemon finds out what is durable. Without a keeper there is none, and capturing goes on.
        """
        if self.keeper.alive:
            log.error("leaving: the database stays locked after an error of the disk")
            os._exit(1)

    async def _give_up(self, why: str, *, final: bool) -> None:
        """This daemon cannot be. The keeper tries again, if it is not `final`; whoever waits for the start is told."""
        log.error("%s", why)
        self.failed = True
        self.keeper.send("start-failed", why=why, final=final)
        with trio.move_on_after(1):
            await self.keeper.flushed()

    async def _with_store(self, journal: Journal, state_dir: Path) -> None:
        token = trio.lowlevel.current_trio_token()
        registry: Registry | None = None

        def soon(take: Callable[[Registry], None]) -> Callable[[], None]:
            """A way for a thread to have the registry take its news."""

            def taken() -> None:
                if registry is not None:
                    take(registry)

            return partial(wake, token, taken)

        pump = Pump(soon(lambda registry: registry.streams.on_notices()), relay=self._relay(state_dir))
        pump.start()
        feeder = Feeder(soon(lambda registry: registry.streams.on_fed()))
        try:
            registry = self.registry = Registry(state_dir, journal, pump, feeder, self.keeper)
            registry.rss_floor_bytes = self._keeper_size()
            # The next daemon takes up every run and every pipe where this one stopped.
            registry.streams.on_thread_death = registry.on_crash = self._leave.set
            await self._with_runs(registry)
            await journal.flush()
        finally:
            feeder.stop()
            pump.stop()

    async def _with_runs(self, registry: Registry) -> None:
        async with trio.open_nursery() as jobs:
            await jobs.start(registry.serve)
            welcome = self.keeper.welcome
            assert welcome is not None
            last = LastGood(welcome.state_dir, welcome.keeper)
            configuration = Configuration(welcome.config_dir, self.keeper, last, os.environ.get(LOG_LEVEL, ""))
            await configuration.load_first()
            registry.limits = lambda: configuration.policy.limits
            registry.policy = configuration.policy
            access = Access(configuration.policy, shared=self.keeper.shared)
            registry.bounded = partial(privileges.again, access=access)
            registry.on_essential = self._essential_ended
            definitions = _definitions(registry, welcome)
            boot = Boot(registry, definitions, welcome)
            is_first = boot.is_due()
            # What is taken up may have to start: from root's files, of which a new keeper knows nothing, or as an
            # instance of a template, made up for the first time.
            if welcome.heir or is_first:
                await self.keeper.grant_files(every=True)
            await definitions.learn_homes()
            gc.disable()  # until clients come: of what is taken up nothing is garbage, and looking takes two thirds
            await recover(registry)
            registry.aftermath.look_for_ends()
            if is_first:
                await boot.load()
                await definitions.learn_homes()
            world = World(registry, self.keeper, registry.streams.pump, time.time_ns(), configuration, definitions)
            await access.begin(jobs)
            configuration.on_change = partial(_change, access, registry)
            configuration.refresh = access.look_up_group
            self.server = Server(world, access)
            world.connections = lambda: 0 if self.server is None else self.server.connections
            said = f"{len(registry.runs)} runs taken up"
            if is_first:
                said += f", {boot.start()} enabled jobs started"
                jobs.start_soon(boot.done)
            jobs.start_soon(Upkeep(registry).run)
            jobs.start_soon(registry.schedule.run)
            jobs.start_soon(configuration.catch_up)
            orphanage = Orphanage(registry, self._lost, self._parts, self._leave)
            jobs.start_soon(self._orphaned, orphanage)
            if self.keeper.welcome is not None and self.keeper.welcome.mode == USER:
                jobs.start_soon(
                    partial(trio.to_thread.run_sync, logout.leave_hint, registry.state_dir, abandon_on_cancel=True)
                )
            await self._with_clients(registry, said)
            jobs.cancel_scope.cancel()

    async def _with_clients(self, registry: Registry, said: str) -> None:
        server = self.server
        assert server is not None
        async with trio.open_nursery() as connections:
            await connections.start(server.serve)
            async with trio.open_nursery() as accepting:
                assert self.listener is not None
                await accepting.start(server.accept, self.listener)
                gc.collect()
                gc.freeze()
                gc.set_threshold(*GC_THRESHOLD)
                gc.enable()
                self.keeper.send("ready")
                log.info("ready: %s", said)
                accepting.start_soon(self._idle_exit(registry, server).run)
                await self._leave.wait()
                if self._stop_runs:
                    await self._stop(registry)
                    if not self._given.is_set():
                        server.say_goodbye()
                accepting.cancel_scope.cancel()
            connections.cancel_scope.cancel()

    def _idle_exit(self, registry: Registry, server: Server) -> IdleExit:
        """The end for want of work, where jobd was told to end then; whoever needs it starts it again."""
        welcome = self.keeper.welcome
        assert welcome is not None
        first_client = registry.left_at + (FIRST_CLIENT_SEC if welcome.incarnation == 1 else 0.0)

        def idle_since() -> float | None:
            busy = registry.runs or registry.jobs or server.connections or not self.keeper.alive or self._leave.is_set()
            return None if busy or is_kept_alive(registry) else max(registry.left_at, server.left_at or first_client)

        def leave() -> bool:
            if not server.close_door(welcome.activated):
                self.keeper.send("rebind")
                return False
            log.info("nothing to do: leaving")
            self._stop_runs = True
            self._leave.set()
            return True

        return IdleExit(welcome.idle_exit_sec, idle_since, leave)

    async def _stop(self, registry: Registry) -> None:
        """Stop all runs in order. Clients are served meanwhile, so that people can look on; nothing new starts."""
        self.keeper.send("shutdown-begun")
        live = [run for run in registry.runs.values() if run.row.state != records.QUEUED]
        log.info("stopping %d runs", len(live))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when, self._given, nursery.cancel_scope)  # its daemon goes on with it
            await registry.stop_all()
            nursery.cancel_scope.cancel()
        await registry.journal.flush()
        self.keeper.send("bye")
        with trio.move_on_after(1):
            await self.keeper.flushed()

    async def _orphaned(self, orphanage: Orphanage) -> None:
        await orphanage.run()
        self._given.set()

    # --- small things ---------------------------------------------------------------------------------------------
    async def _signals(self) -> None:
        """SIGTERM from the keeper replaces this incarnation; SIGINT is the keeper's business."""
        with trio.open_signal_receiver(signal.SIGTERM) as received:
            async for _ in received:
                self._leave.set()

    def _relay(self, state_dir: Path) -> Relay | None:
        """The pump's second pipe, which the keeper holds as well; without it a fast job is merely slower."""
        assert self.relay_fds is not None
        try:
            return Relay(*self.relay_fds, str(state_dir / "relay"))
        except OSError as error:
            log.warning("cannot use the relay: %s", error)
            return None

    def _parts(self) -> Parts:
        assert self.listener is not None
        assert self.lock_fd is not None
        assert self.relay_fds is not None
        return Parts(self.listener.fileno(), self.lock_fd, self.relay_fds, self.handover_fd)

    def _keeper_size(self) -> int:
        """Resident bytes of the keeper, which every process it forks shows as its own peak; with a margin."""
        assert self.keeper.welcome is not None
        size = self.keeper.welcome.rss or 13 << 20  # a Python of the standard library alone has about 11 MiB
        return size * 5 // 4


def _definitions(registry: Registry, welcome: Welcome) -> Definitions:
    shared = registry.keeper.shared
    files = JobFiles(registry.keeper, welcome.mode, welcome.config_dir)
    return Definitions(registry, files, Homes(shared), 0 if shared else os.geteuid())


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


def _change(access: Access, registry: Registry, policy: Policy) -> None:
    """Another configuration is in force."""
    access.replace(policy)
    registry.policy = policy
    registry.slots.give()
    registry.room.count_again(registry.owners())


def main() -> None:
    """Run the daemon on the link whose descriptor is the first argument."""
    daemonlog.begin(os.environ.get(LOG_LEVEL, ""))
    sys.setswitchinterval(SWITCH_SEC)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C goes to the group; the keeper decides
    daemon = Daemon(int(sys.argv[1]))
    trio.run(daemon.run)
    if daemon.failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
