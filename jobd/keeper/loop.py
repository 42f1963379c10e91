"""The keeper: one poll loop over signals, the daemon's link, starting children, and who asks for the state.

It keeps what must survive the daemon and decides nothing. It never waits for anybody: what cannot be done now is done
when the loop comes round again. Signals are blocked and read from a signalfd, so that no child, in the instants before
it executes its program, can ever run a handler of ours.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import time
from contextlib import suppress

from jobd.keeper import kernel, sockets, unprivileged
from jobd.keeper.cgroup import Cgroups
from jobd.keeper.daemonproc import LISTEN, PING_SEC, DaemonProcess, default_argv
from jobd.keeper.ends import Ends
from jobd.keeper.freezer import Freezer
from jobd.keeper.grants import Grants, RootSocket
from jobd.keeper.helpers import Helpers
from jobd.keeper.link import Link, LinkClosed, LinkError
from jobd.keeper.log import Log
from jobd.keeper.lookups import Lookups
from jobd.keeper.mains import Mains
from jobd.keeper.notify import Notifier
from jobd.keeper.notifysockets import NotifySockets
from jobd.keeper.preparing import FORWARDED, HANDLED
from jobd.keeper.reaching import Reaching
from jobd.keeper.requests import Requests
from jobd.keeper.rootfiles import FileGrants
from jobd.keeper.shutdown import Shutdown
from jobd.keeper.strays import Strays
from jobd.keeper.surviving import Surviving
from jobd.keeper.unixchecks import UnixChecks
from jobd.keeper.welcome import welcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable, Sequence

    from jobd.config import Config
    from jobd.keeper.link import Fds, Message
    from jobd.keeper.spawn import Base
    from jobd.keeper.table import Entry

CROWDED_SEC = 0.05  # until the next attempt to send when the kernel was short of memory or descriptors
REFUSED = 2  # as for wrong usage: an exit status after which no service manager starts us again
GIVE_UP_STARTS = 3  # daemons that die on their way up before --daemonize tells its caller that it cannot be done


class Keeper:
    """All that the keeper owns. `table` is every run from its spawn to its ack."""

    def __init__(
        self, config: Config, listener: socket, lock: int, base: Base, relay: tuple[int, int] | None = None
    ) -> None:
        self.config = config
        self.log = Log(config.log_level)
        self.id = os.urandom(8).hex()
        self.started_at, self.heir = time.time_ns(), False  # an heir has taken over from a keeper that died
        self.listener, self.lock = listener, lock
        self.relay = relay or os.pipe()  # the pump's second pipe: what is in it must outlive the daemon
        self.listener_identity = sockets.identity(config.socket)
        self.activated = False  # the listener is a service manager's, with its path
        self.notifier = Notifier()
        self.handover: socket | None = None
        self.base = base
        self.cgroups = Cgroups(config.state_dir)
        self.table: dict[bytes, Entry] = {}
        self.daemon = DaemonProcess(config.daemon_argv or default_argv(), unprivileged.user_of(config))
        guarded = config.daemon_uid != 0
        self.grants = Grants(config.state_dir, self.log) if guarded else None
        self.root_socket = None if self.grants is None else RootSocket(self, self.grants)
        self.file_grants = FileGrants(self, self.grants)
        self.late: list[Message] = []  # requests that have to wait until the daemon was told what came before
        self.exit_code: int | None = None  # set when the loop is to end
        self.reexec: Callable[[], None] | None = None  # what to do instead of going on, once nothing waits to be sent
        self._poll = select.epoll()
        self._handlers: dict[int, Callable[[], object]] = {}
        self._check_at = 0.0
        self._link_waits = False
        self._peers: set[Link] = set()
        self.ends = Ends(self)
        self.helpers = Helpers(self)
        self.unix_checks = UnixChecks(self)
        self.mains = Mains(self)
        self.strays = Strays(self)
        self.notify_sockets = NotifySockets(config)
        self.freezer = Freezer(self)
        self.reaching = Reaching(self)
        self.lookups = Lookups(self)
        self.requests = Requests(self)
        self.shutdown = Shutdown(self)
        self._surviving = Surviving(self.log)
        self._ticks: tuple[Callable[[float], float | None], ...] = (
            self._look_at_daemon, self._check, self.ends.tick, self.freezer.tick, self.shutdown.tick, self.lookups.tick,
            self.helpers.tick, self.unix_checks.tick, self.file_grants.tick, self.reaching.tick, self._notify,
        )  # fmt: skip

    # --- the loop ---------------------------------------------------------------------------------------------------
    def run(self) -> int:
        """Serve until told to end. Returns the exit status."""
        self.log.take_failures()
        signals = kernel.signal_fd((*HANDLED, *FORWARDED) if os.getpid() == 1 else HANDLED)
        self.watch(signals, lambda: self._on_signals(signals))
        self._listen()
        if self.daemon.link is not None:
            self.adopt_link(self.daemon.link)
        self.ends.reap()
        self.notify_sockets.tidy(self.table.values())
        attempt = self._surviving.attempt
        gc.collect()
        gc.freeze()  # what is here now stays for good; the collector need not touch (and so copy) it after a fork
        while self.exit_code is None:
            timeout = self._what_is_due()
            if self.exit_code is None:
                for fd, _ in attempt([], self._poll.poll, timeout):
                    handler = self._handlers.get(fd)  # one handler of this round may have closed another's
                    if handler is not None:
                        attempt(None, handler)
            self._surviving.rest()
            if self.reexec is not None and not self._busy():
                attempt(None, self.reexec)
        return self.exit_code

    def _what_is_due(self) -> float:
        """All that no event announces. Returns for how many seconds there is nothing of it."""
        attempt, now = self._surviving.attempt, time.monotonic()
        if self.ends.unreaped:
            attempt(None, self.ends.reap)
        due = [at for tick in self._ticks if (at := attempt(now, tick, now)) is not None]
        attempt(None, self._flush)
        late, self.late = self.late, []
        for message in late:
            attempt(None, self._request, message, {})
        soon = self._surviving.failed or self._busy_soon()
        return max(0.0, min([*due, now + CROWDED_SEC] if soon else due) - now)

    def _listen(self) -> None:
        """The sockets besides the clients': for another keeper, and for root."""
        if self.handover is None:
            self.handover = sockets.bind_handover(self.config.state_dir)
        self.watch(self.handover.fileno(), self._on_handover)
        if self.root_socket is not None:
            self.root_socket.serve()

    def watch(self, fd: int, handler: Callable[[], object], mask: int = select.EPOLLIN) -> None:
        """Call `handler` whenever `fd` is ready."""
        self._poll.register(fd, mask)
        self._handlers[fd] = handler

    def unwatch(self, fd: int) -> None:
        """Stop watching; before the descriptor is closed."""
        if self._handlers.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def _busy_soon(self) -> bool:
        """Whether something waits that no event will announce."""
        link = self.daemon.link
        return self.reexec is not None or bool(self.late) or (link is not None and link.crowded)

    def _look_at_daemon(self, now: float) -> float | None:
        """Kill a daemon that does not answer, and start the next one. Returns when to look again."""
        daemon = self.daemon
        if daemon.overdue(now) and not self._heard(now):
            self.log(f"daemon {daemon.pid} does not answer or leave: killing it", "warning")
            daemon.kill()
        if daemon.next_at is not None and now >= daemon.next_at and self.shutdown.wants_daemon:
            self._start_daemon(now)
        next_fork = daemon.next_at if self.shutdown.wants_daemon else None
        return min((at for at in (daemon.kill_at, next_fork) if at is not None), default=None)

    def _check(self, now: float) -> float:
        """What is looked at every few seconds. Returns when that is next."""
        daemon = self.daemon
        if now >= self._check_at:
            self._check_at = now + PING_SEC
            if daemon.ready and daemon.link is not None:
                daemon.link.send({"op": "ping"})
                daemon.pinged(now)
            self.check_listener()
            self.cgroups.tidy()
        return self._check_at

    def _heard(self, now: float) -> bool:
        """Whether the daemon has answered, and it was we who have not listened: a machine may be very busy."""
        return any(not self.daemon.overdue(now) for _ in range(LISTEN) if self._on_link())

    def _notify(self, now: float) -> float | None:
        at = self.notifier.tick(now, len(self.table), self.daemon.failures >= GIVE_UP_STARTS)
        if self.notifier.error:
            self.log(self.notifier.error, "warning")
            self.notifier.error = ""
        return at

    def _flush(self) -> None:
        link = self.daemon.link
        if link is None or not (link.unsent or link.broken):
            return
        if link.overrun:
            self._give_up_link("it asks and does not read the answers")
            return
        waits = not link.broken and not link.flush() and not link.crowded
        if link.broken:
            self._give_up_link("the kernel sends it nothing")
        elif waits != self._link_waits:
            self._poll.modify(link.fileno(), select.EPOLLIN | select.EPOLLOUT if waits else select.EPOLLIN)
            self._link_waits = waits

    def _busy(self) -> bool:
        link = self.daemon.link
        return bool(self.late) or self.freezer.busy or (link is not None and link.unsent)

    # --- signals ----------------------------------------------------------------------------------------------------
    def _on_signals(self, fd: int) -> None:
        data = os.read(fd, 32 * kernel.SIGINFO_SIZE)
        for at in range(0, len(data), kernel.SIGINFO_SIZE):
            self._surviving.attempt(None, self._on_signal, int.from_bytes(data[at : at + 4], sys.byteorder))

    def _on_signal(self, sig: int) -> None:
        if sig == signal.SIGCHLD:
            self.ends.reap()
        elif sig == signal.SIGHUP:
            self.replace_daemon()
        elif sig in (signal.SIGTERM, signal.SIGINT):
            self.shutdown.begin(signal.Signals(sig).name)
        else:
            self.mains.forward(sig)

    # --- the daemon -------------------------------------------------------------------------------------------------
    def _start_daemon(self, now: float) -> None:
        if sockets.is_spent(self.listener) and not self.shutdown.begun:  # the last daemon died over an idle exit
            self.renew_listener()
        try:
            self.adopt_link(self.daemon.fork(now))
        except (OSError, MemoryError) as e:
            self.log(f"cannot start the daemon: {e}", "error")
            self.daemon.kill()  # if it was forked: nobody has heard of its link
            self.lose_link()

    def adopt_link(self, link: Link) -> None:
        """Take up the link to a daemon (or, after a re-exec, the same one again) and introduce ourselves."""
        self._link_waits = False
        self.log.set_level(self.config.log_level)  # until this daemon says something else
        self.watch(link.fileno(), self._on_link)
        assert self.handover is not None
        link.send(welcome(self), [self.listener.fileno(), self.lock, *self.relay, self.handover.fileno()])
        self.shutdown.tell()

    def told(self) -> bool:
        """Send what waits for the daemon; whether it all went."""
        link = self.daemon.link
        return link is None or link.flush()

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Tell the daemon; with none there it is dropped, as the next one asks for everything."""
        if self.daemon.link is not None:
            self.daemon.link.send(message, fds)

    def _on_link(self) -> bool:
        """Take what the daemon sent. Returns whether there was something, and there may be more."""
        link = self.daemon.link
        batch: list[tuple[Message, Fds]] = []
        try:
            batch = link.receive() if link is not None else []
            self.requests.handle_all(batch)
            return bool(batch)
        except LinkClosed:
            self.lose_link()
        except LinkError as e:
            self._give_up_link(f"it is not understood: {e}")
            for fd in (fd for _, fds in batch for fd in fds.values()):
                os.close(fd)
        return False

    def _request(self, message: Message, fds: Fds) -> None:
        try:
            self.requests.handle(message, fds)
        except LinkError as e:
            self._give_up_link(f"it is not understood: {e}")

    def _give_up_link(self, why: str) -> None:
        self.log(f"killing daemon {self.daemon.pid}: {why}", "error")
        self.daemon.kill()
        self.lose_link()

    def lose_link(self) -> None:
        """The daemon is dead, or as good as dead: kill it, and the children that nobody will ever let go."""
        if self.daemon.link is None:
            return
        self.unwatch(self.daemon.link.fileno())
        self.late.clear()  # what this daemon asked for is not its successor's
        self.freezer.link_lost()
        self.daemon.close_link(time.monotonic())
        for entry in [entry for entry in self.table.values() if not entry.went and not entry.ended]:
            self.ends.discard(entry)

    def daemon_died(self, status: int) -> None:
        """The daemon was reaped."""
        while self._on_link():  # what it said before it died holds
            pass
        self.lose_link()
        self.daemon.reaped(status, time.monotonic())
        meant = self.shutdown.begun or self.daemon.replacing
        self.log(f"the daemon has {'ended' if meant else 'died'} ({_words(status)})", "info" if meant else "warning")
        hopeless = self.config.ready_fd >= 0 and self.daemon.failures >= GIVE_UP_STARTS
        if (hopeless or self.daemon.final) and not self.table:
            died = f"the daemon died {GIVE_UP_STARTS} times ({_words(status)})"
            try:
                self.shutdown.finish(REFUSED if self.daemon.final else 1)
            finally:  # who is told finds nothing left, and may start another at once
                self.tell_starter(f"cannot start: {self.daemon.why or died}")
        self.shutdown.daemon_left()

    def daemon_ready(self) -> None:
        """The daemon is up: whoever waits for that is told, and pings begin."""
        self.daemon.ready = True
        self.tell_starter("")
        self.notifier.ready()

    def replace_daemon(self) -> None:
        """Somebody wants the code now on disk, and the configuration."""
        self.notifier.reloading()
        self.daemon.replace(time.monotonic())

    def tell_starter(self, why: str) -> None:
        """Answer the command that started us with --daemonize: "" for ready, or why not."""
        if self.config.ready_fd >= 0:
            try:
                os.write(self.config.ready_fd, why.encode("utf-8", "backslashreplace") or b"ready")
                os.close(self.config.ready_fd)
            except OSError:
                self.log("the command that started jobd has not waited", "debug")
            self.config.ready_fd = -1

    # --- who asks for the state, and the socket of the clients ------------------------------------------------------
    def _on_handover(self) -> None:
        assert self.handover is not None
        sock = sockets.accept_handover(self.handover)
        if sock is not None:
            peer = Link(sock)
            self._peers.add(peer)
            self.watch(peer.fileno(), lambda: self._on_peer(peer))

    def _on_peer(self, peer: Link) -> None:
        """Another jobd on the same state: whatever it asks, see to the socket and say that the state is held."""
        try:
            for _, fds in peer.receive():
                for fd in fds.values():
                    os.close(fd)
                self.check_listener()
                if self.shutdown.leaving:
                    self.log("the next jobd waits for our end", "debug")
                    peer.send({"op": "leaving"})
                else:
                    held: Message = {"op": "held", "pid": os.getpid(), "socket": self.config.socket}
                    peer.send({**held, "stopping": self.shutdown.begun})
                peer.flush()
        except (LinkClosed, LinkError, OSError):
            self.unwatch(peer.fileno())
            self._peers.discard(peer)
            peer.close()

    def check_listener(self) -> None:
        """Bind the socket anew if its path has vanished, as logout removes /run/user/UID."""
        if self.root_socket is not None and not self.shutdown.begun:
            self.root_socket.check()
        path = self.config.socket
        if self.shutdown.begun or sockets.identity(path) is not None:
            return
        try:
            fresh = sockets.bind_clients(path, self.config.shared)
        except sockets.StartError as e:
            self.log(str(e), "debug")
            return
        self.log(f"{path} had vanished: listening there again")
        self.listener.close()
        self.listener, self.listener_identity, self.activated = fresh, sockets.identity(path), False
        self.send({"op": "listener", "fds": ["listener"]}, [fresh.fileno()])

    def renew_listener(self) -> None:
        """Bind the socket anew in place of one that takes no more clients; a service manager's is never such a one."""
        if self.activated:
            return
        if self.listener_identity == sockets.identity(self.config.socket):
            with suppress(OSError):
                os.unlink(self.config.socket)
        self.check_listener()


def _words(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"exit status {code}" if code >= 0 else f"signal {-code}"
