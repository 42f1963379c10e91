"""What a run says of itself through its notify socket, and what follows.

The keeper holds the socket; here it is read. A datagram is looked at, what it says is committed, and only then is it
received: a daemon that dies in between leaves it for the next one, to whom all of it says the same once more. What
came along with it is never taken: the kernel closes descriptors that nobody has room for, and that is what the sender
of a BARRIER=1 waits for.

Only processes of the run's tree are listened to, all of them (systemd's NotifyAccess=all). Who has ended before his
word was read is nobody's any more, but for the main process. While there is no keeper to ask, words wait.

A job may say more than anybody wants to hear. What is not read stays in the socket, and when that is full its sender
waits; so it is enough to read slowly. Its status is shown as it is said and kept now and then: each one that is kept is
an event, and there are services that count their requests in it. That alone a killed daemon may forget.

The end of the main process counts only when what was said before it is taken in: it may be about that end, or name the
process that goes on.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from jobd.core import sdnotify, service, states
from jobd.runtime.service import ACTIVE, LIVING

if TYPE_CHECKING:
    from jobd.core.sdnotify import Message
    from jobd.runtime.registry import Registry
    from jobd.runtime.run import Ending
    from jobd.runtime.service import Service

log = logging.getLogger("jobd.runtime")
_UCRED: Final = struct.Struct("3i")
_ROOM: Final = socket.CMSG_SPACE(_UCRED.size)  # for the sender's credentials, and for nothing else
# So many at once, and then so many a second, of one run: of datagrams, each of which costs 0.1 ms of the loop and,
# where its sender is not the main process, a question to the keeper; of those that are events, which are kept as long
# as their run; and of statuses that are.
BURST, RATE = 100, 50.0
NEWS, NEWS_RATE = 20, 0.2
STATUSES, STATUSES_RATE = 10, 1 / 600
MOMENT_SEC: Final = 1e-6  # less is a rounding error, for which nobody waits
END_SEC: Final = 1.0  # for what was said before an end
DATAGRAM_SEC: Final = 0.0002  # of its owner's allowance, with the question to the keeper
MAX_TOLD: Final = 8  # complaints about one run


class Datagram(NamedTuple):
    """One word, and whose it is."""

    data: bytes
    pid: int


class Pace:
    """So many at once, and then so many a second."""

    def __init__(self, burst: int, rate: float) -> None:
        self._burst, self._rate = float(burst), rate
        self._left, self._at = float(burst), trio.current_time()

    @property
    def wait_sec(self) -> float:
        """How long to wait for the next one."""
        now = trio.current_time()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        wait = (1 - self._left) / self._rate
        return wait if wait > MOMENT_SEC else 0.0

    def take(self) -> None:
        """Take one, due or not."""
        self._left -= 1


class Notifications:
    """The reader of one run's socket, in a task of its own."""

    def __init__(self, of: Service, descriptor: int, world: Registry) -> None:
        """The descriptor stays the run's."""
        self._of = of
        self._run = of.run
        self._sock = socket.socket(fileno=os.dup(descriptor))
        self._world = world
        self._all = Pace(BURST, RATE)
        self._news = Pace(NEWS, NEWS_RATE)
        self._statuses = Pace(STATUSES, STATUSES_RATE)
        self._told: set[str] = set()  # what was logged: once a run, whatever it does
        self._busy = False  # a datagram is being taken in
        self._stuck = False  # nobody can say whose the next one is
        self._end: Ending | None = None  # of the main process: not to be told before the rest is taken in
        self._end_by = 0.0  # but then
        if self._run.ending is not None and self.holds(self._run.ending):
            self._run.ending = None

    def close(self) -> None:
        """Nothing is left of the run. What it last said of its status is kept."""
        status = self._of.status
        if status is not None and status != self._run.row.status_text:
            self._run.job.note(self._run, "status", None, None, status_text=status)
        self._sock.close()

    # --- reading --------------------------------------------------------------------------------------------------
    async def listen(self) -> None:
        """Take in what is said, until cancelled. That may happen anywhere: what was not taken in is still there."""
        while True:
            with trio.move_on_after(self._keep_status()):
                await trio.lowlevel.wait_readable(self._sock)
                self._busy = True
            if self._busy:
                await self._take_in()
                self._busy = False
                self._let_end()
                self._of.tend()
                self._of.changed.set()

    async def _take_in(self) -> None:
        datagram = self._peek()
        if datagram is None:
            return
        await self._pause(self._all)
        if self._end is None:
            await self._world.asking.turn(self._run.row.owner, DATAGRAM_SEC)
        ours = await self._is_ours(datagram.pid)
        if not ours and not self._world.keeper.alive:
            self._stuck = True
            self._let_end()
            await trio.sleep_forever()  # a new keeper comes with a new daemon
        if ours:
            message = sdnotify.parse(datagram.data)
            for why in message.ignored:
                self._tell(why, f"ignored of its notifications: {why}")
            await self._hear(message)
        else:
            self._tell(
                "stranger",
                f"ignored a notification from process {datagram.pid}, which is none of its own, or has ended",
            )
        self._receive()

    def _peek(self) -> Datagram | None:
        try:
            data, control, _, _ = self._sock.recvmsg(
                sdnotify.MAX_BYTES + 1, _ROOM, socket.MSG_PEEK | socket.MSG_DONTWAIT
            )
        except BlockingIOError:
            return None
        pid = 0
        for level, kind, value in control:
            if (level, kind, len(value)) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS, _UCRED.size):
                pid = _UCRED.unpack(value)[0]
        return Datagram(data, pid)

    def _receive(self) -> None:
        """Take the datagram that was looked at off the socket, with whatever came along."""
        with suppress(BlockingIOError):  # during a handover two daemons look
            self._sock.recvmsg(0, 0, socket.MSG_DONTWAIT)

    async def _pause(self, pace: Pace) -> None:
        """Take one of a pace, when it is due; at once before an end."""
        if self._end is None and pace.wait_sec > 0:
            self._tell("flood", "it notifies too often, and is listened to more slowly")
            with trio.move_on_after(pace.wait_sec):
                while self._end is None:
                    await self._of.changed.wait()
        pace.take()

    async def _is_ours(self, pid: int) -> bool:
        if pid <= 0:
            return False  # of another pid namespace: nobody can tell
        if pid == self._run.pid:
            return True
        return (await self._world.keeper.runs_of([pid]))[0] == self._run.id

    def has_unread(self) -> bool:
        """Whether something was said that is not taken in. What nobody can take in before the next daemon is not."""
        return not self._stuck and (self._busy or bool(select.select([self._sock], [], [], 0)[0]))

    # --- the end --------------------------------------------------------------------------------------------------
    def holds(self, ending: Ending) -> bool:
        """Whether the end of the main process is to wait for what was said before it. Then it is told from here."""
        if not self.has_unread():
            return False
        self._end, self._end_by = ending, trio.current_time() + END_SEC
        self._of.changed.set()
        return True

    def drop_end(self) -> None:
        """It was that of a process that is not the main one any more."""
        self._end = None

    def _let_end(self) -> None:
        if self._end is not None and (not self.has_unread() or trio.current_time() >= self._end_by):
            self._run.ending, self._end = self._end, None
            self._run.wake.set()

    # --- what was said --------------------------------------------------------------------------------------------
    async def _hear(self, message: Message) -> None:
        """Note what a datagram says. What is not to be forgotten is durable on return."""
        of, run = self._of, self._run
        if message.watchdog == sdnotify.PING:
            of.pinged = trio.current_time()
        if message.status is not None:
            of.status = message.status
        if message.extend_usec is not None:
            of.extend(message.extend_usec)
        if message.main_pid is not None and message.main_pid != run.pid:
            await self._pause(self._news)
            await self._change_main(message.main_pid)
        if fields := self._fields(message):
            await self._pause(self._news)
            run.job.note(run, "notified", None, None, **fields)
        if message.ready or message.reloading or message.stopping:
            await self._change_state(message)
        if message.watchdog == sdnotify.TRIGGER and of.is_active and of.watchdog_sec:
            run.ask_stop(None, "watchdog", hang=True, reason="it said that it hangs (WATCHDOG=trigger)")
        if message.changes:
            await self._world.journal.flush()

    def _fields(self, message: Message) -> dict[str, int]:
        """What the row is to keep of it, where that is another than before. Of extensions it is the longest."""
        row, said = self._run.row, {"status_errno": message.errno, "watchdog_usec": message.watchdog_usec}
        if (message.extend_usec or 0) > row.extended_usec:
            said["extended_usec"] = message.extend_usec
        return {name: value for name, value in said.items() if value is not None and value != getattr(row, name)}

    async def _change_state(self, message: Message) -> None:
        """The events that it makes. Said twice, or in a state that has no use for it, it makes none."""
        of, run = self._of, self._run
        if message.reloading and of.sub in ACTIVE:
            run.reloading = True
            if of.sub == states.RUNNING:
                await self._pause(self._news)
                if of.sub == states.RUNNING and not run.row.stop_asked:
                    run.job.fire(states.RELOAD_ASKED, "reloading")
        if message.ready:
            await self._ready()
        if message.stopping and of.sub in LIVING and not run.row.stop_asked:
            run.job.fire(states.STOP, "stopping")  # nobody asked for it: what its end is, its exit says
        run.wake.set()

    async def _ready(self) -> None:
        of, run = self._of, self._run
        if of.sub == states.START and run.spec.type == service.NOTIFY:
            of.announced = True
            of.changed.set()
            while of.sub == states.START and run.ending is None and not run.row.stop_asked:
                await run.job.changed.wait()  # its task makes the event of it
        elif of.sub == states.RELOAD and run.reloading:
            run.reloading = False
            if not run.reload_asked:  # else its task does that, when the rest of the reload is done
                run.job.fire(states.READY, "reloaded")

    def _keep_status(self) -> float:
        """Keep what was said of its status when it is time for that; how long until then."""
        status = self._of.status
        if status is None or status == self._run.row.status_text:
            return float("inf")
        if self._statuses.wait_sec <= 0:
            self._statuses.take()
            self._run.job.note(self._run, "status", None, None, status_text=status)
            return float("inf")
        return self._statuses.wait_sec

    async def _change_main(self, pid: int) -> None:
        """Another process is the main one from now on, if it is one of the run's: the keeper looks."""
        number = await self._world.keeper.set_main(self._run.id, pid)
        if number and not self._world.keeper.alive:
            await trio.sleep_forever()  # for the next daemon, as above; an end until then may be none of the run's
        if number:
            self._tell("main", f"refused MAINPID={pid}, which is no process of its own: {os.strerror(number)}")
            return
        self._run.job.note(self._run, "main-process", None, None, pid=pid, pid_start=self._run.pid_start)

    def _tell(self, kind: str, what: str) -> None:
        """Say it in the log and in the run's note; each kind once, and a few in all."""
        if kind in self._told or len(self._told) >= MAX_TOLD:
            return
        self._told.add(kind)
        run = self._run
        log.warning("run %s of %s: %s", run.id.hex(), run.job.row.job, what)
        run.job.note(run, "notification-ignored", None, None, note=what)
