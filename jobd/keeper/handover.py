"""Handing the state of a dead keeper from its daemon to a new keeper.

The daemon (`listen`, `accept`, `give`) answers in the state directory once its keeper is dead; a new keeper that finds
the lock held (`take`) gets the listening socket, the lock and every run with its descriptors. The giver stops reading
output before it gives and leaves when it has given: end of file on the connection says that it is gone.
"""

from __future__ import annotations

import os
import select
import time
from _socket import AF_UNIX, SO_ACCEPTCONN, SO_DOMAIN, SO_TYPE, SOCK_SEQPACKET, SOCK_STREAM, SOL_SOCKET, socket

from jobd.host import pidfd, procs
from jobd.keeper import sockets
from jobd.keeper.link import MAX_FDS, Link, LinkClosed, LinkError, chunks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobd.keeper.link import Fds, Message

ANSWER_SEC = 10.0  # for the holder to answer; a daemon that lost its keeper needs milliseconds
GIVE_SEC = 30.0  # for the giver to stop reading output and to hand everything over
LEAVE_SEC = 10.0  # for the giver to leave; then it is killed, as two daemons must never meet
RETRY_SEC = 0.05  # between attempts, while a keeper has just died and its daemon does not listen yet


class Held(Exception):  # noqa: N818
    """A living keeper has the state; the text names it."""


class Taken:
    """What a new keeper got."""

    def __init__(self) -> None:
        self.listener: socket | None = None
        self.lock = -1
        self.relay: tuple[int, int] | None = None
        self.entries: list[tuple[Message, Fds]] = []
        self.giver = 0  # its pid


# --- the daemon's half ----------------------------------------------------------------------------------------------
def listen(state_dir: str, held: int = -1) -> socket:
    """Listen for a new keeper; for the daemon whose keeper is dead (it has the lock). Not blocking. Raises OSError.

    Args:
        state_dir: where.
        held: the dead keeper's own listening socket, which becomes ours: a daemon that is not root could not make
            another one in its place. Listening again tells those who connect from now on who we are.
    """
    if held < 0 or sockets.identity(f"{state_dir}/{sockets.HANDOVER}") is None:
        return sockets.bind_handover(state_dir)
    listener = socket(AF_UNIX, SOCK_SEQPACKET, 0, os.dup(held))
    listener.listen(sockets.HANDOVER_BACKLOG)
    listener.setblocking(False)
    return listener


def accept(listener: socket) -> Link | None:
    """The next new keeper, of our own user or root. It sends "take" when it is ready."""
    sock = sockets.accept_handover(listener)
    return None if sock is None else Link(sock)


def give(
    link: Link,
    listener_fd: int,
    lock_fd: int,
    entries: Sequence[tuple[Message, Fds]],
    relay: tuple[int, int] | None = None,
) -> bool:
    """Hand everything over; blocks until the new keeper has it. The daemon leaves after that.

    Args:
        link: what `accept` gave, after a "take" came there.
        listener_fd: the clients' listening socket.
        lock_fd: the state lock.
        entries: an ENTRY of each run (its "fds" is set here) and its descriptors by name.
        relay: both ends of the pump's relay.

    Returns:
        Whether the new keeper has everything. If not, nothing has changed.
    """
    names = ["listener", "lock", *(("relay_read", "relay_write") if relay else ())]
    link.send({"op": "given", "entries": [], "fds": names, "last": not entries}, [listener_fd, lock_fd, *(relay or ())])
    parts = chunks(entries, lambda entry: len(entry[1]), MAX_FDS)
    for part in parts:
        plain = [{**fields, "fds": list(fds)} for fields, fds in part]
        message: Message = {"op": "given", "entries": plain, "fds": [], "last": part is parts[-1]}
        link.send(message, [fd for _, fds in part for fd in fds.values()])
    try:
        return any(message["op"] == "taken" for message, _ in _messages(link, GIVE_SEC))
    except (LinkClosed, LinkError, TimeoutError, OSError):
        return False


# --- the new keeper's half ------------------------------------------------------------------------------------------
def take(state_dir: str, lock: int, daemon_uid: int = 0) -> Taken | None:
    """Take the state over from a daemon whose keeper is dead.

    Args:
        state_dir: where it listens.
        lock: the lock that it holds.
        daemon_uid: who it may be besides root and ourselves.

    Returns:
        None when the lock came free instead, and `lock` has it now.

    Raises:
        Held: a keeper is alive (it has been asked to bind its socket anew if the path had vanished). One that is
            about to leave is waited for instead.
        sockets.StartError: nobody answers.
    """
    until = time.monotonic() + ANSWER_SEC
    while not sockets.try_lock(lock):
        try:
            with_holder = Link(sockets.connect_handover(state_dir, daemon_uid))
        except OSError as e:
            if time.monotonic() > until:
                raise sockets.StartError(
                    f"cannot start: process {holder(lock)} holds {state_dir} and does not answer ({e.strerror})"
                ) from e
            time.sleep(RETRY_SEC)
            continue
        try:
            return _take(with_holder, state_dir, lock)
        except (LinkClosed, LinkError, TimeoutError, OSError) as e:
            if time.monotonic() > until:
                raise sockets.StartError(f"cannot take over {state_dir}: {e or type(e).__name__}") from e
            time.sleep(RETRY_SEC)
        except (KeyError, TypeError, AttributeError) as e:
            raise sockets.StartError(f"cannot take over {state_dir}: its holder is not understood") from e
        finally:
            with_holder.close()
    return None


def _take(link: Link, state_dir: str, lock: int) -> Taken:
    taken = Taken()
    taken.giver = sockets.peer(link.sock)[0]
    process = procs.process(taken.giver) if taken.giver > 0 else None
    if taken.giver > 0 and (process is None or process.zombie):
        raise LinkError("its keeper has just died")  # and its daemon has not said yet that it listens now
    giver = sockets.peer_pidfd(link.sock)
    got: list[int] = []
    try:
        link.send({"op": "take"})
        _receive(link, state_dir, lock, taken, got)
        link.send({"op": "taken"})
        link.flush()
        _wait_until_gone(giver)
    except BaseException:
        for fd in got:
            os.close(fd)
        raise
    finally:
        if giver >= 0:
            os.close(giver)
    sockets.write_pid(taken.lock)
    return taken


def _receive(link: Link, state_dir: str, lock: int, taken: Taken, got: list[int]) -> None:
    """Take what the holder gives; `got` is every descriptor that came."""
    for message, fds in _messages(link, GIVE_SEC):
        got += fds.values()
        if message["op"] == "held":
            doing = "still stopping its jobs" if message.get("stopping") else "already running"
            raise Held(f"cannot start: jobd is {doing} (process {message['pid']}, state in {state_dir})")
        if message["op"] == "leaving":
            raise LinkError("another jobd is leaving")
        if message["op"] != "given":
            raise LinkError(f"cannot take over: {message['op']!r}")
        if taken.lock < 0:
            _check_listener(fds["listener"])
            if not os.path.sameopenfile(fds["lock"], lock):
                raise LinkError("its holder has another lock")
            taken.lock = fds["lock"]
            taken.relay = (fds["relay_read"], fds["relay_write"]) if "relay_read" in fds else None
            listener = fds["listener"]
        for i, fields in enumerate(message["entries"]):  # type: ignore[arg-type, var-annotated]
            taken.entries.append((fields, {name: fds[f"{i}.{name}"] for name in fields["fds"]}))
        if message["last"]:
            taken.listener = socket(AF_UNIX, SOCK_STREAM, 0, listener)
            return


def _check_listener(fd: int) -> None:
    """Raises LinkError when it is no listening Unix socket."""
    sock = socket(AF_UNIX, SOCK_STREAM, 0, os.dup(fd))
    try:
        found = [sock.getsockopt(SOL_SOCKET, option) for option in (SO_DOMAIN, SO_TYPE, SO_ACCEPTCONN)]
        if found != [AF_UNIX, SOCK_STREAM, 1]:
            raise LinkError("its holder has no listening socket")
    finally:
        sock.close()


def _wait_until_gone(giver: int) -> None:
    """The next daemon may start only when the last is gone. `giver` is its pidfd, -1 where it is gone already."""
    if giver >= 0 and not _wait(giver, select.POLLIN, LEAVE_SEC):
        pidfd.send_signal(giver, 9)
        _wait(giver, select.POLLIN, LEAVE_SEC)


def _wait(fd: int, mask: int, timeout_sec: float) -> bool:
    """Whether `fd` became ready in time. poll, not select: with 300 runs the numbers are beyond what select takes."""
    poll = select.poll()
    poll.register(fd, mask)
    return bool(poll.poll(timeout_sec * 1000))


def _messages(link: Link, timeout_sec: float) -> Iterator[tuple[Message, Fds]]:
    """What comes, sending meanwhile what waits to be sent. The descriptors of what is not taken are closed."""
    until = time.monotonic() + timeout_sec
    while True:
        writes = 0 if link.flush() or link.crowded else select.POLLOUT
        wait = min(until - time.monotonic(), RETRY_SEC if link.crowded else timeout_sec)
        if wait <= 0:
            raise TimeoutError("no answer in time")
        if _wait(link.fileno(), select.POLLIN | writes, wait):
            batch = link.receive()
            try:
                while batch:
                    yield batch.pop(0)
            finally:
                for _, fds in batch:
                    for fd in fds.values():
                        os.close(fd)


def holder(lock: int) -> str:
    """The pid in the lock file."""
    return os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
