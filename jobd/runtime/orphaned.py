"""Life without a keeper: capture goes on, exits are read from the kernel, and a new keeper is given all we hold.

The lock is shared with the dead keeper, so nobody else can have taken the state. A new keeper (from init, from a
person, or started here) finds it held and asks on `handover.sock` for the listening socket and every run's
descriptors; then it forks a daemon of its own, and this one leaves.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from jobd.host.pidfd import exit_status, keeps_exit_status
from jobd.keeper import handover
from jobd.keeper.link import LinkClosed, LinkError
from jobd.runtime.keeperlink import close_all
from jobd.runtime.run import Ending

if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable

    from jobd.keeper.link import Fds, Link, Message
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Run

log = logging.getLogger("jobd.runtime")

REAP_TRIES: Final = 600  # 30 s: the kernel tells the status only after the reap, and a slow PID 1 took 5 s (measured)
REAP_PAUSE_SEC: Final = 0.05
ASK_SEC: Final = 10.0  # for whoever connects to say what he wants
FLUSH_SEC: Final = 3.0  # for what is to be written; who asks waits ten seconds, and the next comes after five
LISTEN_SEC: Final = 1.0  # between attempts to listen for one on a disk that is full
SHORT_SEC: Final = 0.1  # between attempts to get a descriptor while there are none
RESPAWN_SEC: Final = 5.0  # a new keeper takes over within 0.3 s; one that has not by now will not

_KEPT: Final = ("pidfd", "notify", "err_in")  # descriptors that stay the run's while they are handed over


class Parts(NamedTuple):
    """The descriptors of the daemon itself that a new keeper gets."""

    listener: int
    lock: int
    relay: tuple[int, int]
    handover: int = -1  # on which the keeper answered, and we do after it; an older one had it alone


class Orphanage:
    """Waits for the keeper's death, and does what is to be done then."""

    def __init__(self, registry: Registry, lost: trio.Event, parts: Callable[[], Parts], leave: trio.Event) -> None:
        self._registry = registry
        self._lost = lost
        self._parts = parts
        self._leave = leave

    async def run(self) -> None:
        """Serve until a new keeper has taken over, then tell the daemon to leave."""
        await self._lost.wait()
        async with trio.open_nursery() as nursery:
            for run in list(self._registry.runs.values()):
                if run.pidfd is not None and run.ending is None:
                    nursery.start_soon(self._watch, run)
            nursery.start_soon(self._respawn)
            with closing(await self._listen()) as listener:
                await self._hand_over(listener)
            nursery.cancel_scope.cancel()
        self._leave.set()

    async def _listen(self) -> socket:
        """The socket on which a new keeper asks. All runs depend on this daemon: what fails is tried again."""
        while True:
            try:
                return handover.listen(str(self._registry.state_dir), self._parts().handover)
            except OSError as error:
                log.error("cannot listen for a new keeper: %s", error)
            await trio.sleep(LISTEN_SEC)

    async def _hand_over(self, listener: socket) -> None:
        while True:
            await trio.lowlevel.wait_readable(listener)
            link = handover.accept(listener)
            if link is None:  # somebody else; or no descriptor is left, and the socket stays readable
                await trio.sleep(SHORT_SEC)
                continue
            try:
                with trio.move_on_after(ASK_SEC):
                    if await self._wants_all(link) and await self._give(link):
                        return
            finally:
                link.close()

    async def _wants_all(self, link: Link) -> bool:
        """Whether whoever came is a new keeper; anybody else is told nothing."""
        while True:
            await trio.lowlevel.wait_readable(link.sock)
            try:
                messages = link.receive()
            except (LinkClosed, LinkError):
                return False
            if messages:
                return messages[0][0]["op"] == "take"

    async def _give(self, link: Link) -> bool:
        """Stop touching the pipes, finish what is written, and pass everything on."""
        with trio.CancelScope(shield=True):  # `give` has a deadline of its own
            self._registry.handing_over = trio.Event()
            with trio.move_on_after(FLUSH_SEC) as flushing:
                await self._registry.journal.flush()
            if flushing.cancelled_caught:  # the disk is full: what is not written is in this daemon alone
                log.error("cannot hand over to a new keeper: there is no room to write down what has happened")
                self._take_back([])
                return False
            entries = self._entries()
            parts, why = self._parts(), "it went away"
            try:
                given = await trio.to_thread.run_sync(
                    handover.give, link, parts.listener, parts.lock, entries, parts.relay
                )
            except OSError as error:  # whatever it is, all runs depend on this daemon
                given, why = False, str(error)
        if not given:
            log.error("cannot hand over to a new keeper: %s", why)
            self._take_back(entries)
            return False
        log.info("handed %d runs over to a new keeper", len(entries))
        return True

    def _take_back(self, entries: list[tuple[Message, Fds]]) -> None:
        """Go on capturing after a failed handover."""
        assert self._registry.handing_over is not None
        self._registry.handing_over.set()
        self._registry.handing_over = None
        for message, fds in entries:
            run = self._registry.runs.get(message["run"])  # type: ignore[call-overload]  # our own entry
            if run is None:  # it has ended meanwhile
                close_all({name: fd for name, fd in fds.items() if name not in _KEPT})
                continue
            run.out, run.err = fds.get("out"), fds.get("err")
            run.held = {name: fd for name, fd in fds.items() if name not in ("out", "err", *_KEPT)}
            if not run.eof or run.held:
                self._registry.streams.capture(run)

    def _entries(self) -> list[tuple[Message, Fds]]:
        pipes = self._registry.streams.pump.release_all()
        fed = self._registry.streams.feeder.release_all()
        entries: list[tuple[Message, Fds]] = []
        for run in self._registry.runs.values():
            if not run.went or run.pid is None:
                continue  # it never ran: its row says queued, and the next daemon starts it
            out, err = pipes.get(run.id, (None, None))
            held = {"pidfd": run.pidfd, "out": out, "err": err, "notify": run.notify, "err_in": run.err_in}
            fds = {name: fd for name, fd in held.items() if fd is not None}
            fds.update(fed.pop(run.id, {}))
            entries.append((_entry(run), fds))
        return entries

    async def _respawn(self) -> None:
        """Start a new keeper, where nobody else would and we can be one: a system daemon's is started by its init."""
        welcome = self._registry.keeper.welcome
        assert welcome is not None
        if welcome.mode == "system" or welcome.supervised or (welcome.shared and welcome.daemon_uid):
            return
        words = [sys.executable, "-I", "-m", "jobd"]
        words.append(f"--idle-exit={welcome.idle_exit_sec:f}")
        if welcome.mode == "user":
            words.append("--user")
        else:
            words += ["--socket", welcome.socket, "--state-dir", welcome.state_dir, "--config-dir", welcome.config_dir]
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # one that fails to start leaves no zombie
        while True:
            log.warning("starting a new keeper")
            ours = (signal.SIGPIPE, signal.SIGINT, signal.SIGCHLD)
            try:
                os.posix_spawn(words[0], words, os.environ, setsid=True, setsigdef=ours)  # noqa: ASYNC221  # 1 ms, once
            except OSError as error:  # no memory or no processes left just now
                log.error("cannot start a new keeper: %s", error)
            await trio.sleep(RESPAWN_SEC)

    async def _watch(self, run: Run) -> None:
        """Read the exit of one run from its pidfd."""
        pidfd = await _copy(run)
        if pidfd is None:
            return
        status = None
        try:
            await trio.lowlevel.wait_readable(pidfd)
            at = time.time_ns()
            for _ in range(REAP_TRIES if keeps_exit_status() else 1):
                status = exit_status(pidfd)
                if status is not None:
                    break
                await trio.sleep(REAP_PAUSE_SEC)
        finally:
            os.close(pidfd)
        if run.ending is None:
            # Whether others of its tree live on is for the next keeper to find out, which can stop them too.
            run.ending = Ending(-1 if status is None else status, None, at)
            run.wake.set()


async def _copy(run: Run) -> int | None:
    """A copy of its pidfd: the run may close its own at any moment, as one that was never let go does. None: it has."""
    while run.pidfd is not None:
        try:
            return os.dup(run.pidfd)
        except OSError as error:  # all runs depend on this daemon, also at its limit of descriptors
            log.debug("cannot watch %s: %s", run.row.job, error)
        await trio.sleep(SHORT_SEC)
    return None


def _entry(run: Run) -> dict[str, object]:
    """The run as the keeper's table has it."""
    ending = run.ending
    return {
        "run": run.id,
        "pid": run.pid,
        "start": run.pid_start,
        "went": True,
        "execd": run.execd or run.row.started_at is not None,
        "step": "" if run.failure is None else run.failure[0],
        "errno": 0 if run.failure is None else run.failure[1],
        # A status that could not be read is not told, unless it is recorded: the next keeper may be luckier.
        "exit": None if ending is None or (ending.status < 0 and run.row.exited_at is None) else _exit_of(ending),
        "empty": run.empty,
        "frozen": run.frozen,
        "usage": run.usage or None,
        "tracking": run.tracking,
        "cgroup": run.cgroup,
        "merge": run.spec.one_stream,
        "label": {"owner": run.row.owner, "job": run.row.job, "number": run.row.number},
        "ops": list(run.operations),
        "helpers": run.helpers.plain(),
        "once": list(run.once),
    }


def _exit_of(ending: Ending) -> dict[str, object]:
    rusage = None
    if ending.utime_usec is not None:
        rusage = [ending.utime_usec, ending.stime_usec, ending.maxrss_kib]
    return {"status": ending.status, "rusage": rusage, "at": ending.at, "mono": 0}
